"""The loss around trained networks (Li et al. 2018), and how far it is flat."""

import argparse
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import Problem, one_line
from harness.paths import runs, write_atomic
from harness.rng import stream
from harness.spec import sources

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
    from harness.outcomes.networks import trained
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
        model = placed(trained(spec, seed, store, images), device).eval()
        f = landscape(rungs[name].title, model, batches, seed, ticks)
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
    print(f"written to {folder}/landscape.png, .svg, .pdf and .csv")
