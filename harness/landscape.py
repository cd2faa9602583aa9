"""Loss landscapes: of trained networks, and of the Rosenbrock function on a sphere.

    python -m harness.landscape nets digits baseline label_smoothing
    python -m harness.landscape rosenbrock

**nets** draws the loss of a study's trained networks around their weights, in the plane of two random directions. They
are filter-normalised (Li et al. 2018, section 4): of each normal draw every filter gets the length of the filter's own
weights, and what has no filters, biases and batch norm's γ and β, stays where it is. The draws are the same for all
rungs, parameter by parameter, where the shapes agree. The loss is cross-entropy against the labels alone, whatever the
rung was trained on, in float32, over training images that are evenly spaced and not augmented. Batch norm goes by the
running statistics of the trained weights, as Li et al. have it. Two numbers tell how sharp a minimum is: the mean rise
of the loss on the circle of radius 0.5 in that plane, which no rescaling of the filters changes, and SAM's own
(Foret et al. 2021), the rise at w + ρ·g/‖g‖ with its ρ of 0.05, to which the scale of the weights matters.

**rosenbrock** is the toy example of Heo et al. 2021 (AdamP): momentum lengthens weights whose length means nothing, and
so shortens its own steps; the projection Π_w leaves that out. The function is h = (1 - x)² + 300 (y - x²)² of the
angles, extended along the radius; their text gives its norms, from 1: 3.2 for GD with momentum, 2.53 with weight decay,
1.12 with the projection. What that text leaves open is read from the drawings on their page
(https://clovaai.github.io/AdamP/, sgd_3d_toy.svg, sgd_wd_3d_toy.svg, sgdp_3d_toy.svg), which have the place after each
of 200 steps:

- (x, y) = 1.5 · (longitude, latitude), from (-2, 2); the minimum is at (1, 1);
- a step goes by the direction of the gradient, g/‖g‖, with momentum 0.9, at a rate that falls linearly to 0;
- weight decay is L2, 0.05; the projected step is what momentum keeps;
- the rates differ: 0.054888, 0.07042 and 0.043848, those of five digits with which the drawn steps are followed
  longest, the first 63, 128 and 42 of them to within 0.01 in x and y.

From there on steps jump across the valley, and digits that no drawing has decide. So norms and losses are told for
rates up to 1 % off, too. The 2.53 is the greatest norm of its way, which by their drawing ends at 0.84.
"""

import argparse
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import Problem, one_line, sources
from harness.cli import main
from harness.paths import expanded, runs, write_atomic
from harness.rng import stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    Batches = Sequence[tuple[Tensor, Tensor]]  # images N x C x H x W and labels N, on the network's device

Array = NDArray[np.float64]
IMAGES = 1000  # at most, where nothing is said: 441 times as many forwards
BATCH = 500
RADIUS, ROUND = 0.5, 16  # of the circle whose mean rise is told, and how many points of it
RHO = 0.05  # SAM's, as published
FLOOR = 1e-9  # of a loss that is drawn: below it float32 has no digits, and 0 has no logarithm


# --- networks ---------------------------------------------------------------------------------------------------------


def filter_normalised(weight: "Tensor", draw: "Tensor") -> "Tensor":
    """`draw` with each filter, a slice along the first dimension, as long as that of `weight`: d · ‖w‖/‖d‖.

    Zeros where there are fewer than two dimensions, as of biases and batch norm.
    """
    if weight.ndim < 2:
        return weight.new_zeros(weight.shape)
    length, own = (t.flatten(1).norm(dim=1).view(-1, *[1] * (t.ndim - 1)) for t in (weight, draw))
    made: Tensor = draw * (length / own)
    return made


def directions(model: "nn.Module", seed: int) -> tuple[list["Tensor"], list["Tensor"]]:
    """Two filter-normalised directions, a tensor a parameter; the draws depend on seed, name and shape alone."""
    import torch

    def drawn(axis: str, name: str, weight: "Tensor") -> "Tensor":
        draw = stream(seed, "landscape", axis, name).standard_normal(tuple(weight.shape))
        return filter_normalised(weight.detach(), torch.from_numpy(np.asarray(draw)).to(weight))

    named = list(model.named_parameters())
    x, y = ([drawn(axis, name, weight) for name, weight in named] for axis in ("x", "y"))
    return x, y


def losses(
    model: "nn.Module", batches: "Batches", along: tuple[list["Tensor"], list["Tensor"]], points: Array
) -> Array:
    """The mean cross-entropy at w + a·x + b·y for each of `points` (n x 2); the weights come back bit for bit.

    Nothing waits for the device before all are done.
    """
    import torch

    weights = list(model.parameters())
    with torch.no_grad():
        before = [w.clone() for w in weights]
        total = torch.zeros(len(points), dtype=torch.float64, device=weights[0].device)
        for i, (a, b) in enumerate(points.tolist()):
            for w, old, x, y in zip(weights, before, *along, strict=True):
                w.copy_(old + a * x + b * y)
            for images, labels in batches:
                total[i] += torch.nn.functional.cross_entropy(model(images), labels, reduction="sum")
        for w, old in zip(weights, before, strict=True):
            w.copy_(old)
        return (total / sum(len(labels) for _, labels in batches)).cpu().numpy()


def climb(model: "nn.Module", batches: "Batches", rho: float = RHO) -> float:
    """SAM's sharpness: how much the loss rises from w to w + ρ·g/‖g‖."""
    import torch

    from harness.tricks.sam import SharpnessAware

    def pass_over() -> "Tensor":
        """The mean loss; where gradients are on, they are added."""
        total = torch.zeros((), dtype=torch.float64, device=batches[0][0].device)
        for images, labels in batches:
            loss = torch.nn.functional.cross_entropy(model(images), labels, reduction="sum") / count
            if loss.requires_grad:
                loss.backward()
            total += loss.detach()
        return total

    count = sum(len(labels) for _, labels in batches)
    below = pass_over()
    with SharpnessAware(rho=rho).away(model), torch.no_grad():
        above = pass_over()
    return float(above - below)


def circle(radius: float = RADIUS, n: int = ROUND) -> Array:
    """`n` points, evenly around the origin: n x 2."""
    turn = 2 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


@dataclass(frozen=True)
class Landscape:
    """One rung's: `grid[i, j]` is the loss at (ticks[j], ticks[i])."""

    title: str
    ticks: Array
    grid: Array
    centre: float
    rise: float  # mean, at RADIUS
    climb: float


def landscape(title: str, model: "nn.Module", batches: "Batches", seed: int, ticks: Array) -> Landscape:
    along = directions(model, seed)
    x, y = np.meshgrid(ticks, ticks)
    points = np.concatenate([np.zeros((1, 2)), circle(), np.stack([x.ravel(), y.ravel()], axis=1)])
    centre, found = np.split(losses(model, batches, along, points), [1])
    around, grid = np.split(found, [ROUND])
    low = float(centre[0])
    return Landscape(title, ticks, grid.reshape(x.shape), low, float(around.mean()) - low, climb(model, batches))


def fields(study: str, seed: int, found: Sequence[Landscape], images: int) -> "Figure":
    """A row a network: the loss as a surface, and its contours, on one logarithmic scale that all share.

    What is no number is left out.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from harness.report import figures

    logs = [np.log10(np.where(np.isfinite(f.grid), f.grid, np.nan).clip(min=FLOOR)) for f in found]
    low, high = min(map(np.nanmin, logs)), max(map(np.nanmax, logs))
    marks = [m for m in range(math.floor(low), math.ceil(high) + 1) if low <= m <= high] or [round(low, 2)]
    told, ends = [f"{10.0**m:g}" for m in marks], (-found[0].ticks[-1], 0, found[0].ticks[-1])
    levels = np.linspace(low, high, 15)
    scale: dict[str, Any] = {"cmap": mpl.colormaps["viridis"], "vmin": low, "vmax": high}
    with figures.style():
        figure = Figure(figsize=(11, 0.6 + 4.2 * len(found)), layout="constrained")
        for row, (f, seen) in enumerate(zip(found, logs, strict=True)):
            x, y = np.meshgrid(f.ticks, f.ticks)
            solid: Any = figure.add_subplot(len(found), 2, 2 * row + 1, projection="3d")
            solid.plot_surface(x, y, seen, rcount=len(x), ccount=len(x), lw=0.2, edgecolor="0.25", **scale)
            solid.set(xlabel="x", ylabel="y", zlim=(low, high), xticks=ends, yticks=ends)
            solid.set_title(one_line(f.title, figures.LONG), color=figures.INK)
            solid.set_zticks(marks, told)
            flat = figure.add_subplot(len(found), 2, 2 * row + 2, aspect="equal")
            drawn = flat.contourf(x, y, seen, levels=levels, **scale)
            flat.contour(x, y, seen, levels=levels, colors="white", linewidths=0.5, linestyles="solid")
            flat.plot(*circle(RADIUS, 200).T, color="white", lw=1.2, ls=(0, (4, 3)))
            flat.plot([0], [0], "+", color="white", ms=9, mew=1.5)
            flat.set(xlabel="x", ylabel="y", xticks=ends, yticks=ends, xlim=ends[::2], ylim=ends[::2])
            flat.set_title(f"{f.centre:.3g} at +, {f.centre + f.rise:.3g} on the circle", color=figures.INK)
            flat.grid(visible=False)
            bar = figure.colorbar(drawn, ax=flat, shrink=0.9, label="loss", ticks=marks)
            bar.set_ticklabels(told)
        about = f"loss of {images:,} training images along two filter-normalised directions, seed {seed}"
        figures.heading(figure, study, about)
    return figure


def table(found: Sequence[tuple[str, Landscape]]) -> bytes:
    """`rung,x,y,loss` of every point of every grid, as CSV."""
    lines = ["rung,x,y,loss"]
    for rung, f in found:
        for y, row in zip(f.ticks, f.grid, strict=True):
            lines += [f"{rung},{x:.6g},{y:.6g},{loss:.7g}" for x, loss in zip(f.ticks, row, strict=True)]
    return ("\n".join(lines) + "\n").encode()


def nets(options: argparse.Namespace) -> None:
    import torch

    from harness import study
    from harness.engine import places, settle
    from harness.parts.precision import FP32
    from harness.report import figures
    from harness.store import Store
    from harness.train import placed

    if options.points < 3 or options.points % 2 == 0:
        raise Problem(f"--points {options.points}: must be odd, for the centre to be one, and at least 3")
    if not 0 < options.span < math.inf:
        raise Problem(f"--span {options.span:g}: must be above 0")
    if options.images is not None and options.images < 1:
        raise Problem(f"--images {options.images}: must be at least 1")
    plan, store = study.plan(study.load(options.study), [*map(study.setting, options.set)]), Store()
    rungs = {rung.name: rung for rung in plan.rungs}
    seed = plan.seeds[0] if options.seed is None else options.seed
    for name in options.rungs:
        if name not in rungs:
            raise Problem(f"{options.study} has no rung {one_line(name)}; there are: {', '.join(rungs)}")
        if (rungs[name].spec.id, seed) not in store:
            if seed not in plan.seeds:
                own = ", ".join(map(str, plan.seeds))
                raise Problem(f"--seed {seed}: no such run of {name}; the study's seeds: {own}")
            again = shlex.join(["python", "-m", "harness.ablate", *plan.command, "--only", *options.rungs])
            raise Problem(f"{name}, seed {seed}, is not trained yet: {again}")
        record = store.read(rungs[name].spec.id, seed)
        if record["status"] == "diverged":
            raise Problem(f"{name}, seed {seed}, diverged: its loss is no number")
        if kinds := sources.changed(record):
            again = shlex.join(["python", "-m", "harness.ablate", *plan.command])
            raise Problem(f"{name}, seed {seed}, was trained before the source of {', '.join(kinds)} changed: {again}")
    device = settle(places(options.device, 1)[0])
    FP32().on(device)
    ticks = np.linspace(-options.span, options.span, options.points)
    found: list[tuple[str, Landscape]] = []
    for name in dict.fromkeys(options.rungs):
        spec = rungs[name].spec
        images = spec.data.load()
        have = images.counts["train"]
        count = min(IMAGES, have) if options.images is None else options.images
        if count > have:
            raise Problem(f"--images {count}: {name} has {have} training images")
        chosen = images.regrouped({"test": ("train", np.arange(count) * have // count)})
        batches = [(x.contiguous(memory_format=torch.channels_last), y) for x, y in chosen.test(BATCH, device)]
        model = spec.model.build(spec.data.channels, len(images.classes))
        model.load_state_dict(store.weights(spec.id, seed))
        f = landscape(rungs[name].title, placed(model, device).eval(), batches, seed, ticks)
        if not found:
            grid = f"{options.points} x {options.points} points to ±{options.span:g}"
            print(f"{count:,} training images, {grid}, seed {seed}")
            print(f"{'rung':<24}{'centre':>10}{'least':>10}{f'rise at {RADIUS:g}':>14}{f'SAM, ρ = {RHO:g}':>15}")
        least = float(np.nanmin(f.grid))
        print(f"{one_line(name, 23):<24}{f.centre:>10.4g}{least:>10.4g}{f.rise:>14.4g}{f.climb:>15.4g}", flush=True)
        found.append((name, f))
    folder = options.to or runs() / "reports" / plan.label
    write_atomic(folder / "landscape.csv", table(found))
    figures.save(folder, "landscape", fields(plan.label, seed, [f for _, f in found], count))
    print(f"written to {folder}/landscape.png, .svg and .csv")


# --- a toy example ----------------------------------------------------------------------------------------------------

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
    print(f"written to {folder}/rosenbrock.png and .svg")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.landscape", description="Draw the loss around trained networks, or of a toy example on a sphere."
    )
    commands = p.add_subparsers(required=True, metavar="nets|rosenbrock")
    n = commands.add_parser("nets", help="the loss of trained networks along two random directions")
    n.set_defaults(run=nets)
    n.add_argument("study", help="a file of experiments/, by name")
    n.add_argument("rungs", nargs="+", metavar="rung", help="of its ladder, trained before")
    n.add_argument("--seed", type=int, metavar="N", help="of the runs, and of the directions (default: the first)")
    n.add_argument("--span", type=float, default=1.0, metavar="X", help="from -X to X both ways (default: %(default)s)")
    n.add_argument("--points", type=int, default=21, metavar="N", help="each way (default: %(default)s)")
    n.add_argument("--images", type=int, metavar="N", help=f"training images (default: {IMAGES:,}, or all if fewer)")
    n.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    n.add_argument(
        "--set", action="append", default=[], metavar="SLOT.FIELD=VALUE", help="as it was trained with; repeatable"
    )
    r = commands.add_parser("rosenbrock", help="momentum, weight decay and the projection on a sphere (AdamP)")
    r.set_defaults(run=rosenbrock)
    for own in (n, r):
        own.add_argument("--to", type=expanded, metavar="DIR", help="write into DIR (default: one of runs/reports/)")
    return p


if __name__ == "__main__":
    main(parser(), lambda options: options.run(options))
