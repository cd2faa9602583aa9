"""Throughput: the harness itself against the bound of this machine, measured in one run.

    python -m harness.bench                                        # the digits, a check that all works
    python -m harness.bench --model resnet18 --data /data/cifar10 --size 32
    python -m harness.bench --loader /data/photos                  # loading photos at 224 px, beside timm's loader
    python -m harness.bench --imgaug /data/monkeys                 # the monkeys' augmentation, beside its source
    python -m harness.bench --records 10000                        # how long the store and a report of it take
    python -m harness.bench --evidence 2000 --model small          # what evidence costs, in a run of so many steps

The *bound* is forward, backward and update of one batch that is already in memory, over and over: no data, no
evaluation, no records; in as many simultaneous processes as the harness uses, with the same threads. The *harness* is a
whole small study: processes start, load and augment, train, evaluate every epoch, keep journals, write records and log
to MLflow. Images trained on count, images tested on do not, though their time does. Reading every image file and making
MLflow's database, each done once a machine, come before the clock starts. The machine may be shared, so the bound is
measured before and after every study, and the ratio is one of medians.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from threading import BrokenBarrierError
from typing import Any

import numpy as np
from pydantic import Field

from harness import Problem
from harness.cli import main
from harness.paths import expanded, runs
from harness.spec import Data, Model, Spec

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
    import numpy as np

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
    from harness.parts import augment
    from harness.parts.data import SMALL, Digits, ImageFolder, Torchvision
    from harness.parts.decay import DecayAll
    from harness.parts.init import Xavier
    from harness.parts.optimizers import NAG
    from harness.parts.precision import FP32
    from harness.parts.schedules import Piecewise

    part: Data = Digits() if data == "digits" else ImageFolder(root=Path(data), size=size)
    if data == "cifar10":
        part = Torchvision(name="CIFAR10")
    images = part.load()
    if images.counts["train"] < batch_size:
        raise Problem(f"--batch-size {batch_size}: there are {images.counts['train']} training images")
    small = images.size <= SMALL
    shift = (augment.Shift(pixels=1),) if images.channels == 1 else (augment.Flip(), augment.Shift(pixels=4))
    return Spec(
        data=part,
        model=network(model, small),
        init=(Xavier(),),
        decay=DecayAll(),
        optimizer=NAG(),
        schedule=Piecewise(),
        batch_size=batch_size,
        epochs=1,
        augment=shift if small else augment.PAPER,
        precision=FP32(),
    )


def network(name: str, small: bool) -> Model:
    from harness.parts import models

    known = dict(zip(MODELS, (models.ResNet(blocks=(1, 1, 1), width=16), models.RESNET18), strict=False))
    known |= {"resnet34": models.RESNET34, "resnet50": models.RESNET50}
    if name not in known:
        raise Problem(f"--model {name}: unknown; there are: {', '.join(MODELS)}")
    return known[name].but(small=small)


# --- the bound --------------------------------------------------------------------------------------------------------


def bound(spec: Spec, places: Sequence[str], seconds: float) -> float:
    """Images a second that a bare loop trains on, summed over simultaneous processes, one at each of `places`."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(len(places), timeout=600), context.SimpleQueue()
    processes = [context.Process(target=_bare_loop, args=(spec, p, seconds, together, answers)) for p in places]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    heard = [answers.get() for process in processes if not answers.empty()]
    why = next((answer for answer in heard if isinstance(answer, str)), "a process was killed")
    if not all(isinstance(answer, float) for answer in heard) or len(heard) < len(places):
        raise Problem(f"the bound could not be measured: {why}")
    return sum(map(float, heard))


def _bare_loop(spec: Spec, place: str, seconds: float, together: Any, answers: Any) -> None:
    """Answers with images a second, or why there are none."""
    try:
        answers.put(_bare_rate(spec, place, seconds, together))
    except BrokenBarrierError:
        pass  # another process failed, and says why
    except Exception as error:
        answers.put(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        together.abort()


def _bare_rate(spec: Spec, place: str, seconds: float, together: Any) -> float:
    """Plain PyTorch but for what `spec` builds; threads and cuDNN are set as the engine sets them."""
    import torch

    from harness.engine import settle
    from harness.rng import streams
    from harness.train import build

    device = settle(place)
    spec.precision.on(device)  # TF32 off
    model = build(spec, 0, device).train()
    x, labels = next(spec.data.load().train(0, spec.batch_size, (), streams(0), device))
    x = x.contiguous(memory_format=torch.channels_last)
    optimizer = spec.optimizer.build(spec.decay.groups(model), spec.batch_size)

    def step() -> None:
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    _wait_for(device)
    together.wait()
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


# --- the harness ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A study's images trained a second, and where its processes' time went, in seconds a process."""

    rate: float
    wall: float
    loop: float
    evaluation: float
    in_loop: float  # images a second, summed over processes, while they were in the training loop
    keeping: float  # of a run's seconds, the share that went into journal and checkpoints


def sized(spec: Spec, rate: float, seconds: float) -> Spec:
    """`spec` on a slice and for epochs such that one run takes about `seconds` at `rate` images a second."""
    have = spec.data.load().counts["train"]
    steps = max(1, round(rate * seconds / spec.batch_size))
    a_epoch = min(steps, have // spec.batch_size)
    data = Slice(data=spec.data, images=a_epoch * spec.batch_size)
    return spec.but(data=data, epochs=max(1, round(steps / a_epoch)))


def study(spec: Spec, places: Sequence[str]) -> Measured:
    """Train `spec` from a seed a place, as `harness.ablate` does, among runs that are then deleted."""
    from harness.engine import Engine, key
    from harness.store import Store
    from harness.study import Plan, Rung
    from harness.tracking import Tracker, open_experiment

    plan = Plan("bench", (Rung("baseline", "baseline", spec),), tuple(range(len(places))))
    with _own_runs():
        store = Store()
        open_experiment(plan.study)
        began = time.monotonic()
        tracker = Tracker(plan.study, plan.names(), store, map(key, plan.runs()), "harness.bench")
        failures = []
        for event in Engine(store, places).events(plan.runs()):
            tracker.see(event)
            if event["kind"] == "failed":
                failures.append(event["why"])
            elif event["kind"] == "interrupted":
                raise KeyboardInterrupt
        trouble = tracker.close()
        wall = time.monotonic() - began
        if failures or trouble:
            raise Problem(f"the study could not be measured: {(*failures, trouble)[0]}")
        records = [store.read(spec.id, seed) for seed in plan.seeds]
    trained = spec.epochs * (spec.data.load().counts["train"] // spec.batch_size) * spec.batch_size
    loops = [sum(epoch["seconds"] for epoch in record["epochs"]) for record in records]
    return Measured(
        rate=len(records) * trained / wall,
        wall=wall,
        loop=sum(loops) / len(loops),
        evaluation=sum(r["seconds"] - loop for r, loop in zip(records, loops, strict=True)) / len(loops),
        in_loop=sum(trained / loop for loop in loops),
        keeping=sum(r["keeping"] for r in records) / sum(r["seconds"] for r in records),
    )


@contextmanager
def _own_runs() -> Iterator[None]:
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


# --- loading ----------------------------------------------------------------------------------------------------------


LOADED, WORKERS, BATCH = 2048, 2, 64  # images of a pass, unless there are fewer


def loaded(root: Path, rounds: int) -> Iterator[tuple[str, float, float]]:
    """("harness" or "timm", images a second, CPU milliseconds an image), in turn, after a pass of each that warms up.

    Of one epoch from the start of its workers, of the same files, at 224 px: crop, flip, and jitter of hue, saturation
    and brightness. PCA noise is left out, which timm lacks. The harness jitters in the training process, timm in the
    workers; either has one thread a process, and CPU time is that of all.
    """
    import torch
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    from harness.parts.augment import ColorJitter, Flip, RandomAreaCrop
    from harness.parts.data import ImageFolder, Photos
    from harness.rng import streams

    images = ImageFolder(root=root, limit=LOADED).load()
    assert isinstance(images, Photos)
    batches = images.counts["train"] // BATCH
    if not batches:
        raise Problem(f"--loader {root}: {images.counts['train']} training images, and a batch has {BATCH}")
    torch.set_num_threads(1)
    os.environ["HARNESS_DECODERS"] = str(WORKERS)
    augment = RandomAreaCrop(), Flip(), ColorJitter()

    def ours(epoch: int) -> Iterator[Any]:
        return images.train(epoch, BATCH, augment, streams(0), torch.device("cpu"))

    files = create_dataset("", root=str(root / "train"))
    files.reader.samples = [(str(root / name), label) for name, label in images.files["train"]]
    jitter: Any = (0.4, 0.0, 0.4, 0.4)  # of brightness, contrast, saturation, hue; declared as one number
    theirs = create_loader(
        files,
        input_size=(3, 224, 224),
        batch_size=BATCH,
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        color_jitter=jitter,
        interpolation="bilinear",
        num_workers=WORKERS,
        use_prefetcher=False,
        persistent_workers=False,
    )
    for number in range(-1, rounds):
        for name, source in (("harness", ours(number + 1)), ("timm", theirs)):
            used, began = _cpu_seconds(), time.monotonic()
            if sum(1 for _ in source) != batches:
                raise Problem(f"--loader {root}: {name} did not load {batches} batches")
            seconds = time.monotonic() - began
            if number >= 0:
                yield name, batches * BATCH / seconds, 1000 * (_cpu_seconds() - used) / (batches * BATCH)


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def show_loaded(root: Path, rounds: int) -> None:
    print(f"training images of {root} at 224 px, batch {BATCH}, {WORKERS} workers, on CPU", flush=True)
    show_beside("timm", ("harness", "timm"), loaded(root, rounds))


def show_beside(base: str, names: Sequence[str], passes: Iterator[tuple[str, float, float]]) -> None:
    """Each pass as it comes, (name, images a second, CPU milliseconds an image), and then the ratios to `base`."""
    print(f"  {'':9}{'images/s':>10}{'CPU ms an image':>17}", flush=True)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name, rate, spent in passes:
        seen[name].append((rate, spent))
        print(f"  {name:<9}{rate:10.1f}{spent:17.2f}", flush=True)
    for name in (name for name in names if name != base):
        for i, what in enumerate(("images/s", "CPU time")):
            ratios = [own[i] / other[i] for own, other in zip(seen[name], seen[base], strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}"
            print(f"{what}, {name} / {base} = {median(ratios):.2f} ({spread})")


# --- the monkeys' augmentation ---------------------------------------------------------------------------------------


POLICY_IMAGES = 512  # of a pass, unless there are fewer
WHOLE = ("the source's function", "the policy")


def prepared(root: Path, rounds: int) -> Iterator[tuple[str, float, float]]:
    """("source", "1 worker" or "2 workers", images a second, CPU milliseconds an image), in turn, after a pass of each
    that warms up.

    From file to pixels in [-1, 1] at 224 px, by the whole policy: as the monkey report does, in one process, and an
    epoch of the harness from the start of its workers, of the same files. Linear algebra, OpenCV and
    torch have one thread a process.
    """
    import torch

    from harness.parts.data import ImageFolder, Photos
    from harness.parts.imgaug_policy import ImgAug
    from harness.rng import streams

    half = (127.5, 127.5, 127.5)
    images = ImageFolder(root=root, limit=POLICY_IMAGES, fit="squash", mean=half, std=half).load()
    assert isinstance(images, Photos)
    count = images.counts["train"] // BATCH * BATCH
    if not count:
        raise Problem(f"--imgaug {root}: {images.counts['train']} training images, and a batch has {BATCH}")
    torch.set_num_threads(1)
    part = ImgAug()
    part.ready()

    def ours(workers: int, epoch: int) -> int:
        os.environ["HARNESS_DECODERS"] = str(workers)
        return sum(len(y) for _, y in images.train(epoch, BATCH, (part,), streams(0), torch.device("cpu")))

    def theirs(epoch: int) -> int:
        chosen = np.concatenate(images.order(epoch, BATCH, streams(0)))
        return len([normalised(read(root / images.files["train"][i][0])) for i in chosen])

    ways: dict[str, Callable[[int], int]] = {
        "source": theirs,
        "1 worker": partial(ours, 1),
        "2 workers": partial(ours, 2),
    }
    for number in range(-1, rounds):
        for name, way in ways.items():
            used, began = _cpu_seconds(), time.monotonic()
            if way(number + 1) != count:
                raise Problem(f"--imgaug {root}: {name} did not prepare {count} images")
            seconds = time.monotonic() - began
            if number >= 0:
                yield name, count / seconds, 1000 * (_cpu_seconds() - used) / count


def read(path: Path) -> np.ndarray:
    """RGB, decoded whole and resized to 224 px, as the source does."""
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise Problem(f"{path} is not read by OpenCV: repair it or take it out")
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (224, 224))


def normalised(image: np.ndarray) -> np.ndarray:
    """The source's `normalize_img`, of sections 2.4.1 and 2.4.2, as it is printed: all is built for each image."""
    from harness.parts.imgaug_policy import undisturbed

    images = np.array([image])
    with undisturbed() as iaa, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        iaa.meta.ia.seed(random.randint(0, 10000))
        images = source(iaa)(images=images)
    return np.transpose(images[0], (2, 0, 1)).astype("float32") / 255.0 * 2.0 - 1.0


def source(iaa: Any) -> Any:
    """The report's `image_augment_imgauglib`, with imgaug's own Superpixels."""
    sometimes = partial(iaa.Sometimes, 0.5)
    percent = {"x": (-0.2, 0.2), "y": (-0.2, 0.2)}
    scale = {"x": (0.8, 1.2), "y": (0.8, 1.2)}
    affine = {"scale": scale, "translate_percent": percent, "rotate": (-45, 45), "shear": (-16, 16)}
    edges = [iaa.EdgeDetect(alpha=(0, 0.7)), iaa.DirectedEdgeDetect(alpha=(0, 0.7), direction=(0.0, 1.0))]
    rectangles = iaa.CoarseDropout((0.03, 0.15), size_percent=(0.02, 0.05), per_channel=0.2)
    twelve = [
        sometimes(iaa.Superpixels(p_replace=(0, 1.0), n_segments=(20, 200))),
        iaa.OneOf([iaa.GaussianBlur((0, 3.0)), iaa.AverageBlur(k=(2, 7)), iaa.MedianBlur(k=(3, 11))]),
        iaa.Sharpen(alpha=(0, 1.0), lightness=(0.75, 1.5)),
        iaa.Emboss(alpha=(0, 1.0), strength=(0, 2.0)),
        sometimes(iaa.OneOf(edges)),
        iaa.AdditiveGaussianNoise(loc=0, scale=(0.0, 0.05 * 255), per_channel=0.5),
        iaa.OneOf([iaa.Dropout((0.01, 0.1), per_channel=0.5), rectangles]),
        iaa.Add((-10, 10), per_channel=0.5),
        iaa.Multiply((0.5, 1.5), per_channel=0.5),
        iaa.LinearContrast((0.5, 2.0), per_channel=0.5),
        sometimes(iaa.ElasticTransformation(alpha=(0.5, 3.5), sigma=0.25)),
        sometimes(iaa.PiecewiseAffine(scale=(0.01, 0.05))),
    ]
    every = [iaa.Fliplr(0.5), iaa.Flipud(0.2), sometimes(iaa.Crop(percent=(0, 0.1)))]
    every.append(sometimes(iaa.Affine(**affine, order=[0, 1], cval=(0, 255), mode="ALL")))
    every.append(iaa.SomeOf((0, 5), twelve, random_order=True))
    return iaa.Sequential(every, random_order=True)


def costs(root: Path, rounds: int) -> dict[str, float]:
    """CPU milliseconds an image of 224 px that is in memory, the median of `rounds` passes over 64.

    Of the source's function and of the policy; then of each operation where it is drawn, the dearest first.
    """
    from harness.parts.data import ImageFolder, Photos
    from harness.parts.imgaug_policy import GROUPS, ImgAug, leaves, policy, undisturbed

    images = ImageFolder(root=root, limit=POLICY_IMAGES).load()
    assert isinstance(images, Photos)
    files = images.files["train"]
    pixels = np.stack([read(root / files[i * len(files) // BATCH][0]) for i in range(BATCH)])

    def alone(leaf: Any, rng: np.random.Generator) -> None:
        leaf.seed_(int(rng.integers(2**63)))
        with undisturbed():
            for image in pixels:
                leaf.augment_image(image)

    ways = (lambda rng: [normalised(image) for image in pixels], lambda rng: ImgAug().on_pixels(pixels, rng))
    work: dict[str, Any] = dict(zip(WHOLE, ways, strict=True))
    work |= {type(leaf).__name__: partial(alone, leaf) for leaf in leaves(policy(GROUPS))}
    seen: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, way in work.items():
            used = _cpu_seconds()
            way(np.random.default_rng(number))
            seen[name].append(1000 * (_cpu_seconds() - used) / BATCH)
    middle = {name: median(values[1:]) for name, values in seen.items()}  # the first warmed up
    return dict(sorted(middle.items(), key=lambda pair: (pair[0] not in WHOLE, -pair[1])))


def show_prepared(root: Path, rounds: int) -> None:
    print(f"training images of {root}, from file to [-1, 1] at 224 px, by the monkeys' policy, on CPU", flush=True)
    show_beside("source", ("source", "1 worker", "2 workers"), prepared(root, rounds))
    print("CPU ms an image that is in memory:", flush=True)
    for name, spent in costs(root, rounds).items():
        print(f"  {name:<24}{spent:8.2f}", flush=True)


# --- the store --------------------------------------------------------------------------------------------------------


RUNGS, EPOCHS = 10, 15  # of the small study that the store is measured with


def records(count: int) -> Iterator[tuple[int, float, float, float]]:
    """(records, seconds to write the last of them, to verify all, to report all) for stores of up to `count` records.

    They are small, of a study of ten rungs, and the report is that of the command, imports included.
    """
    from harness import report
    from harness.designs import Node, Options, ladder
    from harness.spec import plain, resolved
    from harness.store import Store
    from harness.store.care import troubles
    from harness.study import Plan, Rung, describe

    spec = specification("small", "digits", 8, 32)
    specs = [spec.but(epochs=EPOCHS + i) for i in range(RUNGS)]
    layout = ladder(RUNGS - 1, [Node(i, (i,)) for i in range(RUNGS - 1)], Options())
    rows = zip(specs, layout.rows, strict=True)
    rungs = tuple(Rung(f"rung{i}", f"rung {i}", own, row.on, row.gain) for i, (own, row) in enumerate(rows))
    tricks = tuple((rung.name, rung.title, ("epochs",)) for rung in rungs[1:])
    forms = [{"spec": plain(own), "resolved": resolved(own)} for own in specs]
    with _own_runs():
        store, made = Store(), 0
        for size in sorted({RUNGS * max(2, count * share // (8 * RUNGS)) for share in (1, 2, 4, 8)}):
            began = time.monotonic()
            for number in range(made, size):
                of, seed = number % RUNGS, number // RUNGS
                with store.claim(specs[of].id, seed) as claim:
                    claim.begin(forms[of])
                    result = example(seed, of)
                    for epoch in result["epochs"]:
                        claim.note("epoch", **epoch)
                    claim.finish(result, {})
            wrote, began = (time.monotonic() - began) / (size - made), time.monotonic()
            made = size
            wrong = [line for key in store for line in troubles(store, key)]
            if wrong:
                raise Problem(wrong[0])
            verified, began = time.monotonic() - began, time.monotonic()
            report.remember(describe(Plan("bench", rungs, tuple(range(size // RUNGS)), tricks=tricks), store))
            began = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "harness.report", "bench"], capture_output=True, text=True)
            if done.returncode:
                raise Problem(done.stderr)
            yield size, wrote, verified, time.monotonic() - began


def example(seed: int, rung: int) -> dict[str, Any]:
    """A result as a run of the digits study leaves it."""
    rng = np.random.default_rng((seed, rung))
    right = rng.random(1200) < (90 + rung / 10 + rng.normal() / 2) / 100
    top1 = 100 * float(right.mean())
    made = [
        {"epoch": i, "loss": 1 / (i + 1), "lr": 0.1, "seconds": 1.0, "test_loss": 1.0, "top1": top1 - 10 / (i + 1)}
        for i in range(EPOCHS)
    ]
    check = {"part": "loop", "what": "loss of step 1", "expected": "2.3", "seen": "2.3", "ok": True}
    return {
        "status": "finished",
        "metrics": {"test_loss": 1.0, "top1": top1, "top5": 99.0},
        "epochs": made,
        "evidence": [check | {"what": f"check {i}"} for i in range(20)],
        "rates": [[i, 0.1] for i in range(200)],
        "seen": {},
        "params": 1000,
        "macs": 1_000_000,
        "images": {"train": 597, "test": 1200, "digest": ""},
        "precision": {"name": "FP32", "emulated": False},
        "environment": {"device_name": "none", "commit": ""},
        "seconds": 15.0,
        "seconds_per_epoch": 1.0,
        "correct": np.packbits(right).tobytes().hex(),
    }


def show_records(count: int) -> None:
    print(f"{'records':>8}{'ms to write one':>17}{'ms to verify one':>18}{'s to report all':>17}", flush=True)
    for size, wrote, verified, reported in records(count):
        print(f"{size:8,}{1000 * wrote:17.2f}{1000 * verified / size:18.3f}{reported:17.2f}", flush=True)


# --- evidence ---------------------------------------------------------------------------------------------------------


def witnessed(spec: Spec, place: str, rounds: int) -> Iterator[tuple[float, float, int]]:
    """(Seconds of this process for a run with audits and exams, for one without, steps audited), in turn."""
    import torch

    from harness.engine import settle
    from harness.evidence import Trace
    from harness.train import train

    device = settle(place)
    watch, audits = Trace.watch, 0

    def timed(watching: bool) -> float:
        def counted(trace: Trace, spec: Spec) -> None:
            nonlocal audits
            watch(trace, spec)
            assert trace.auditor
            audits = len(trace.auditor.due)

        Trace.watch = counted if watching else lambda trace, spec: None  # type: ignore[method-assign,assignment]
        try:
            began = time.process_time() if device.type == "cpu" else time.monotonic()
            train(spec, 0, device, _no_teacher)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return (time.process_time() if device.type == "cpu" else time.monotonic()) - began
        finally:
            Trace.watch = watch  # type: ignore[method-assign]

    timed(True)  # caches are cold
    for number in range(rounds):
        first = number % 2 == 0
        one, other = timed(first), timed(not first)
        yield (one, other, audits) if first else (other, one, audits)


def _no_teacher(spec: Spec) -> Any:
    raise Problem("what evidence costs is measured of a specification without a teacher")


def show_evidence(spec: Spec, place: str, steps: int, rounds: int) -> None:
    a_epoch = spec.data.load().counts["train"] // spec.batch_size
    spec = spec.but(epochs=-(-steps // a_epoch))
    print(f"{spec.epochs * a_epoch:,} steps of {spec.batch_size} images, {spec.epochs} epochs")
    print(f"{'with evidence':>14}{'without':>12}{'cost':>9}{'audits':>8}", flush=True)
    costs = []
    for with_it, without, audits in witnessed(spec, place, rounds):
        costs.append(with_it / without - 1)
        print(f"{with_it:12.1f} s{without:10.1f} s{costs[-1]:9.2%}{audits:8}", flush=True)
    print(f"median cost of evidence: {median(costs):.2%} of training and evaluation")


# --- the command line -------------------------------------------------------------------------------------------------


def measure(spec: Spec, places: Sequence[str], seconds: float, rounds: int) -> Iterator[tuple[str, Any]]:
    """("bound", images/s) and ("harness", Measured) in turn: a b a, and b a again for each further round."""
    first = bound(spec, places, BOUND_SHARE * seconds)
    yield "bound", first
    small = sized(spec, first / len(places), seconds)
    for _ in range(rounds):
        yield "harness", study(small, places)
        yield "bound", bound(spec, places, BOUND_SHARE * seconds)


def run(options: argparse.Namespace) -> None:
    from harness.engine import places as places_for

    for name in ("size", "batch_size", "jobs", "seconds", "rounds", "records", "evidence"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Problem(f"--{name.replace('_', '-')} {value:g}: must be above 0")
    if options.records:
        return show_records(options.records)
    if options.loader:
        return show_loaded(options.loader, options.rounds)
    if options.imgaug:
        return show_prepared(options.imgaug, options.rounds)
    places = places_for(options.device, options.jobs)
    spec = specification(options.model, options.data, options.size, options.batch_size)
    if options.evidence:
        return show_evidence(spec, places[0], options.evidence, options.rounds)
    images = spec.data.load()
    shape = f"{images.channels} x {images.size} x {images.size}"
    print(f"{options.model} on {shape} images of {options.data}, batch {spec.batch_size}, FP32")
    print(f"{len(places)} processes on {', '.join(dict.fromkeys(places))}; images per second:", flush=True)
    bounds: list[float] = []
    studies: list[Measured] = []
    for kind, seen in measure(spec, places, options.seconds, options.rounds):
        (bounds if kind == "bound" else studies).append(seen)
        print(f"  {kind:<8}{seen if kind == 'bound' else seen.rate:10.1f}", flush=True)
    rates = [seen.rate for seen in studies]
    print(f"{'':10}{'min':>10}{'median':>10}{'n':>4}")
    for kind, values in (("bound", bounds), ("harness", rates)):
        print(f"  {kind:<8}{min(values):10.1f}{median(values):10.1f}{len(values):4}")
    print(f"harness / bound = {median(rates) / median(bounds):.3f}")
    if max(bounds) > STEADY * min(bounds):
        print(
            f"the bound itself moved by x {max(bounds) / min(bounds):.2f}: the machine is busy, the ratio means little"
        )
    last = studies[-1]
    print(
        f"of {last.wall:.0f} s a process: {last.loop / last.wall:.1%} in the training loop, at"
        f" {last.in_loop / median(bounds):.3f} of the bound; {last.evaluation / last.wall:.1%} in evaluation;"
        f" {1 - (last.loop + last.evaluation) / last.wall:.1%} in starting, loading and saving"
    )
    print(f"journal and checkpoints took {last.keeping:.2%} of the runs' time")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.bench", description="Measure the harness against the bound of this machine, and their ratio."
    )
    add = p.add_argument
    add(
        "--model",
        default="resnet18",
        help=f"{', '.join(MODELS)}; up to 64 px with the small stem (default: %(default)s)",
    )
    add("--data", default="digits", help="digits, cifar10, or a folder with train/ and val/ (default: %(default)s)")
    add("--size", type=int, default=32, metavar="PX", help="of a folder's images (default: %(default)s)")
    add("--batch-size", type=int, default=128, metavar="N", help="default: %(default)s")
    add("--jobs", type=int, metavar="N", help="processes (default: one a core on CPU, one a GPU on CUDA)")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add(
        "--seconds",
        type=float,
        default=90,
        metavar="S",
        help="about what a study's training takes (default: %(default)s)",
    )
    add("--records", type=int, metavar="N", help="measure the run store instead, with up to so many records")
    add("--loader", type=expanded, metavar="DIR", help="measure loading its train/CLASS/FILE, beside timm's loader")
    add("--imgaug", type=expanded, metavar="DIR", help="measure the monkeys' augmentation of images, beside its source")
    add("--evidence", type=int, metavar="STEPS", help="measure what audits and exams cost in a run of so many steps")
    add("--rounds", type=int, default=1, metavar="N", help="studies, or passes of a loader (default: %(default)s)")
    return p


if __name__ == "__main__":
    from harness import bench  # else `Slice` would be of `__main__` here, and of another module in the processes

    main(bench.parser(), bench.run)
