"""A study beside timm's own trainer: the same network, photos, batch and epochs, on the same cores of a CPU.

timm's script is no part of its package: https://github.com/huggingface/pytorch-image-models has it, `train.py`, which
takes the timm beside it. It is run as it is meant to be, one process whose threads are PyTorch's own, with as many
loading processes as the harness has runs; as it comes, and in channels_last, where it is told to. The harness trains a
run a core. Augmentation costs about the same: both crop, flip, and jitter colours, the harness hue too, timm contrast.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import Problem, one_line
from harness.bench.loop import Measured, recipe, study
from harness.spec import Spec
from harness.train import PLAIN

RATE = re.compile(r"Train: (\d+) \[.*\(\d+\.\d+s, +(\d+\.\d+)/s\)")  # an epoch, and its images a second so far
EPOCHS = 8  # of which the fastest is that of the loop; of shorter runs audits are a larger share
WAYS = {"timm": (), "channels_last": ("--channels-last",)}  # by name, what its script is told


def photos(model: str, root: Path, size: int, batch_size: int, epochs: int = EPOCHS) -> Spec:
    """timm's network on photos of a folder. Raises Problem where there are too few, or they are small."""
    from harness.parts.augment import ColorJitter, Flip, RandomAreaCrop
    from harness.parts.data import SMALL, ImageFolder
    from harness.parts.models import Timm

    data = ImageFolder(root=root, size=size)
    if size <= SMALL:
        raise Problem(f"--size {size}: photos above {SMALL} px are decoded while they are trained on; take more")
    images = data.load().counts["train"]
    if images < batch_size:
        raise Problem(f"--batch-size {batch_size}: there are {images} training images")
    augment = RandomAreaCrop(), Flip(), ColorJitter()
    return recipe("resnet18", data, batch_size).but(model=Timm(name=model), epochs=epochs, augment=augment)


def theirs(script: Path, spec: Spec, model: str, workers: int, way: Sequence[str] = ()) -> tuple[float, float]:
    """Images a second of timm's script: of all that it does, and of its training loop in the fastest epoch.

    Raises Problem, with its last line, where it fails or tells no rate.
    """
    images = spec.data.load()
    tested = next(iter(images.files["test"]))[0].partition("/")[0]
    if tested == next(iter(images.files["train"]))[0].partition("/")[0]:
        raise Problem(f"--data {getattr(spec.data, 'root', '')}: it has no folder of test images, as timm wants one")
    told = {
        "--model": model,
        "--num-classes": len(images.classes),
        "--input-size": f"3 {images.size} {images.size}",
        "--val-split": tested,
        "--batch-size": spec.batch_size,
        "--epochs": spec.epochs,
        "--device": "cpu",
        "--workers": workers,
        "--opt": "nesterov",
        "--lr": 0.05,
        "--sched": "step",
        "--warmup-epochs": 0,
        "--smoothing": 0,
        "--train-interpolation": "bilinear",
        "--interpolation": "bilinear",
        "--crop-pct": 0.875,
        "--log-interval": 1,
    }
    words = [word for name, value in told.items() for word in (name, *str(value).split())]
    root = getattr(spec.data, "root", "")
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        command = [sys.executable, str(script), str(root), *words, *way, "--output", folder]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        wall = time.monotonic() - began
    lines = [line for text in (done.stdout, done.stderr) for line in text.splitlines() if line.strip()]
    rates = {found[1]: float(found[2]) for found in map(RATE.search, lines) if found}  # of an epoch the last
    if done.returncode or not rates:
        raise Problem(f"--trainer {script}: {one_line((lines or ['without a word'])[-1], 300)}")
    steps = images.counts["train"] // spec.batch_size
    return spec.epochs * steps * spec.batch_size / wall, max(rates.values())


def beside(script: Path, spec: Spec, model: str, places: Sequence[str]) -> Iterator[tuple[str, float, float, float]]:
    """(One of `WAYS`, or "harness"; images a second of all it does; in its training loop; the share of evidence)."""
    own: Measured = study(spec, places, PLAIN)
    yield "harness", own.rate, own.fastest, own.spent.get("evidence", 0.0) / own.wall
    for name, way in WAYS.items():
        yield name, *theirs(script, spec, model, len(places), way), 0.0


def show_trained(script: Path, spec: Spec, model: str, places: Sequence[str]) -> None:
    size = spec.data.load().size
    print(f"{model}, {size} px, batch {spec.batch_size}, {spec.epochs} epochs; images a second, all that is done, and")
    print(f"in the training loop; the harness with {len(places)} runs at once, timm with one, as it comes and in")
    print("channels_last")
    seen = {}
    for name, whole, loop, evidence in beside(script, spec, model, places):
        seen[name] = whole, loop
        told = f"   evidence took {evidence:.1%} of the time: audits are the larger a share, the shorter a run is"
        print(f"  {name:<15}{whole:10.1f}{loop:10.1f}{told if evidence else ''}", flush=True)
    ours = seen.pop("harness")
    for name, rates in seen.items():
        all_of_it, loop = (own / other for own, other in zip(ours, rates, strict=True))
        print(f"harness / {name}: {all_of_it:.2f}, in the loop {loop:.2f}")
