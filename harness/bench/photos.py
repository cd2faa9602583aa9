"""Loading photos, beside timm's loader."""

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from harness import Problem

LOADED, WORKERS, BATCH = 4096, 2, 64  # images of a pass at least: of few, over several epochs
EDGE = 256  # px, the short edge of the prepared ones
NAMES = "harness", "torchcodec", "prepared", "timm"
FEW, TIMES = 6, 8  # batches of a short epoch; such epochs


def usual() -> tuple[int, Any, Any, Any]:
    """Batch size, augmentation, streams and device of all that is measured here; with `WORKERS`, one thread each."""
    import torch

    from harness.parts.augment import ColorJitter, Flip, RandomAreaCrop
    from harness.rng import streams

    torch.set_num_threads(1)
    os.environ["HARNESS_DECODERS"] = str(WORKERS)
    return BATCH, (RandomAreaCrop(), Flip(), ColorJitter()), streams(0), torch.device("cpu")


def loaded(root: Path, rounds: int, folder: Path) -> Iterator[tuple[str, float, float]]:
    """(one of `NAMES`, images a second, CPU milliseconds an image), in turn, after a pass of each that warms up.

    The prepared ones are the same images, made smaller once, in `folder`, before any pass; torchcodec, where it is
    installed, decodes them as they are.

    Of epochs as a training has them, from the start of the workers, which last; of the same files, at 224 px: crop,
    flip, and jitter of hue, saturation and brightness. PCA noise is left out, which timm lacks. The harness jitters in
    the training process, timm in the workers; either has one thread a process, and CPU time is that of all. The
    harness's process keeps freed memory, as that of a run does.
    """
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    from harness.parts.data import ImageFolder, Photos, Prepared
    from harness.parts.data.prepared import prepare

    data = ImageFolder(root=root, limit=LOADED)
    images = data.load()
    assert isinstance(images, Photos)
    batches = images.counts["train"] // BATCH
    if not batches:
        raise Problem(f"--loader {root}: {images.counts['train']} training images, and a batch has {BATCH}")
    epochs, how = -(-LOADED // (batches * BATCH)), usual()

    prepare(data, EDGE, folder, lambda line: print(f"  prepared once: {line.rpartition(' in ')[0]}", flush=True))
    smaller = Prepared(root=folder, edge=EDGE).load()
    assert isinstance(smaller, Photos)

    own = {"harness": images, "prepared": smaller}
    if find_spec("torchcodec"):
        own["torchcodec"] = replace(images, decoder="torchcodec")

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
        persistent_workers=True,
    )
    for number in range(-1, rounds):
        for name in (name for name in NAMES if name in own or name == "timm"):
            first = (number + 1) * epochs
            ours = name in own and own[name].train(first, *how, 0, first + epochs)
            count, seconds, spent = passed(ours or again(theirs, epochs), name in own)
            if count != epochs * batches:
                raise Problem(f"--loader {root}: {name} loaded {count} batches and not {epochs * batches}")
            if number >= 0:
                yield name, count * BATCH / seconds, 1000 * spent / (count * BATCH)


def again(loader: Any, epochs: int) -> Iterator[Any]:
    """So many epochs of a loader of torch's whose workers last, and their end: then their CPU time is known."""
    for _ in range(epochs):
        yield from loader
    loader._iterator = None


def passed(source: Iterable[Any], ours: bool) -> tuple[int, float, float]:
    """Batches of a pass, its seconds, and those of CPU, in a process of its own: ours is set up as a run's is."""
    from harness.engine import settle

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def go() -> None:
        if ours:
            settle("cpu")
        used, began = cpu_seconds(), time.monotonic()
        count = sum(1 for _ in source)
        there.send((count, time.monotonic() - began, cpu_seconds() - used))

    process = context.Process(target=go)
    process.start()
    there.close()
    try:
        told: tuple[int, float, float] = here.recv()
    except EOFError:
        raise Problem("a process that loads photos ended before its last batch") from None
    finally:
        process.join()
    return told


def short_epochs(root: Path) -> dict[str, float]:
    """Seconds for `TIMES` epochs of `FEW` batches: one by one, as the loop has them, and all as one long epoch.

    Whoever takes a batch then rests for as long as one took to be made, as a device would that is as fast.
    """
    import numpy as np

    from harness.parts.data import ImageFolder

    how = usual()
    images = ImageFolder(root=root, limit=FEW * BATCH).load()
    places = np.arange(images.counts["train"])
    if len(places) < BATCH:
        raise Problem(f"--loader {root}: {len(places)} training images, and a batch has {BATCH}")
    steps = len(places) // BATCH
    long = images.regrouped({"train": ("train", np.tile(places[: steps * BATCH], TIMES))})

    def seconds(passes: Iterable[Iterator[Any]], rest: float) -> float:
        began = time.monotonic()
        for served in passes:
            for _ in served:
                time.sleep(rest)
        return time.monotonic() - began

    rest = seconds([long.train(0, *how)], 0.0) / (steps * TIMES)
    return {
        "one by one": seconds((images.train(epoch, *how) for epoch in range(TIMES)), rest),
        "as a run has them": seconds([images.train(0, *how, 0, TIMES)], rest),
        "as one": seconds([long.train(0, *how)], rest),
    }


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def show_loaded(root: Path, rounds: int) -> None:
    print(f"training images of {root} at 224 px, batch {BATCH}, {WORKERS} workers, on CPU", flush=True)
    with tempfile.TemporaryDirectory(prefix="harness-prepared-") as folder:
        show_beside("timm", NAMES, loaded(root, rounds, Path(folder)))
    spent = short_epochs(root)
    print(f"{TIMES} epochs of {FEW} batches, for someone who is as fast as the workers; of one epoch as long:")
    for name, own in spent.items():
        print(f"  {name:<18}{own / spent['as one']:6.2f}")


def show_beside(base: str, names: Sequence[str], passes: Iterator[tuple[str, float, float]]) -> None:
    """Each pass as it comes, (name, images a second, CPU milliseconds an image), and then the ratios to `base`."""
    print(f"  {'':9}{'images/s':>10}{'CPU ms an image':>17}", flush=True)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name, rate, spent in passes:
        seen[name].append((rate, spent))
        print(f"  {name:<9}{rate:10.1f}{spent:17.2f}", flush=True)
    for name in (name for name in names if name != base and seen[name]):
        for i, what in enumerate(("images/s", "CPU time")):
            ratios = [own[i] / other[i] for own, other in zip(seen[name], seen[base], strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}"
            print(f"{what}, {name} / {base} = {median(ratios):.2f} ({spread})")
