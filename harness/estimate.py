"""What a plan will cost, before it is run: time, memory and disk of what is missing, on this machine.

Records of the same specification, at any seed, say it best. Where there is none, each network takes a few training
steps on noise, the data path serves a few batches, and an epoch is put together from that: batches and tests, the
teacher's forward too. On CUDA memory is the allocator's peak in those steps. On a CPU it is estimated: this process,
weights with gradients and momentum, and what autograd keeps, counted at a few images and scaled to a pass.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor, nn

from harness import Problem, evidence, one_line, stats
from harness.engine.progress import clock
from harness.parts.data import Images, Photos
from harness.parts.models import cost
from harness.paths import runs as folder_of_runs
from harness.rng import streams
from harness.spec import UPSTREAM_SEED, Augment, Data, Model, Precision, Spec, upstream
from harness.store import KEPT, Store, is_seed
from harness.study import Run, missing
from harness.train import EVAL_BATCH, peak_memory, placed

MANY = 24  # rungs: beyond, the plan is a line each
BUDGET = 10.0  # seconds of timed passes: with building and describing the networks, some 20 on a slow CPU
LEAST = 0.06  # seconds of timed steps of a network
SLOW = 1e10  # multiply-adds a second, of a slow core: what may take it a second is said beforehand
LARGE = 5_000_000  # parameters: an optimizer's steps on fewer are next to nothing, and its making imports a compiler
SPARE = 1.25  # on a CPU: the allocator, oneDNN's scratch and what else showed beside tensors when runs were watched
COMPILER = 180e6  # bytes of it in memory, as seen with torch 2.14
ENTRY = 330  # bytes of a file of tensors beside each tensor's own
RECORD = 30_000, 600  # bytes of specification, journal and result, and of both for each epoch

SCALING = "train", "test", "kept", "passing"  # of `Measured`: with multiply-adds

Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """What the cost of a pass depends on."""

    model: Model
    precision: Precision
    channels: int
    classes: int
    size: int  # px
    images: int  # a pass
    spec: Spec = field(compare=False, repr=False)  # one that has it

    @classmethod
    def of(cls, spec: Spec) -> "Network":
        images, passed = spec.data.load(), spec.microbatch or spec.batch_size
        return cls(spec.model, spec.precision, images.channels, len(images.classes), images.size, passed, spec)

    def cost(self) -> tuple[int, int]:
        return cost(self.model, self.channels, self.classes, self.size)


@dataclass(frozen=True)
class Measured:
    """A network on this machine."""

    images: int  # at once, in the timed steps
    train: float  # seconds that one image more takes, forward and backward
    test: float  # the same, forward
    once: float  # seconds a pass, forward and backward, whatever its images: FP16's rounding of the weights, say
    step: float  # seconds of the optimizer
    weights: float  # bytes of the file
    static: float  # bytes of weights, gradients and the optimizer's state
    kept: float  # bytes an image, from forward to backward
    passing: float  # bytes an image, of a forward alone
    by: str  # how the time is known

    def trained(self, images: int) -> float:
        """Seconds an image, forward and backward, in passes of `images`."""
        return self.train + self.once / images

    def tested(self, images: int) -> float:
        """Seconds an image, forward, in passes of `images`: of what a pass takes once, it has its share."""
        return self.test / self.train * self.trained(images)


def measure(network: Network, device: torch.device, share: float = BUDGET) -> Measured:
    """Steps on noise: on CUDA of a whole pass, or of a half, and so on, where that does not fit; on a CPU of two images
    and of as many as `share` seconds have time for, six at least: what a pass takes once is told from an image's."""
    images = network.images
    while device.type == "cuda" and images > 1:
        try:
            return _measured(network, device, images, share)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            images //= 2
    return _measured(network, device, min(images, 2), share)


def _measured(network: Network, device: torch.device, images: int, share: float) -> Measured:
    cuda, spec = device.type == "cuda", network.spec
    empty = torch.cuda.memory_allocated(device) if cuda else 0
    model = placed(network.model.build(network.channels, network.classes), device)
    runner = network.precision.on(device)
    params = sum(p.numel() for p in model.parameters())
    optimizer = spec.optimizer.build(spec.decay.groups(model), spec.batch_size) if cuda or params >= LARGE else None
    for group in optimizer.param_groups if optimizer else ():
        group["lr"] = 0.0

    def now() -> float:
        if cuda:
            torch.cuda.synchronize(device)
        return time.monotonic()

    def noise(n: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, network.channels, network.size, network.size, device=device)
        y = torch.full((n, network.classes), 1 / network.classes, device=device)
        return x.contiguous(memory_format=torch.channels_last), y

    def step(x: Tensor, y: Tensor) -> tuple[float, float]:
        began = now()
        with runner.forward():
            loss = nn.functional.cross_entropy(model(x).float(), y)
        runner.backward(loss)
        passed = now()
        if optimizer:
            runner.step(optimizer)
        return passed - began, now() - passed

    @torch.no_grad()
    def test(x: Tensor) -> float:
        began = now()
        with runner.forward():
            model(x)
        return now() - began

    x, y = noise(images)
    saved = Saved(model)
    with saved:
        took = [step(x, y)]  # the first: caches are cold, memory is new
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    passing = 3 * max(saved.scaling.values(), default=0) / images  # what comes, what goes, and one between
    kept = sum(saved.scaling.values()) / images + passing
    few, took = (x, y), [step(x, y)]
    fewer = [took[0][0]]  # seconds of passes of `few`
    began, train, once = now() - sum(took[0]), took[0][0] / images, 0.0
    slot = min(share / 2, 2.0)
    while not cuda and images < network.images:
        more = min(network.images, 3 * images)
        if images > len(few[0]) and now() - began + once + more * train > slot:
            break
        images, (x, y) = more, noise(more)
        took = [step(x, y)]
        train, once = _line(len(few[0]), fewer[0], images, took[0][0])
    while sum(map(sum, took)) < LEAST:
        took.append(step(x, y))
        if images > len(few[0]):
            fewer.append(step(*few)[0])
    tensors = [*model.parameters(), *model.buffers()]
    held = sum(t.numel() * t.element_size() for t in tensors)
    static = held + 8.0 * params + sum(saved.fixed.values())
    if cuda:
        peak = torch.cuda.max_memory_allocated(device) - empty
        kept = max(0.0, peak - static) / images
    model.eval()
    test(x[: min(images, 2)])
    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    forward = test(x)
    if cuda:
        passing = (torch.cuda.max_memory_allocated(device) - before) / images
    by = "timed steps" if images == network.images else f"steps of {images}"
    passed, optimizing = (median(times) for times in zip(*took, strict=True))
    train, once = _line(len(few[0]), median(fewer), images, passed)
    weights = held + ENTRY * len(tensors)
    return Measured(images, train, train * forward / passed, once, optimizing, weights, static, kept, passing, by)


def _line(few: int, short: float, many: int, long: float) -> tuple[float, float]:
    """Seconds an image and seconds a pass, of passes of `few` and of `many` that took `short` and `long` seconds."""
    train = long / many  # at most: a pass takes nothing once
    if many > few and long > short:  # not longer only by chance
        train = min(train, (long - short) / (many - few))
    return train, long - many * train


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Within it, counts the bytes that autograd keeps for backward, each storage once, the weights themselves not."""

    def __init__(self, model: nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        own = {t.untyped_storage().data_ptr() for t in tensors}
        shapes = {shape for t in tensors for shape in (t.shape, t.shape[::-1])}
        self.scaling: dict[int, int] = {}  # of activations, by address
        self.fixed: dict[int, int] = {}  # of tensors shaped as a weight is: rounded weights, a batch norm's statistics

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()  # kept until backward: no other gets its address meanwhile
            if storage.data_ptr() not in own:
                (self.fixed if tensor.shape in shapes else self.scaling)[storage.data_ptr()] = storage.nbytes()
            return tensor

        super().__init__(pack, lambda tensor: tensor)


def calibrate(networks: Iterable[Network], device: torch.device, say: Say, budget: float = BUDGET) -> dict[Any, Any]:
    """`{network: Measured}`, small ones first, all in about `budget` seconds beside building them.

    One that is too slow for that on a CPU is taken from what was timed of its own model at another size, else timed at
    a half or a quarter of its own, else taken from the one most like it: by multiply-adds, memory too.
    """
    began, made = time.monotonic(), dict[Network, Measured]()
    todo = sorted(dict.fromkeys(networks), key=lambda network: network.cost()[1])
    timed: list[Network] = []
    for i, network in enumerate(todo):
        share = max(0.0, budget - (time.monotonic() - began)) / (len(todo) - i)
        like = min(timed, key=partial(_apart, network), default=None)
        pace = made[like].train / (3 * like.cost()[1]) if like else 1 / SLOW  # seconds a multiply-add
        needed = 38 * network.cost()[1] * pace  # of steps of two, two and six images, and tests of two and six
        fixed = 4 * (made[like].once + made[like].step) if like else 0.0
        sizes = [network.size // n for n in (1, 2, 4) if device.type == "cuda" or fixed + needed / n**2 <= share]
        if like and (not sizes or (sizes[0] < network.size and not any(_apart(network, like)[:2]))):
            made[network] = _scaled(made[like], like, network)
            continue
        if needed > 1 or time.monotonic() - began > 2:
            name = f"{one_line(repr(network.model))} at {network.size} px, {type(network.precision).__name__}"
            say(f"timing {name} ({i + 1} of {len(todo)})")
        made[network] = _shrunk(network, sizes[0] if sizes else network.size // 4, device, share)
        timed.append(network)
    return made


def _shrunk(network: Network, size: int, device: torch.device, share: float) -> Measured:
    """Measured at `size` px, an image scaled by area, as multiply-adds are; at its own size where it takes no other."""
    if size < network.size:
        with suppress(RuntimeError, AssertionError):  # smaller than its kernels, or other than the one size it takes
            small = measure(replace(network, size=size), device, share)
            area = {name: getattr(small, name) * (network.size / size) ** 2 for name in SCALING}
            return replace(small, by=f"steps of {small.images} at {size} px", **area)
    return measure(network, device, share)


def _apart(one: Network, other: Network) -> tuple[bool, bool, float]:
    """How little another network tells of one: by its model, its precision, its size."""
    far = abs(math.log(one.cost()[1] / other.cost()[1]))
    return one.model != other.model, one.precision != other.precision, far


def _scaled(known: Measured, like: Network, network: Network) -> Measured:
    weights, work = (a / b for a, b in zip(network.cost(), like.cost(), strict=True))
    by_weights = {name: getattr(known, name) * weights for name in ("once", "step", "weights", "static")}
    by_work = {name: getattr(known, name) * work for name in SCALING}
    return replace(known, by="multiply-adds", **by_weights, **by_work)


def served(data: Data, augment: tuple[Augment, ...], batch_size: int, device: torch.device) -> float:
    """Seconds an image to decode, cut and augment, by one process."""
    images = data.load()
    batch: int = max(1, min(batch_size, 16, images.counts["train"] // 3))
    with closing(images.train(0, batch, augment, streams(0), device)) as batches:
        taken: list[float] = []
        for _ in islice(batches, 3):  # the first waits for the process to start
            taken.append(time.monotonic())
    return (taken[-1] - taken[0]) / max(1, len(taken) - 1) / batch


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
        folder = self.store.root / spec.id
        for name in filter(is_seed, os.listdir(folder) if folder.is_dir() else ()):
            with suppress(Problem, OSError):
                record = self.store.read(spec.id, int(name)) if (spec.id, int(name)) in self.store else {}
                if record.get("status") == "finished" and self._same(record["environment"].get("device")):
                    weights.append((folder / name / "weights.pt").stat().st_size)
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
        evaluated = EVAL_BATCH.get(self.device.type, 512)
        image = own.trained(here.images) + sum(teacher.tested(here.images) for teacher in taught)
        network = steps * (spec.batch_size * image + own.step) + test * own.tested(evaluated)
        one = self.paths[spec.data, spec.augment]
        decoded = bound = None
        if isinstance(images, Photos):
            serving = (steps * spec.batch_size + test) * one
            first = (spec.batch_size + min(evaluated, test)) * one  # of each pass, by one process, while nothing is fed
            cores = len(os.sched_getaffinity(0))
            busy = self.jobs * (serving + (network if self.device.type == "cpu" else 0.0)) / cores  # all want cores
            rest = (serving - first) / self.decoding
            seconds = max(first + max(network, rest), busy)
            bound = "network" if network >= first + rest else "decoding"
            decoded = min(self.decoding, cores / self.jobs) / one
        else:
            seconds = network + steps * spec.batch_size * one
        pixels = 4 * here.channels * here.size**2
        holding = max(own.kept * here.images, own.passing * evaluated) + own.static
        holding += sum(t.weights + t.passing * here.images for t in taught) + 3 * spec.batch_size * pixels
        holding += (6 + 2 * spec.optimizer.buffers) * own.weights  # of an audited step: before, after, worked out anew
        arrays = getattr(images, "arrays", {}) if self.device.type == "cuda" else {}
        holding += sum(array.nbytes for pair in arrays.values() for array in pair)
        measured = self.device.type == "cuda" and own.images == here.images and not taught
        return Price(
            spec.epochs * seconds,
            own.by,
            self.base + (holding + _traced(spec)) * (SPARE if self.device.type == "cpu" else 1.0),
            "measured" if measured else "estimated",
            own.weights,
            (1 + spec.optimizer.buffers + len(spec.stop)) * own.weights + _traced(spec),
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
    batch, classes, size = spec.batch_size, len(images.classes), images.size
    total = spec.epochs * (images.counts["train"] // spec.batch_size)
    side = len(range(0, size, max(1, size // evidence.KEPT_PIXELS)))
    fed = min(total, evidence.KEPT_BATCHES) * batch * (8 + 4 * classes * (2 if spec.mix else 1))
    pictures = min(total, evidence.KEPT_IMAGES) * 2 * 4 * batch * images.channels * side**2
    answers = len(spec.teacher) * 4 * batch * classes
    asked = len(spec.teacher) * 4 * min(batch, 32) * images.channels * size**2
    audits = 120 * len(evidence.audited(streams(0), total, images.counts["train"] // batch)) + 100 * spec.epochs
    plain = 8 * total + 4.25 * images.counts["test"] + 200 * spec.epochs
    return float(fed + pictures + answers + asked + audits + plain)


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
    for spec, _ in todo:  # upstream runs come first
        before = [chain[u.id] for u in upstream(spec) if u.id in chain and (u.id, UPSTREAM_SEED) not in store]
        chain[spec.id] = waits[spec.id] + max(before, default=0.0)
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
    return RECORD[0] + RECORD[1] * spec.epochs + images.counts["test"] / 4


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


def as_text(described: dict[str, Any]) -> str:
    """The plan for a reader: what differs from what each rung is held to, a table of costs, the totals."""
    lines, runs, specs = [], described["runs"], described["specs"]
    if len(described["rungs"]) <= MANY:
        wide = max(len(_short(rung["title"])) for rung in described["rungs"])
        for rung in described["rungs"]:
            titles = [_short(rung["title"]), *[""] * len(rung["changes"])]
            changes = [f"{path}: {_value(old)} → {_value(new)}" for path, (old, new) in rung["changes"].items()]
            lines += [f"{title:{wide}}  {change}" for title, change in zip(titles, changes, strict=False)]
        lines.append("")
    lines += _table(described)
    lines.append("")
    if described["generators"]:
        lines += aliased(described)
    lines.append(f"{described['design']}: {specs['asked']} specifications asked for, {specs['new']} new")
    lines.append(f"{runs['asked']} runs asked for, {runs['missing']} missing{_time(described)}")
    return "\n".join([*lines, *_notes(described)])


def _table(described: dict[str, Any]) -> list[str]:
    unit = "GPU" if described["device"] == "cuda" else "core"
    rows = [["", "specification", "parameters", "GFLOPs", "missing", "a run", f"{unit}-hours", "memory", "time from"]]
    upstreams: dict[str, dict[str, Any]] = {}
    for inner in described["upstream"]:
        upstreams.setdefault(inner["id"], {**inner, "title": f"upstream of {inner['of']}", "seeds": [UPSTREAM_SEED]})
    for row in (*described["rungs"], *upstreams.values()):
        cost = described["cost"].get(row["id"], {}) if row["missing"] else {}
        known = cost | row
        size = [f"{known['params']:,}", f"{known['gmacs']:.3g}"] if "params" in known else ["", ""]
        runs = f"{row['missing']:d} of {len(row['seeds'])}"
        rows.append([_short(row["title"]), row["id"], *size, runs, *_costs(cost, row["missing"])])
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (0, 1, len(wide) - 1)
    return [
        "  ".join(f"{cell:{'<' if i in left else '>'}{wide[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows
    ]


def _costs(cost: dict[str, Any], lacking: int) -> list[str]:
    if not cost:
        return ["–", "–", "–", ""]
    memory = f"{'~' if cost['memory_by'] == 'estimated' else ''}{amount(cost['memory'])}"
    return [span(cost["seconds"]), hours(lacking * cost["seconds"]), memory, cost["seconds_by"]]


def _time(described: dict[str, Any]) -> str:
    if not described["runs"]["missing"]:
        return ""
    what = "GPU-hours" if described["device"] == "cuda" else "core-hours"
    many = "process" if described["jobs"] == 1 else "processes"
    wait = f"{span(described['seconds'])} in {described['jobs']} {many}"
    return f": {hours(described['device_seconds'])} {what}, about {wait}"


def _notes(described: dict[str, Any]) -> list[str]:
    """What else there is to know, and what will not do."""
    if not described["runs"]["missing"]:
        return []
    titles = {rung["id"]: rung["title"] for rung in described["rungs"]}
    costs, disk, memory = described["cost"], described["disk"], described["memory"]
    lines = []
    decoded = sorted(cost["decoded_per_second"] for cost in costs.values() if cost["decoded_per_second"])
    if decoded:
        slow = [titles.get(key, "an upstream run") for key, cost in costs.items() if cost["bound"] == "decoding"]
        which = "everywhere" if len(slow) == len(costs) else f"for {', '.join(slow)}" if slow else "nowhere"
        lines.append(f"decoding: {decoded[0]:.3g} images/s a run; slower than the network {which}")
    if any(cost["memory_by"] == "estimated" for cost in costs.values()):
        lines.append("memory: ~ is estimated, from what a few images take")
    if any(cost["seconds_by"] == "multiply-adds" for cost in costs.values()):
        lines.append("time from multiply-adds: too slow to try here, taken from the network most like it")
    need = disk["stays"] + disk["in_flight"]
    lines.append(
        f"disk: {amount(disk['stays'])} stay, {amount(disk['in_flight'])} of checkpoints meanwhile; "
        f"{amount(disk['free'])} are free for {disk['folder']}"
    )
    if need > disk["free"]:
        short = amount(need - disk["free"])
        lines.append(f"WARNING: the disk is {short} short: free some, or set HARNESS_RUNS to a folder of another")
    if memory["at_once"] > memory["there"]:
        many = f"{memory['runs']} runs at once need" if memory["runs"] > 1 else "a run needs"
        advice = "--jobs fewer, or " if memory["runs"] > 1 else ""
        lines.append(
            f"WARNING: {many} {amount(memory['at_once'])} of memory, and {amount(memory['there'])} are there: "
            f"{advice}--set microbatch=N"
        )
    return lines


def amount(size: float) -> str:
    """Bytes as 850 kB, 12 MB, 3.4 GB."""
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= 0.9995 * of:
            return f"{size / of:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f}" if seconds > 36_000 else f"{seconds / 3600:.2g}"


def span(seconds: float) -> str:
    """0:09, 2:03:04, from ten hours on 31 h, and from a week on 12 days."""
    if seconds < 36_000:
        return clock(seconds)
    return f"{seconds / 3600:.0f} h" if seconds < 7 * 86_400 else f"{seconds / 86_400:,.0f} days"


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


def _short(title: str) -> str:
    return one_line(title, 44)


def _value(value: Any) -> str:
    return "–" if value is None else one_line(str(value), 200)
