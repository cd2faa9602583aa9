"""What a plan will cost, before it is run: time, memory and disk."""

import math
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from harness import evidence, tasks
from harness.parts.data import Images, Photos
from harness.parts.data.scenes import Scenes
from harness.parts.models import area, sides
from harness.paths import runs as folder_of_runs
from harness.rng import streams
from harness.spec import Augment, Data, Spec, needed
from harness.store import KEPT, Store
from harness.study import Run, missing
from harness.study.measured import COMPILER, ENTRY, SPARE, Measured, Network, Say, calibrate, served
from harness.train import peak_memory

RECORD = 30_000, 600  # bytes of specification, journal and result, and of both for each epoch


@dataclass(frozen=True)
class Price:
    """What one run of a specification takes."""

    seconds: float
    seconds_by: str
    memory: float  # bytes at the peak
    memory_by: str
    weights: float  # bytes of the file that stays
    checkpoint: float  # bytes of one
    images_per_second: float | None = None  # of the network alone, in training
    decoded_per_second: float | None = None  # photos, by all processes that decode for a run
    bound: str | None = None


@dataclass
class Market:
    """Prices on this machine: `jobs` runs at once on `device`, `decoding` processes for the photos of each."""

    store: Store
    device: torch.device
    jobs: int
    decoding: int
    say: Say

    def __post_init__(self) -> None:
        self.base = 0.0  # bytes of a process and its data
        if self.device.type == "cpu":
            self.base = peak_memory(self.device) + (0.0 if "torch._dynamo" in sys.modules else COMPILER)
        self.networks: dict[Network, Measured] = {}
        self.paths: dict[tuple[Data, tuple[Augment, ...]], float] = {}

    def prices(self, specs: Iterable[Spec]) -> dict[str, Price]:
        """By id. What a machine of this kind has recorded is not measured again. On one thread, as runs are."""
        specs = list({spec.id: spec for spec in specs}.values())
        made = {spec.id: price for spec in specs if (price := self.recorded(spec))}
        new = [spec for spec in specs if spec.id not in made]
        networks = [network for spec in new for network in (Network.of(spec), *_teachers(spec))]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.networks = calibrate(networks, self.device, self.say)
            for spec in new:
                if (path := (spec.data, spec.augment)) not in self.paths:
                    self.paths[path] = served(*path, spec.batch_size, self.device)
        finally:
            torch.set_num_threads(threads)
        return made | {spec.id: self.estimated(spec) for spec in new}

    def recorded(self, spec: Spec) -> Price | None:
        """The mean of finished runs, at any seed; None where there is none of this kind of device."""
        records, weights = [], []
        for seed, record in self.store.finished(spec.id):
            with suppress(OSError):
                if record["status"] == "finished" and self._same(record["environment"].get("device")):
                    weights.append((self.store.folder(spec.id, seed) / "weights.pt").stat().st_size)
                    records.append(record)
        if not records:
            return None
        seconds = fmean(record["seconds"] for record in records)
        least = min(record.get("peak_memory") or 0 for record in records)  # on a CPU a process's, after whatever it ran
        file = fmean(weights)
        return Price(seconds, "records", least, "records", file, 2 * file + _traced(spec))

    def _same(self, kind: str | None) -> bool:
        return kind in (None, self.device.type)

    def estimated(self, spec: Spec) -> Price:
        own, images = self.networks[Network.of(spec)], spec.data.load()
        taught = [self.networks[network] for network in _teachers(spec)]
        train, test = images.counts["train"], images.counts.get("val", images.counts["test"])  # of each epoch
        steps = train // spec.batch_size
        here = Network.of(spec)
        image = own.trained(here.images) + sum(teacher.tested(here.images) for teacher in taught)
        seen = spec.evaluation.view(images) if spec.evaluation else images
        evaluated = tasks.of(spec).at_once(self.device.type, seen.tested)
        larger = area(seen.tested if spec.data.truth == "class" else seen.canvas) / area(here.size)  # a test image
        network = steps * (spec.batch_size * image + own.step) + test * larger * own.tested(evaluated)
        one = self.paths[spec.data, spec.augment]
        decoded = bound = None
        if isinstance(images, Photos | Scenes):
            serving = (steps * spec.batch_size + test) * one
            first = min(evaluated, test) * one  # of each evaluation, by one process, while nothing is fed
            cores = len(os.sched_getaffinity(0))
            busy = self.jobs * (serving + (network if self.device.type == "cpu" else 0.0)) / cores  # all want cores
            rest = (serving - first) / self.decoding
            begun = spec.batch_size * one  # those of later epochs are decoded ahead
            seconds = max(begun + spec.epochs * (first + max(network, rest)), spec.epochs * busy)
            bound = "network" if network >= first + rest else "decoding"
            decoded = min(self.decoding, cores / self.jobs) / one
        else:
            seconds = spec.epochs * (network + steps * spec.batch_size * one)
        pixels = 4 * here.channels * area(here.size)
        holding = max(own.kept * here.images, own.passing * evaluated * larger) + own.static
        holding += sum(t.weights + t.passing * here.images for t in taught) + 3 * spec.batch_size * pixels
        holding += (6 + 2 * spec.optimizer.buffers) * own.weights  # of an audited step: before, after, worked out anew
        holding += 4 * len(spec.average) * own.weights  # the average, and its audited step
        arrays = getattr(images, "arrays", {}) if self.device.type == "cuda" else {}
        holding += sum(array.nbytes for pair in arrays.values() for array in pair)
        measured = self.device.type == "cuda" and own.images == here.images and not taught
        return Price(
            seconds,
            own.by,
            self.base + (holding + _traced(spec)) * (SPARE if self.device.type == "cpu" else 1.0),
            "measured" if measured else "estimated",
            own.weights,
            (1 + spec.optimizer.buffers + len(spec.stop) + len(spec.average)) * own.weights + _traced(spec),
            1 / image,
            decoded,
            bound,
        )


def _teachers(spec: Spec) -> list[Network]:
    """The networks that `spec` asks for answers to its own passes."""
    own = Network.of(spec)
    return [replace(Network.of(part.spec), precision=own.precision, images=own.images) for part in spec.teacher]


def _traced(spec: Spec) -> float:
    """Bytes that a run keeps for its evidence, in memory and in each checkpoint; see `evidence.Trace` and teachers."""
    images = spec.data.load()
    batch, classes, size = spec.batch_size, len(images.classes), math.isqrt(area(sides(spec)))
    total = spec.epochs * (images.counts["train"] // spec.batch_size)
    side = len(range(0, size, max(1, size // evidence.KEPT_PIXELS)))
    told = 4 * classes if tasks.of(spec).brief else 8 * side**2
    fed = min(total, evidence.KEPT_BATCHES) * batch * (8 + told * (1 + len(spec.mix)))
    kept = min(total, evidence.KEPT_IMAGES)
    pictures = kept * (1 + max(1, len(spec.mix))) * 4 * batch * images.channels * side**2
    logits = kept * (4 * batch * classes + 2 * ENTRY) * tasks.of(spec).brief
    answers = len(spec.teacher) * 4 * batch * classes
    asked = len(spec.teacher) * 4 * min(batch, 32) * images.channels * size**2
    audits = 120 * len(evidence.audited(streams(0), total, images.counts["train"] // batch)) + 100 * spec.epochs
    plain = 8 * total + 4.25 * images.counts["test"] + 200 * spec.epochs + kept_bytes(spec)
    return float(fed + pictures + logits + answers + asked + audits + plain)


def estimate(asked: Sequence[Run], store: Store, places: Sequence[str], decoding: int, say: Say) -> dict[str, Any]:
    """What the missing of `asked` take with one process a place, JSON-ready.

    `cost` has the price of one run of each specification that is missing, by id. `device_seconds` is the sum over runs;
    `seconds` how long the user waits. Of the disk `stays` is what finished runs leave, `in_flight` the checkpoints of
    those at once.
    """
    todo = missing(asked, store)
    jobs = max(1, min(len(places), len(todo)))
    device = torch.device(places[0])
    prices = Market(store, device, jobs, decoding, say).prices(spec for spec, _ in todo) if todo else {}
    waits = {key: price.seconds for key, price in prices.items()}
    chain = {spec.id: waits[spec.id] for spec, _ in todo}
    for spec, seed in todo:  # upstream runs come first
        before = [chain[u.id] for u, own in needed(spec, seed) if u.id in chain and (u.id, own) not in store]
        chain[spec.id] = max(chain[spec.id], waits[spec.id] + max(before, default=0.0))
    total = sum(waits[spec.id] for spec, _ in todo)
    stays = sum(prices[spec.id].weights + recorded_bytes(spec) for spec, _ in todo)
    largest = sorted((prices[spec.id].checkpoint for spec, _ in todo), reverse=True)[:jobs]
    folder = folder_of_runs()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    in_flight = (KEPT + 1) * sum(largest)  # the next is written before the last but one goes
    return {
        "seconds": max([total / jobs, *chain.values()], default=0.0),
        "device_seconds": total,
        "device": device.type,
        "jobs": len(places),
        "cost": {spec.id: vars(prices[spec.id]) | _size(spec) for spec, _ in todo},
        "memory": _memory(prices, [spec.id for spec, _ in todo], device, places),
        "disk": {"stays": stays, "in_flight": in_flight, "free": free, "folder": str(folder)},
    }


def _size(spec: Spec) -> dict[str, float]:
    params, macs = Network.of(spec).cost()
    return {"params": params, "gmacs": macs / 1e9}


def recorded_bytes(spec: Spec) -> float:
    images: Images = spec.data.load()
    return RECORD[0] + RECORD[1] * spec.epochs + images.counts["test"] / 4 + kept_bytes(spec)


def kept_bytes(spec: Spec) -> int:
    """Of what a run keeps of its test images in a file of their own, before compression."""
    images: Images = spec.data.load()
    size: int = tasks.of(spec).keeps(images.counts["test"], len(images.classes))[0]
    return size


def _memory(
    prices: dict[str, Price], todo: Sequence[str], device: torch.device, places: Sequence[str]
) -> dict[str, Any]:
    """Bytes on the fullest device at once, and what it has."""
    at_once = max(places.count(place) for place in places)
    peaks = sorted((prices[key].memory for key in todo), reverse=True)[:at_once]
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"at_once": sum(peaks), "runs": len(peaks), "there": there}
