import os
from dataclasses import replace

import pytest

from harness.engine import execute
from harness.spec import stack
from harness.store import Claim
from harness.study import plan
from harness.study.costs import Market, recorded_bytes
from harness.study.measured import SPARE, Network
from harness.study.shown import as_text
from harness.tricks.ema import ema
from harness.tricks.evaluation_size import evaluation_size
from tests.kit.prices import CPU, KNOWN, Shots, quiet
from tests.kit.tiny import BASELINE, RESULT, STUDY, finish


def market(store, **changes):
    given = {"store": store, "device": CPU, "jobs": 1, "decoding": 1, "say": quiet} | changes
    return Market(**given)


def test_an_epoch_is_put_together_from_its_parts(store):
    rung = stack(BASELINE.but(microbatch=32), STUDY.tricks)
    here = market(store)
    teacher = Network.of(rung.teacher[0].spec)
    here.networks = {Network.of(rung): KNOWN, teacher: replace(KNOWN, test=0.03)}
    here.paths = {(rung.data, rung.augment): 0.001}
    price = here.estimated(rung)
    steps, batch, test = 597 // 128, 128, 300
    epoch = steps * (batch * (0.01 + 0.03 + 0.001) + 0.5) + test * 0.002
    assert rung.epochs == 3
    assert price.seconds == pytest.approx(3 * epoch)
    assert price.images_per_second == pytest.approx(25)
    here.networks[Network.of(rung)] = replace(KNOWN, once=0.4)  # of tests a fifth, as of an image
    more = steps * batch / 32 * 0.4 + test / 128 * 0.4 / 5
    assert here.estimated(rung).seconds == pytest.approx(3 * (epoch + more))
    bare = here.base + SPARE * (3e6 + 1e6)  # own, and the teacher's weights
    assert bare < price.memory < bare + SPARE * 32 * 9e5


def test_an_average_takes_memory_and_disk_and_larger_test_images_take_time(store):
    """Four times the weights in memory and once on disk; images of twice the side take four times as long to test."""
    here = market(store)
    here.networks = {Network.of(BASELINE): KNOWN}
    here.paths = {(BASELINE.data, BASELINE.augment): 0.001}
    plain, averaged, larger = (here.estimated(s) for s in (BASELINE, ema(BASELINE), evaluation_size(BASELINE, 16)))
    assert averaged.memory - plain.memory == pytest.approx(SPARE * 4 * KNOWN.weights)
    assert averaged.seconds == plain.seconds
    assert larger.seconds - plain.seconds == pytest.approx(BASELINE.epochs * 300 * 3 * 0.002)


@pytest.mark.parametrize(
    ("serving", "decoding", "jobs", "bound", "epoch"),
    [
        (0.001, 1, 1, "network", 0.0125 + 40 * 0.001 + 4 * 0.5 + 100 * 0.01 + 40 * 0.002),  # fed once batches are there
        (0.1, 1, 1, "decoding", 1.25 + 14.0),
        (0.1, 2, 1, "decoding", 1.25 + 4 + 10 / 2),  # by one process each, a run's first batch and each evaluation's
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
        assert others / 4 < recorded_bytes(spec) < 4 * others
        assert price.memory / 2 < record["peak_memory"], "a process that ran other tests may have needed more"


def test_records_of_any_seed_are_believed_before_a_measurement(store, monkeypatch):
    monkeypatch.setattr("harness.study.measured.measure", lambda *args: KNOWN)
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


def test_totals_by_hand(priced):
    told = priced(["cpu"] * 3)
    assert told["runs"] == {"asked": 9, "missing": 9}
    assert told["device_seconds"] == 900
    assert told["seconds"] == 300
    assert told["memory"]["at_once"] == 9e9
    assert told["disk"]["in_flight"] == 3 * 3 * 2e7, "two checkpoints a run, and the next while it is written"
    assert told["disk"]["stays"] == pytest.approx(9 * 5e6, rel=0.02)
    assert priced(["cpu"] * 9)["seconds"] == 200, "a student waits for its teacher"


def test_nothing_missing_costs_nothing(priced, store):
    for spec, seed in plan(STUDY).runs():
        finish(store, spec.id, seed, RESULT)
    told = priced(["cpu"])
    assert told["seconds"] == told["device_seconds"] == 0
    assert "0 missing" in as_text(told).splitlines()[-1]
