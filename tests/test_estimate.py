"""What a plan is said to cost, against hand arithmetic and against runs that were made."""

import os
from types import SimpleNamespace

import pytest
import torch
from harness.estimate import Market, Measured, Network, Price, Saved, amount, calibrate, span
from torch import nn

from harness import estimate
from harness.engine import execute
from harness.parts.data import Photos
from harness.parts.precision import FP32, Runner
from harness.spec import Data, stack
from harness.store import Claim, Store
from harness.study import describe, plan
from harness.tricks.fp16 import FP16
from tests.kit.tiny import BASELINE, RESULT, STUDY, finish

CPU = torch.device("cpu")
KNOWN = Measured(
    images=4,
    train=0.01,
    test=0.002,
    once=0.0,
    step=0.5,
    weights=1e6,
    static=3e6,
    kept=2e5,
    passing=5e4,
    by="timed steps",
)


class Shots(Data):
    """Photos that nobody decodes."""

    @property
    def channels(self):
        return 3

    def load(self):
        return Photos(("a", "b"), 3, 96, {"train": 100, "test": 40}, "0" * 16, (0.0,) * 3, (1.0,) * 3)


def quiet(text):
    raise AssertionError(text)


def market(store, **changes):
    given = {"store": store, "device": CPU, "jobs": 1, "decoding": 1, "say": quiet} | changes
    return Market(**given)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize("precision", [FP32(), FP16()], ids=["FP32", "FP16"])
@pytest.mark.parametrize("images", [2, 5])
def test_bytes_that_autograd_keeps_of_a_net_counted_by_hand(precision, images):
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    saved = Saved(net)
    with saved, precision.on(CPU).forward():
        net(torch.randn(images, 8)).sum()
    assert sum(saved.scaling.values()) == 4 * images * (8 + 16), (
        "the input, and the ReLU's output, which two layers keep"
    )
    rounded = 4 * 4 * 16 if isinstance(precision, FP16) else 0
    assert sum(saved.fixed.values()) == rounded, "the second layer's rounded weights; the first passes no gradient on"


def test_an_epoch_is_put_together_from_its_parts(store):
    rung = stack(BASELINE.but(microbatch=32), STUDY.tricks)
    here = market(store)
    teacher = Network.of(rung.teacher[0].spec)
    here.networks = {Network.of(rung): KNOWN, teacher: estimate.replace(KNOWN, test=0.03)}
    here.paths = {(rung.data, rung.augment): 0.001}
    price = here.estimated(rung)
    steps, batch, test = 597 // 128, 128, 1200
    epoch = steps * (batch * (0.01 + 0.03 + 0.001) + 0.5) + test * 0.002
    assert rung.epochs == 3
    assert price.seconds == pytest.approx(3 * epoch)
    assert price.images_per_second == pytest.approx(25)
    here.networks[Network.of(rung)] = estimate.replace(KNOWN, once=0.4)  # of tests a fifth, as of an image
    more = steps * batch / 32 * 0.4 + test / 64 * 0.4 / 5
    assert here.estimated(rung).seconds == pytest.approx(3 * (epoch + more))
    bare = here.base + estimate.SPARE * (3e6 + 1e6)  # own, and the teacher's weights
    assert bare < price.memory < bare + estimate.SPARE * 32 * 9e5


@pytest.mark.parametrize(
    ("serving", "decoding", "jobs", "bound", "epoch"),
    [
        (0.001, 1, 1, "network", (25 + 40) * 0.001 + 4 * 0.5 + 100 * 0.01 + 40 * 0.002),  # fed once batches are there
        (0.1, 1, 1, "decoding", 14.0),
        (0.1, 2, 1, "decoding", 6.5 + 7.5 / 2),  # by one process each, the first batches
        (0.1, 4, 4, "decoding", 4 * (14 + 3.08) / 4),  # 20 processes on four cores
        (0.01, 1, 8, "network", 8 * (1.4 + 3.08) / 4),  # 16 processes on 4 cores
    ],
)
def test_photos_take_as_long_as_what_is_slower(store, monkeypatch, serving, decoding, jobs, bound, epoch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    spec = BASELINE.but(data=Shots(), batch_size=25, epochs=2)
    here = market(store, decoding=decoding, jobs=jobs)
    here.networks, here.paths = {Network.of(spec): KNOWN}, {(spec.data, spec.augment): serving}
    price = here.estimated(spec)
    assert price.bound == bound
    assert price.seconds == pytest.approx(2 * epoch)


def test_checkpoint_weights_and_memory_of_runs_that_were_made(store, monkeypatch):
    rung = stack(BASELINE, STUDY.tricks)
    teacher = rung.teacher[0].spec
    prices = market(store).prices([rung, teacher])
    sizes, keep = {}, Claim.keep

    def kept(claim, state, by):
        keep(claim, state, by)
        sizes.setdefault(claim.spec_id, []).extend(p.stat().st_size for p in claim.folder.glob("checkpoint-*.pt"))

    monkeypatch.setattr(Claim, "keep", kept)
    for spec in (teacher, rung):
        execute(spec, 0, store, CPU, every=0)
        price, folder, record = prices[spec.id], store.folder(spec.id, 0), store.read(spec.id, 0)
        assert price.checkpoint == pytest.approx(max(sizes[spec.id]), rel=0.05)
        assert price.weights == pytest.approx((folder / "weights.pt").stat().st_size, rel=0.05)
        others = sum(p.stat().st_size for p in folder.iterdir() if p.name != "weights.pt")
        assert others / 4 < estimate.recorded_bytes(spec) < 4 * others
        assert price.memory / 2 < record["peak_memory"], "a process that ran other tests may have needed more"


def test_records_of_any_seed_are_believed_before_a_measurement(store, monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda *args: KNOWN)
    elsewhere = RESULT | {"environment": {"device": "cuda"}, "seconds": 1e6}
    for seed, result in (
        (7, RESULT | {"seconds": 90.0, "peak_memory": None}),
        (8, RESULT | {"seconds": 110.0}),
        (9, elsewhere),
    ):
        finish(store, BASELINE.id, seed, result)
    price = market(store).prices([BASELINE])[BASELINE.id]
    assert (price.seconds, price.seconds_by) == (100.0, "records")
    other = BASELINE.but(epochs=3)
    finish(store, other.id, 0, elsewhere)
    assert market(store).prices([other])[other.id].seconds_by == "timed steps", "a GPU's record tells nothing of a CPU"


@pytest.mark.parametrize("share", [0.01, 10.0])
@pytest.mark.parametrize("size", [96, 48, 24])
def test_what_a_pass_takes_once_is_told_from_what_an_image_takes(monkeypatch, size, share):
    """By a clock that stands still but for a + b n seconds a pass, b as the area, a third of it forward."""
    a, b, clock, cold, passes = 0.3, 0.02, [0.0], {True: 50.0, False: 50.0}, []

    def work(x, part):
        clock[0] += part * (a + b * len(x) * (x.shape[-1] / 96) ** 2)

    class Net(nn.Linear):
        def forward(self, x):
            clock[0] += cold.pop(self.training, 0.0)
            work(x, 1 / 3)
            passes.append(x)
            return super().forward(x.mean((2, 3)))

    class Timed(Runner):
        def backward(self, loss):
            work(passes[-1], 2 / 3)

    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    model, precision = SimpleNamespace(build=Net), SimpleNamespace(on=lambda device: Timed())
    network = Network(model, precision, channels=3, classes=2, size=96, images=256, spec=BASELINE)
    made = estimate._shrunk(network, size, CPU, share)
    assert 256 * made.trained(256) == pytest.approx(a + 256 * b)
    assert 64 * made.tested(64) == pytest.approx((a + 64 * b) / 3)
    assert clock[0] < 100 + 2 * max(share, 3 * (a + 6 * b)), "what is cold, and about its share"


def test_what_is_too_slow_is_timed_smaller_or_taken_from_its_like(monkeypatch):
    timed = []

    def measure(network, device, share):
        timed.append((network.spec.model, network.size))
        return KNOWN

    monkeypatch.setattr(estimate, "measure", measure)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: 0.0))
    small, large = (Network.of(BASELINE.but(data=Shots(), model=BASELINE.model.but(width=w))) for w in (4, 32))
    pace = KNOWN.train / (3 * small.cost()[1])
    needed, fixed = 38 * large.cost()[1] * pace, 4 * KNOWN.step
    made = calibrate([large, small], CPU, lambda text: None, budget=fixed + needed / 3)
    assert timed == [(small.model, 96), (large.model, 48)]
    assert made[large].train == 4 * KNOWN.train
    assert made[large].static == KNOWN.static
    assert made[large].by == "steps of 4 at 48 px"
    timed.clear()
    made = calibrate([large, small], CPU, lambda text: None, budget=fixed + needed / 100)
    assert timed == [(small.model, 96)]
    assert made[large].train == pytest.approx(KNOWN.train * large.cost()[1] / small.cost()[1])
    assert made[large].weights == pytest.approx(KNOWN.weights * large.cost()[0] / small.cost()[0])
    assert made[large].by == "multiply-adds"


PRICE = Price(100.0, "timed steps", 3e9, "estimated", 5e6, 2e7)


@pytest.fixture
def priced(store, monkeypatch):
    """A plan whose every run costs 100 s, 3 GB, 5 MB of weights, and 20 MB a checkpoint."""
    monkeypatch.setattr(Market, "prices", lambda self, specs: {spec.id: PRICE for spec in specs})
    made = plan(STUDY)
    asked = made.runs()

    def run(places, free=10**12, there=10**12):
        monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        monkeypatch.setattr(os, "sysconf", lambda name: there if name == "SC_PHYS_PAGES" else 1)
        return describe(made, store) | estimate.estimate(asked, store, places, 1, quiet)

    return run


def test_totals_by_hand(priced):
    told = priced(["cpu"] * 3)
    assert told["runs"] == {"asked": 9, "missing": 9}
    assert told["device_seconds"] == 900
    assert told["seconds"] == 300
    assert told["memory"]["at_once"] == 9e9
    assert told["disk"]["in_flight"] == 3 * 3 * 2e7, "two checkpoints a run, and the next while it is written"
    assert told["disk"]["stays"] == pytest.approx(9 * 5e6, rel=0.02)
    assert priced(["cpu"] * 9)["seconds"] == 200, "a student waits for its teacher"


def test_the_text_ends_in_totals_and_warns(priced):
    text = estimate.as_text(priced(["cpu"] * 3))
    lines = text.splitlines()
    assert "9 runs asked for, 9 missing: 0.25 core-hours, about 5:00 in 3 processes" in lines
    assert sum("upstream of distillation" in line for line in lines) == 1
    teacher = next(line for line in lines if line.startswith("upstream of"))
    assert teacher.split()[-9:] == ["1", "of", "1", "1:40", "0.028", "~3", "GB", "timed", "steps"]
    assert "WARNING" not in text
    short = estimate.as_text(priced(["cpu"] * 3, free=10**8, there=5 * 10**9))
    assert "WARNING: the disk is 125 MB short" in short
    assert "WARNING: 3 runs at once need 9 GB of memory, and 5 GB are there" in short


def test_nothing_missing_costs_nothing(priced, store):
    for spec, seed in plan(STUDY).runs():
        finish(store, spec.id, seed, RESULT)
    told = priced(["cpu"])
    assert told["seconds"] == told["device_seconds"] == 0
    assert "0 missing" in estimate.as_text(told).splitlines()[-1]


@pytest.mark.parametrize(
    ("size", "text"), [(900, "0.9 kB"), (999_960, "1 MB"), (850e3, "850 kB"), (12.34e9, "12.3 GB"), (2e12, "2 TB")]
)
def test_amounts(size, text):
    assert amount(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(9, "0:09"), (7384, "2:03:04"), (111_600, "31 h"), (1_036_800, "12 days")]
)
def test_spans(seconds, text):
    assert span(seconds) == text
