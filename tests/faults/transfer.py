"""Kills of a run that stands on another: a detector on its backbone, on photos that other processes decode."""

import random
import shutil
import time
from functools import cache
from pathlib import Path
from typing import Any

from harness.spec import needed
from harness.store import WORTH, Store
from tests.faults import Outcome, fault
from tests.faults.storage import assert_whole, notes, shelter
from tests.faults.victim import BEAT, Counted, attempt, counted, keep_time_by_batches
from tests.kit.dense import COUNTS, DETECTOR

SPEC = DETECTOR.having("augment", Counted())
BATCHES = SPEC.epochs * (COUNTS["train"] // SPEC.batch_size)
SEED = 1  # not that of teachers: the backbone has it too


@cache
def undisturbed() -> tuple[Store, float]:
    """A store where the backbone and the detector were trained in peace; and the seconds that the detector took."""
    store = Store(Path(shelter().name) / "transfer")
    for run in needed(SPEC, SEED):
        assert attempt(store, run)[-1]["kind"] == "finished"
    began = time.monotonic()
    assert attempt(store, (SPEC, SEED))[-1]["kind"] == "finished"
    return store, time.monotonic() - began


def home(folder: Path) -> Store:
    """A store that has the backbone alone."""
    store = Store(folder / "store")
    for spec, seed in needed(SPEC, SEED):
        shutil.copytree(undisturbed()[0].folder(spec.id, seed), store.folder(spec.id, seed))
    return store


@fault(quick=0, full=10)
def kill_9_of_a_detector_run(folder: Path, times: int, seed: int) -> Outcome:
    """At a random moment; each batch is kept, or, every other time, too few for that: a kill then costs several."""
    rng, (peace, seconds) = random.Random(seed), undisturbed()
    redone, message, killed = 0, "", 0
    while killed < times or not message:  # one that is killed before its first batch has nothing to say
        own = folder / str(killed)
        store, file = home(own), own / "batches"
        run = counted(SPEC, file), SEED
        seldom: dict[str, Any] = {"every": 2 * BEAT, "harm": keep_time_by_batches}
        how, most = (seldom, int(WORTH * 0.01 / BEAT)) if killed % 2 else ({}, 1)
        said = attempt(store, run, moment=rng.uniform(0.2, 1) * seconds, **how)
        died = said[-1]["kind"] == "died"
        assert died or said[-1]["kind"] == "finished", said
        killed += died
        store.tidy(SPEC.id, SEED)
        again = attempt(store, run, **how)
        assert again[-1]["kind"] == "finished", again
        message = (notes(again) or [message])[-1]
        assert set(store) == {(spec.id, at) for spec, at in needed(SPEC, SEED)} | {(SPEC.id, SEED)}
        assert_whole(store, (SPEC.id, SEED), peace)
        assert_whole(store, (needed(SPEC, SEED)[0][0].id, SEED), peace)
        lost = file.stat().st_size - BATCHES
        assert 0 <= lost <= most * died, f"{lost} batches redone, {most} at most were due"
        redone += lost
        shutil.rmtree(own)
    return Outcome(killed, 0, redone, message)
