"""What a GPU makes of the harness, in one command of some eight minutes: each figure is a ratio of two taken in it.

Never run on one, so how long it takes is a guess: no section is begun that is thought to last beyond them. Each is
measured by what measures a CPU too, which tests run; `harness.doctor` asks whether the bits are the same.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import Field

from harness import Problem, one_line
from harness.bench.loop import bound, of_study, own_runs, recipe, sized, study
from harness.spec import Data, Spec
from harness.train import PLAIN, How

LIMIT = 480.0  # seconds of the whole
SECONDS = 10.0  # about what the training of each study takes
GRAPHS = How(cuda_graphs=True)


class Noise(Data):
    """Images of random pixels, in memory: what they cost is what photos of their size cost, once decoded."""

    size: int = Field(ge=8)
    classes: int = Field(ge=2)
    images: int = Field(ge=16)

    @property
    def channels(self) -> int:
        return 3

    def load(self) -> Any:
        return _noise(self)


@lru_cache(1)
def _noise(part: Noise) -> Any:
    from harness.parts.data import in_memory

    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", part.images), ("test", max(part.classes, part.images // 16))):
        pixels = rng.integers(0, 256, (count, 3, part.size, part.size), dtype=np.uint8)
        arrays[split] = pixels, np.arange(count) % part.classes
    return in_memory(arrays, tuple(f"class {i}" for i in range(part.classes)))


@dataclass(frozen=True)
class Section:
    """Of the whole: what it tells, and the seconds that it is begun with at least."""

    what: str
    seconds: float
    lines: Callable[[str], Iterator[str]]


def against(
    spec: Spec, place: str, ways: dict[str, tuple[Spec, How]], seconds: float = SECONDS, compiled: bool = False
) -> Iterator[str]:
    """A study of one run in each way, as shares of what a bare loop of `spec` trains on a second, before and after."""
    before = bound(spec, [place], seconds / 2, compiled)
    small = sized(spec, before, seconds)
    seen = {
        name: study(own.but(data=small.data, epochs=small.epochs), [place], how) for name, (own, how) in ways.items()
    }
    rate = median((before, bound(spec, [place], seconds / 2, compiled)))
    yield f"  a bare {'compiled ' * compiled}loop: {rate:,.0f} images a second"
    for name, own in seen.items():
        spent = ", ".join(f"{what} {took / own.wall:.0%}" for what, took in own.spent.items() if took > 0.05 * own.wall)
        told = f"fastest epoch {own.fastest / rate:.3f} of that, all included {own.rate / rate:.3f}"
        yield f"  {name}: {told} ({spent})"


def digits(place: str, seconds: float = SECONDS) -> Iterator[str]:
    spec = of_study("digits")
    yield from against(spec, place, {"as written": (spec, PLAIN), "by CUDA graphs": (spec, GRAPHS)}, seconds)
    card, core = bound(spec, [place], seconds / 2), bound(spec, ["cpu"], seconds / 2)
    yield f"  the bare loop, to that of one core of the CPU: {card / core:.2f}"


def small(place: str, seconds: float = SECONDS, images: int = 20_000) -> Iterator[str]:
    from harness.tricks.fp16 import fp16

    spec = fp16(recipe("resnet18", Noise(size=32, classes=10, images=images), 128))
    yield from against(spec, place, {"as written": (spec, PLAIN), "by CUDA graphs": (spec, GRAPHS)}, seconds)


def large(place: str, seconds: float = SECONDS, size: int = 224, images: int = 2048, batch: int = 128) -> Iterator[str]:
    from harness.tricks.fp16 import fp16
    from harness.tricks.torch_compile import torch_compile

    spec = fp16(recipe("resnet50", Noise(size=size, classes=10, images=images), batch))
    ways = {"as written": (spec, PLAIN), "torch_compile by CUDA graphs": (torch_compile(spec), GRAPHS)}
    yield from against(spec, place, ways, seconds, compiled=True)


def ladder(place: str, *more: str) -> Iterator[str]:
    """Seconds of the digits' study from its first run to its last, as journals tell them."""
    from harness.store import Store

    command = [sys.executable, "-m", "harness.ablate", "digits", "--device", place, "--jobs", "auto", *more]
    with own_runs():
        done = subprocess.run([*command, "--cuda-graphs", "--curve-every", "3"], capture_output=True, text=True)
        if done.returncode:
            raise Problem((done.stderr.strip().splitlines() or ["no word of why"])[-1])
        store = Store()
        times = [[event["time"] for event in store.events(*run)] for run in store]
        chosen = [line for line in done.stderr.splitlines() if "--jobs auto" in line]
    yield from (f"  {one_line(line, 200)}" for line in chosen)
    took = max(map(max, times)) - min(map(min, times))
    yield f"  {len(times)} runs in {took:.1f} s, from the first one's start to the last one's end"


def photos(place: str, images: int = 2048, batch: int = 128) -> Iterator[str]:
    """Images of 500 x 375 px a second, of an epoch's batches on the device, by each decoder after an epoch of each."""
    from PIL import Image

    from harness.engine import settle
    from harness.engine.local import decoders
    from harness.parts.augment import PAPER
    from harness.parts.data import ImageFolder
    from harness.rng import streams

    device, rng, rates = settle(place), np.random.default_rng(0), dict[str, float]()
    with own_runs(), tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        os.environ["HARNESS_DECODERS"] = str(decoders(1))
        for number in range(images + 2):
            split = "train" if number < images else "val"
            path = Path(folder, split, f"class {number % 2}", f"{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
            coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        for decoder in (None, "torchcodec", "nvjpeg"):
            loaded = ImageFolder(root=Path(folder), decoder=decoder).load()
            for epoch in range(2):
                began = time.monotonic()
                for x, _ in loaded.train(epoch, batch, PAPER, streams(0), device):
                    last = x[:1, :1, :1, :1]
                last.sum().item()  # waits for the device
            rates[decoder or "Pillow"] = images // batch * batch / (time.monotonic() - began)
    yield f"  Pillow, {decoders(1)} processes: {rates['Pillow']:,.0f} images a second"
    for decoder in ("torchcodec", "nvjpeg"):
        yield f"  {decoder}: {rates[decoder] / rates['Pillow']:.2f} of that"


def operations(place: str, images: int = 128, size: int = 32, rounds: int = 10) -> Iterator[str]:
    """A batch on the device: RandAugment there and by the CPU, which copies it; crops together and one by one."""
    import torch

    from harness.engine import settle
    from harness.parts.augment import RandomAreaCrop
    from harness.tricks.randaugment import RandAugment

    device, part = settle(place), RandAugment()
    crop, together = RandomAreaCrop(), RandomAreaCrop(together=True)
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (images, 3, size, size))).float().to(device)
    ways: dict[str, Callable[[np.random.Generator], Any]] = {
        "by the CPU": lambda rng: part(x, rng),
        "on the device": lambda rng: part.together(x.int(), rng).float(),
        "one by one": lambda rng: crop(x, rng),
        "together": lambda rng: together(x, rng),
    }
    took = {}
    for name, done in ways.items():
        for number in range(rounds + 1):
            if number == 1:  # the first is not counted
                began = time.monotonic()
            done(np.random.default_rng(number)).sum().item()  # waits for the device
        took[name] = (time.monotonic() - began) / rounds
    yield f"  RandAugment on the device: {took['by the CPU'] / took['on the device']:.2f} times as fast as by the CPU"
    yield f"  crops together: {took['one by one'] / took['together']:.2f} times as fast as one by one"


SECTIONS = (
    Section("digits, batch 32, FP32", 60, digits),
    Section("ResNet-50, 224 px, batch 128, FP16", 250, large),
    Section("ResNet-18, 32 px, batch 128, FP16", 60, small),
    Section("photos at 224 px, decoded", 60, photos),
    Section("RandAugment and crops of 128 images of 32 px", 10, operations),
    Section("the digits' study, 51 runs", 100, ladder),
)


def show_gpu(place: str, sections: tuple[Section, ...] = SECTIONS, limit: float = LIMIT) -> None:
    """Each section that there is time for. An error in one is told, and the others go on."""
    began = time.monotonic()
    for section in sections:
        left = limit - (time.monotonic() - began)
        if left < section.seconds:
            print(f"{section.what}: left out, {left:.0f} s are left of {limit:.0f}", flush=True)
            continue
        print(section.what, flush=True)
        try:
            for line in section.lines(place):
                print(line, flush=True)
        except Exception as error:
            print(f"  {type(error).__name__}: {one_line(str(error), 300)}", flush=True)
