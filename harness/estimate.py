"""What a plan will cost, before it is run."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from harness import one_line, stats
from harness.parts.models import cost
from harness.progress import clock
from harness.spec import Spec
from harness.store import Store
from harness.study import Run, missing, work

MANY = 24  # rungs: beyond, the plan is a line each


def seconds(runs: Sequence[Run], store: Store, jobs: int, device: str | None) -> float:
    """Seconds that the missing of `runs` take: by their own records, else by multiply-adds at a measured pace."""
    todo = missing(runs, store)
    if not todo:
        return 0.0
    took = {spec.id: store.read(spec.id, seed)["seconds"] for spec, seed in runs if (spec.id, seed) in store}
    unknown = [spec for spec, _ in todo if spec.id not in took]
    pace = measured_pace(unknown[0], device) if unknown else 0.0
    each = {spec.id: took.get(spec.id) or work(spec) * pace for spec, _ in todo}
    return sum(each[spec.id] for spec, _ in todo) / min(jobs, len(todo))


def measured_pace(spec: Spec, device: str | None, budget: float = 0.1) -> float:
    """Seconds a multiply-add, from training steps of `spec` on noise for about `budget` seconds."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = spec.data.load()
        classes = len(images.classes)
        model = spec.model.build(images.channels, classes).to(place).to(memory_format=torch.channels_last)
        batch = min(spec.batch_size, 32)
        x = torch.randn(batch, images.channels, images.size, images.size, device=place)
        x = x.contiguous(memory_format=torch.channels_last)
        runner = spec.precision.on(place)

        def step() -> None:  # no optimizer: its first use costs seconds of imports, its steps next to nothing
            with runner.forward():
                loss = model(x).square().mean()
            loss.backward()
            loss.item()

        step()
        began, steps = time.monotonic(), 0
        while time.monotonic() - began < budget or steps == 0:
            step()
            steps += 1
        per_image = (time.monotonic() - began) / steps / batch
    finally:
        torch.set_num_threads(threads)
    return per_image / (3 * cost(spec.model, images.channels, classes, images.size)[1])


def as_text(described: dict[str, Any], jobs: int) -> str:
    """The plan for a reader: each rung, its id, cost and missing runs, and what differs from what it is held to."""
    lines = []
    many = len(described["rungs"]) > MANY
    for rung in described["rungs"]:
        size = f"{rung['params']:,} parameters, {rung['gmacs']:.3g} GFLOPs (multiply-adds)"
        lines.append(f"{rung['title']:24} {rung['id']}  {size}, {rung['missing']} of {len(rung['seeds'])} runs missing")
        for path, (old, new) in () if many else rung["changes"].items():
            lines.append(f"{'':24} {path}: {_value(old)} → {_value(new)}")
    for inner in described["upstream"]:
        lines.append(f"upstream of {inner['of']:12} {inner['id']}  {'missing' if inner['missing'] else 'trained'}")
    runs, specs = described["runs"], described["specs"]
    if described["generators"]:
        lines += aliased(described)
    lines.append(f"{described['design']}: {specs['asked']} specifications asked for, {specs['new']} new")
    lines.append(
        f"{runs['asked']} runs asked for, {runs['missing']} missing: about {clock(described['seconds'])} "
        f"in {jobs} processes"
    )
    return "\n".join(lines)


def aliased(described: dict[str, Any]) -> list[str]:
    """What a fractional factorial cannot tell apart."""
    titles, generators = [trick["title"] for trick in described["tricks"]], described["generators"]
    k = len(titles)
    letters = ", ".join(f"{letter} {title}" for letter, title in zip(stats.FACTORS, titles, strict=False))
    same = [" = ".join(group) for group in stats.aliases(k, generators) if len(group) > 1]
    return [
        f"2^({k}-{len(generators)}) factorial of resolution {stats.resolution(k, generators)}: {letters}",
        f"aliased, of effects up to two tricks: {'; '.join(same) or 'none'}",
    ]


def _value(value: Any) -> str:
    return "–" if value is None else one_line(str(value), 200)
