"""The ways of optimizers over the Rosenbrock function on a sphere."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.landscape.nets import Array
from harness.paths import runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    Batches = Sequence[tuple[Tensor, Tensor]]  # images N x C x H x W and labels N, on the network's device


MOMENTUM, STEPS, START, TURN = 0.9, 200, (-2.0, 2.0), 1.5  # TURN: x and y are so many times the angles
NEAR = 0.01  # of a rate


@dataclass(frozen=True)
class Way:
    """One way to descend, and the norm that Heo et al. give for it."""

    title: str
    rate: float  # at first; it falls linearly to 0
    source: float
    decay: float = 0.0
    projects: bool = False


WAYS = (
    Way("GD, momentum", 0.054888, 3.2),
    Way("GD, momentum, weight decay", 0.07042, 2.53, decay=0.05),
    Way("GD, momentum, projection", 0.043848, 1.12, projects=True),
)


def rosenbrock_function(x: Array, y: Array) -> Array:
    """h = (1 - x)² + 300 (y - x²)²: a curved valley, with its minimum, 0, at (1, 1)."""
    return (1 - x) ** 2 + 300 * (y - x * x) ** 2


def on_sphere(x: Array, y: Array) -> Array:
    """The point of the unit sphere at longitude x/1.5 and latitude y/1.5: ... x 3."""
    turn, up = np.asarray(x) / TURN, np.asarray(y) / TURN
    return np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], axis=-1)


def place(w: Array) -> tuple[Array, Array]:
    """The (x, y) of points w, ... x 3, which their lengths do not change."""
    return TURN * np.arctan2(w[..., 1], w[..., 0]), TURN * np.arctan2(w[..., 2], np.hypot(w[..., 0], w[..., 1]))


def slope(w: Array) -> Array:
    """The gradient of h(place(w)) by w, of 3 coordinates: at right angles to w, and 1/‖w‖ in size."""
    x, y = place(w)
    around, length = np.hypot(w[0], w[1]), np.linalg.norm(w)
    by_x, by_y = 2 * (x - 1) - 1200 * x * (y - x * x), 600 * (y - x * x)
    east = np.array([-w[1], w[0], 0]) / around
    north = np.array([-w[0] * w[2], -w[1] * w[2], around**2]) / (around * length)
    made: Array = TURN * (by_x * east / around + by_y * north / length)
    return made


def projected(step: Array, w: Array) -> Array:
    """Π_w(step) = step - (ŵ · step) ŵ: without its part along w, which lengthens w and turns it nowhere."""
    unit = w / np.linalg.norm(w)
    return step - (unit @ step) * unit


def descend(way: Way, steps: int = STEPS) -> Array:
    """The weights from START and after each step: (steps + 1) x 3."""
    walked, momentum = [on_sphere(*map(np.asarray, START))], np.zeros(3)
    for t in range(steps):
        w = walked[-1]
        g = slope(w)
        momentum = MOMENTUM * momentum + g / np.linalg.norm(g) + way.decay * w
        if way.projects:
            momentum = projected(momentum, w)
        walked.append(w - way.rate * (1 - t / steps) * momentum)
    return np.stack(walked)


def ends(way: Way) -> tuple[float, float, float]:
    """The greatest norm, the last norm, and the last loss."""
    w = descend(way)
    r = np.linalg.norm(w, axis=1)
    return float(r.max()), float(r[-1]), float(rosenbrock_function(*place(w[-1])))


def ball() -> "Figure":
    """The ways on the sphere, coloured by the function; and the norm and the loss at each step."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from harness.report import figures

    x, y = np.meshgrid(np.linspace(-2.35, 2.35, 161), np.linspace(-1.2, 2.35, 121))
    heights = np.log10(rosenbrock_function(x, y) + 0.1)  # the valley's floor, not a hair in it
    shades = mpl.colormaps["Greys"](0.05 + 0.6 * (heights - heights.min()) / np.ptp(heights))
    with figures.style():
        figure = Figure(figsize=(11, 5.6), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(3, 2))
        solid: Any = figure.add_subplot(grid[:, 0], projection="3d", computed_zorder=False)
        sides = np.moveaxis(on_sphere(x, y), -1, 0)
        solid.plot_surface(*sides, facecolors=shades, rcount=161, ccount=161, shade=False)
        norm, loss = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        for way, hue in zip(WAYS, (figures.HURTS, "#c9a227", figures.HELPS), strict=True):
            w = descend(way)
            r = np.linalg.norm(w, axis=1)
            solid.plot(*(1.01 * w / r[:, None]).T, color=hue, lw=1.2, marker=".", ms=3, label=way.title)
            norm.plot(r, color=hue, lw=1.6)
            top, told = int(r.argmax()), f"{r.max():.2f} ({way.source:g})"
            norm.text(top, r[top] + 0.08, told, color=hue, ha="right", fontsize=figures.SMALL)
            loss.semilogy(rosenbrock_function(*place(w)), color=hue, lw=1.2)
        for where, mark in ((START, "o"), ((1.0, 1.0), "*")):
            solid.plot(*1.02 * on_sphere(*map(np.asarray, where))[:, None], mark, color=figures.INK, ms=9)
        solid.view_init(elev=42, azim=-22)
        solid.set_box_aspect([np.ptp(side) for side in sides], zoom=1.35)
        solid.set_axis_off()
        solid.legend(loc="lower left", fontsize=figures.SMALL)
        norm.set(xlabel="step", ylabel="norm r (the source's)", ylim=(0, 3.8))
        loss.set(xlabel="step", ylabel="loss h")
        loss.yaxis.set_major_locator(LogLocator(numticks=8))
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_formatter("")
        figures.heading(figure, "Rosenbrock on a sphere", f"{STEPS} steps from ● towards ★, after Heo et al. 2021")
    return figure


def rosenbrock(options: argparse.Namespace) -> None:
    from harness.report import figures

    columns = ("greatest r", "last r", "last loss")
    print(f"{'':<27}{'source r':>9}" + "".join(f"{name:>26}" for name in columns))
    for way in WAYS:
        own = ends(way)
        near = np.array([ends(replace(way, rate=way.rate * by)) for by in np.linspace(1 - NEAR, 1 + NEAR, 41)])
        pairs = zip(own, near.min(0), near.max(0), strict=True)
        print(
            f"{way.title:<27}{way.source:>9g}" + "".join(f"{f'{o:.3g} ({a:.3g} to {b:.3g})':>26}" for o, a, b in pairs)
        )
    print(f"in brackets: of 41 rates up to {NEAR:.0%} lower and higher")
    folder = options.to or runs() / "reports" / "rosenbrock"
    figures.save(folder, "rosenbrock", ball())
    print(f"written to {folder}/rosenbrock.png, .svg and .pdf")
