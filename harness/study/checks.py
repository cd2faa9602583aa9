"""What is wrong with a plan, or to be known of it, before the first run; what of it is there, and what is stale."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from harness import Problem, metrics, one_line, tasks
from harness.parts.data import repeated, twins
from harness.parts.models import cost, sides, single
from harness.parts.schedules import Piecewise
from harness.spec import (
    Spec,
    sources,
    upstream,
)
from harness.spec.blame import whence
from harness.store import Store
from harness.study.plans import Plan
from harness.study.study import Run


def missing(runs: Sequence[Run], store: Store) -> list[Run]:
    return [(spec, seed) for spec, seed in runs if (spec.id, seed) not in store]


def failed(runs: Sequence[Run], store: Store) -> list[tuple[Run, str]]:
    """Those of `runs` whose last attempt failed, and why."""
    last = ((run, store.events(run[0].id, run[1])[-1:]) for run in runs)
    return [(run, str(event["why"])) for run, events in last for event in events if event["event"] == "failed"]


def stale(runs: Sequence[Run], store: Store) -> dict[tuple[str, int], list[str]]:
    """The finished runs among `runs` that another source of the user's own parts made, and those parts' kinds."""
    found: dict[tuple[str, int], list[str]] = {}
    for spec, seed in runs:
        if sources.of(spec) and (spec.id, seed) in store:
            with suppress(Problem):  # a damaged record is met where it is used
                kinds = sources.changed(store.read(spec.id, seed))
                found |= {(spec.id, seed): kinds} if kinds else {}
    return found


def check(plan: Plan) -> list[str]:
    """Load every data set that `plan` needs; what the user should know. Raises Problem where one will not do."""
    notes: dict[str, None] = {}
    seen = set()
    for rung in plan.rungs:
        for spec in (*upstream(rung.spec), rung.spec):
            images = spec.data.load()
            if images.counts["train"] < spec.batch_size:
                have = images.counts["train"]
                raise Problem(f"{rung.name}: {have} training images are fewer than batch_size={spec.batch_size}")
            try:
                cost(spec.model, images.channels, len(images.classes), sides(spec))
            except Problem:
                raise
            except Exception as error:
                raise Problem(f"{rung.name}: {spec.model!r} cannot be built: {whence(error)}") from None
            _not_single(rung.name, spec)
            watched = tasks.of(spec).watched
            for score in (score for stop in spec.stop for score in stop.watches if score not in watched):
                raise Problem(f"{rung.name}: stop goes by {score}, and there is {', '.join(watched)} to go by")
            steps = images.counts["train"] // spec.batch_size
            if isinstance(spec.schedule, Piecewise) and spec.schedule.warmup and not spec.schedule.warmup_steps(steps):
                epochs = spec.schedule.warmup.epochs
                raise Problem(f"{rung.name}: schedule.warmup.epochs={epochs:g} of {steps} batches is not one batch")
            new = images.digest not in seen
            seen.add(images.digest)
            told = [*repeated(images), *twins.told(images), *of_tests(spec)] if new else []
            notes.update(dict.fromkeys([*images.notes, *told]))
    return list(notes)


def of_tests(spec: Spec) -> list[str]:
    """Where classes of the test set differ much in number, and where logits of its images are too many to be kept."""
    images, task = spec.data.load(), tasks.of(spec)
    none = task.keeps(images.counts["test"], len(images.classes))[1]
    notes = [f"{none}: none are kept, and metrics that need them cannot be told"] if none else []
    if task.headline == "top1":
        counts = np.bincount(images.labels("test"), minlength=len(images.classes))
        if metrics.uneven(counts):
            least, most = (
                f"{counts[i]:,} of {one_line(images.classes[i], 40)}" for i in (counts.argmin(), counts.argmax())
            )
            notes.append(
                f"the test set is uneven, {least} and {most}: top-1 tells mostly of large classes; the table has "
                "balanced accuracy too, and --metric balanced_accuracy compares by it"
            )
    return notes


def _not_single(rung: str, spec: Spec) -> None:
    """Raise Problem where a pass has one image, of which a batch norm of the network makes one value a channel."""
    size = spec.microbatch or spec.batch_size
    size = size if spec.sync_norms else size // spec.places
    if size > 1 and (spec.ranks or spec.batch_size % size != 1):
        return
    images = spec.data.load()
    layer = single(spec.model, images.channels, len(images.classes), sides(spec))
    if layer:
        of = f"batch_size={spec.batch_size}" + (f" in passes of {size}" if spec.microbatch else "")
        last = "a pass" if size == 1 else "its last pass"
        raise Problem(
            f"{rung}: {of}: {last} is one image, of which {layer} has one value a channel and no variance; "
            f"take passes of 2 images or more"
        )


def work(spec: Spec) -> float:
    """Multiply-adds that training `spec` once takes, about: three passes an image trained on, one an image tested."""
    images = spec.data.load()
    shape = images.channels, len(images.classes), sides(spec)
    macs = cost(spec.model, *shape)[1]
    taught = sum(cost(part.spec.model, *shape)[1] for part in spec.teacher)
    train, test = images.counts["train"], images.counts["test"]
    return float(spec.epochs * (train * (3 * macs + taught) + test * macs))
