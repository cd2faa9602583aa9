"""The harness itself against the bound of the machine: a bare loop on the same network."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from harness import Problem, one_line
from harness.paths import runs
from harness.spec import Data, Model, Spec

if TYPE_CHECKING:
    from harness.train import How

MODELS = ("small", "resnet18", "resnet34", "resnet50")
BOUND_SHARE = 0.15  # of the study's seconds, for each measurement of the bound
STEADY = 1.15  # largest over smallest bound; above it something else was using the machine


class Slice(Data):
    """`images` training images of `data`, evenly spaced, and test images in the proportion that `data` has.

    All 10,000 of CIFAR-10's test images after a short epoch would measure evaluation; a slice keeps them 1 to 5.
    """

    data: Data
    images: int = Field(ge=1)

    @property
    def channels(self) -> int:
        return self.data.channels

    def load(self) -> Any:
        return _sliced(self.data, self.images)


@lru_cache
def _sliced(data: Data, images: int) -> Any:

    from harness.parts.data import Cached

    whole = data.load()
    if images > whole.counts["train"]:
        raise Problem(f"a slice of {images:,} images: the data has {whole.counts['train']:,} for training")
    counts = {split: max(1, count * images // whole.counts["train"]) for split, count in whole.counts.items()}
    kept = {split: np.arange(n) * whole.counts[split] // n for split, n in counts.items()}
    digest = hashlib.sha256(f"{whole.digest} {images}".encode()).hexdigest()[:16]
    if isinstance(whole, Cached):
        arrays = {split: (x[kept[split]], y[kept[split]]) for split, (x, y) in whole.arrays.items()}
        return replace(whole, counts=counts, digest=digest, arrays=arrays)
    files = {split: [names[i] for i in kept[split]] for split, names in whole.files.items()}
    return replace(whole, counts=counts, digest=digest, files=files)


def specification(model: str, data: str, size: int, batch_size: int) -> Spec:
    """What is measured: the plain recipe in FP32, augmented as such images usually are."""
    from harness.parts.data import Digits, ImageFolder, Torchvision

    part: Data = Digits() if data == "digits" else ImageFolder(root=Path(data), size=size)
    if data == "cifar10":
        part = Torchvision(name="CIFAR10")
    images = part.load()
    if images.counts["train"] < batch_size:
        raise Problem(f"--batch-size {batch_size}: there are {images.counts['train']} training images")
    return recipe(model, part, batch_size)


def recipe(model: str, data: Data, batch_size: int) -> Spec:
    """The plain recipe in FP32, on whatever data."""
    from harness.parts import augment
    from harness.parts.data import SMALL, Cached
    from harness.parts.decay import DecayAll
    from harness.parts.init import Xavier
    from harness.parts.optimizers import NAG
    from harness.parts.precision import FP32
    from harness.parts.schedules import Piecewise

    images = data.load()
    small = images.size <= SMALL
    shift = (augment.Shift(pixels=1),) if images.channels == 1 else (augment.Flip(), augment.Shift(pixels=4))
    return Spec(
        data=data,
        model=network(model, small),
        init=(Xavier(),),
        decay=DecayAll(),
        optimizer=NAG(),
        schedule=Piecewise(),
        batch_size=batch_size,
        epochs=1,
        augment=shift if isinstance(images, Cached) else augment.PAPER,
        precision=FP32(),
    )


def of_study(address: str) -> Spec:
    """The specification of a rung, `STUDY:RUNG`; of a study's baseline, `STUDY`. Raises Problem where there is none."""
    from harness.study import load, plan

    name, _, wanted = address.partition(":")
    rungs = {rung.name: rung.spec for rung in plan(load(name)).rungs}
    found = rungs.get(wanted or next(iter(rungs)))
    if found is None:
        raise Problem(f"--study {one_line(address)}: it has no such rung; there are: {one_line(', '.join(rungs), 300)}")
    if found.teacher or any(isinstance(value, Spec) for _, value in found.model):
        raise Problem(f"--study {one_line(address)}: it builds on another run, which would be measured too")
    return found


def network(name: str, small: bool) -> Model:
    from harness.parts import models

    known = dict(zip(MODELS, (models.ResNet(blocks=(1, 1, 1), width=16), models.RESNET18), strict=False))
    known |= {"resnet34": models.RESNET34, "resnet50": models.RESNET50}
    if name not in known:
        raise Problem(f"--model {name}: unknown; there are: {', '.join(MODELS)}")
    return known[name].but(small=small)


def bound(spec: Spec, places: Sequence[str], seconds: float, compiled: bool = False) -> float:
    """Images a second that a bare loop trains on, summed over simultaneous processes, one at each of `places`.

    In the specification's precision; `compiled` by torch.compile, whose time to compile is not counted.
    """
    from harness.engine.together import together

    try:
        return float(sum(together(partial(_bare_rate, spec, seconds, compiled), places)))
    except Problem as problem:
        raise Problem(f"the bound could not be measured: {problem}") from None


def _bare_rate(spec: Spec, seconds: float, compiled: bool, place: str, ready: Any) -> float:
    """Plain PyTorch but for what `spec` builds; threads and cuDNN are set as the engine sets them."""
    import torch

    from harness.engine import settle
    from harness.parts.grouping import groups
    from harness.rng import streams
    from harness.train import build

    device = settle(place)
    runner = spec.precision.on(device)
    model = build(spec, 0, device).train()
    forward: Any = torch.compile(model) if compiled else model
    x, labels = next(spec.data.load().train(0, spec.batch_size, (), streams(0), device))
    x = x.contiguous(memory_format=torch.channels_last)
    optimizer = spec.optimizer.build(groups(spec, model), spec.batch_size)

    def step() -> None:
        with runner.forward():
            loss = torch.nn.functional.cross_entropy(forward(x).float(), labels)
        runner.backward(loss)
        runner.step(optimizer)

    for _ in range(3):
        step()
    _wait_for(device)
    ready()
    steps, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        step()
        steps += 1
    _wait_for(device)
    return steps * spec.batch_size / (time.monotonic() - began)


def _wait_for(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Measured:
    """A study's images trained a second, and where its processes' time went, in seconds a process."""

    rate: float
    wall: float
    spent: dict[str, float]  # by phase: they add up to `wall`
    in_loop: float  # images a second, summed over processes, while they were in the training loop
    fastest: float  # the same, of each one's fastest epoch: nothing is compiled or recorded in it


def sized(spec: Spec, rate: float, seconds: float) -> Spec:
    """`spec` on a slice and for epochs such that one run takes about `seconds` at `rate` images a second."""
    have = spec.data.load().counts["train"]
    steps = max(1, round(rate * seconds / spec.batch_size))
    a_epoch = min(steps, have // spec.batch_size)
    data = Slice(data=spec.data, images=a_epoch * spec.batch_size)
    return spec.but(data=data, epochs=max(1, round(steps / a_epoch)))


def study(spec: Spec, places: Sequence[str], how: "How") -> Measured:
    """Train `spec` from a seed a place, as `harness.ablate` does, among runs that are then deleted."""
    from harness.bench.spent import gathered, watched_worker
    from harness.engine import Engine, key
    from harness.engine.local import Local
    from harness.store import EVERY, Store
    from harness.study import Plan, Rung
    from harness.tracking import Tracker, open_experiment

    plan = Plan("bench", (Rung("baseline", "baseline", spec),), tuple(range(len(places))))
    with own_runs():
        store, looks = Store(), runs() / "looks"
        looks.mkdir()
        launcher = Local(store, places, EVERY, how=how, life=partial(watched_worker, str(looks)))
        open_experiment(plan.study)
        began = time.monotonic()
        tracker = Tracker(plan.study, plan.names(), store, map(key, plan.runs()), "harness.bench")
        failures = []
        for event in Engine(store, places, launcher=launcher).events(plan.runs()):
            tracker.see(event)
            if event["kind"] == "failed":
                failures.append(event["why"])
            elif event["kind"] == "interrupted":
                raise KeyboardInterrupt
        trouble = tracker.close()
        ended = time.monotonic()
        if failures or trouble:
            raise Problem(f"the study could not be measured: {(*failures, trouble)[0]}")
        records = [store.read(spec.id, seed) for seed in plan.seeds]
        spent = gathered(looks, began, ended)
    trained = spec.epochs * (spec.data.load().counts["train"] // spec.batch_size) * spec.batch_size
    every = [[epoch["seconds"] for epoch in record["epochs"]] for record in records]
    loops = [*map(sum, every)]
    return Measured(
        rate=len(records) * trained / (ended - began),
        wall=ended - began,
        spent=spent,
        in_loop=sum(trained / loop for loop in loops),
        fastest=sum(trained / len(own) / min(own) for own in every),
    )


@contextmanager
def own_runs() -> Iterator[None]:
    """Runs and MLflow's store in a temporary folder, with the cache of read images from the real one."""
    cache = runs() / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        Path(folder, "cache").symlink_to(cache)
        before = dict(os.environ)
        os.environ["HARNESS_RUNS"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def measure(spec: Spec, places: Sequence[str], seconds: float, rounds: int, how: "How") -> Iterator[tuple[str, Any]]:
    """("bound", images/s) and ("harness", Measured) in turn: a b a, and b a again for each further round."""
    first = bound(spec, places, BOUND_SHARE * seconds)
    yield "bound", first
    small = sized(spec, first / len(places), seconds)
    for _ in range(rounds):
        yield "harness", study(small, places, how)
        yield "bound", bound(spec, places, BOUND_SHARE * seconds)
