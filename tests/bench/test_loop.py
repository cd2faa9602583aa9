"""The bound, and a study beside it. Nothing here asserts how fast anything is."""

import os
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from harness import Problem, tracking
from harness.bench.loop import Slice, bound, sized, study
from harness.bench.spent import PHASES, START
from harness.engine import local, together
from harness.parts.data import Digits
from harness.spec import parse, plain
from harness.train import PLAIN


def test_slice_keeps_the_proportion_the_classes_and_the_images():
    whole, part = Digits().load(), Slice(data=Digits(), images=100).load()
    assert part.counts == {"train": 100, "test": 1200 * 100 // 597}
    for split, (images, labels) in part.arrays.items():
        assert set(labels) == set(range(10))
        assert len(images) == len(labels) == part.counts[split]
        whole_images, whole_labels = whole.arrays[split]
        pairs = {(x.tobytes(), y) for x, y in zip(whole_images, whole_labels, strict=True)}
        assert {(x.tobytes(), y) for x, y in zip(images, labels, strict=True)} <= pairs
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) > 0.9 * len(images)


def test_slice_has_an_identity_of_its_own(spec):
    ids = {spec.but(data=data).id for data in (Digits(), *(Slice(data=Digits(), images=n) for n in (64, 65)))}
    assert len(ids) == 3
    sliced = Slice(data=Digits(), images=64)
    assert parse(plain(sliced)) == sliced


def test_slice_larger_than_the_data():
    with pytest.raises(Problem, match="597"):
        Slice(data=Digits(), images=598).load()


@pytest.mark.parametrize(("rate", "seconds", "images", "epochs"), [(32, 5, 160, 1), (100, 18, 576, 3), (1, 1, 32, 1)])
def test_a_study_is_sized_by_the_bound(spec, rate, seconds, images, epochs):
    made = sized(spec, rate, seconds)  # 18 batches of 32 are all that 597 images give
    assert (made.data.images, made.epochs) == (images, epochs)


def test_the_bound_is_measured_by_a_process_of_its_own(spec, monkeypatch):
    monkeypatch.setattr(together, "METHOD", "forkserver")
    assert bound(spec, ["cpu"], 0.1) > 0


def test_a_bound_that_cannot_be_measured_says_why(spec, monkeypatch):
    monkeypatch.setattr(together, "METHOD", "forkserver")
    with pytest.raises(Problem, match="the bound could not be measured: .*nowhere"):
        bound(spec, ["nowhere"], 0.1)


class NoTracker:
    seen: ClassVar[list[str]] = []

    def __init__(self, *_):
        assert "MLFLOW_TRACKING_URI" not in os.environ  # a user's server is not written to

    def see(self, event):
        self.seen.append(event["kind"])

    def close(self):
        return None


def test_a_study_runs_for_real_among_runs_of_its_own(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "open_experiment", lambda study: None)
    monkeypatch.setattr(tracking, "Tracker", NoTracker)
    monkeypatch.setattr(local, "Local", partial(local.Local, method="forkserver"))
    seen = study(sized(spec, 32, 2), ["cpu"], PLAIN)
    told = [kind for kind in NoTracker.seen if kind != "batch"]  # which a slow epoch tells
    assert told == ["started", "epoch", "finished"]
    assert seen.rate == pytest.approx(64 / seen.wall)
    assert seen.in_loop > seen.rate
    looked = set(seen.spent)  # two steps: a look may miss any one phase of them, and not all
    assert looked <= set(PHASES)
    assert START in looked
    assert looked & {"build", "forward", "backward", "evidence", "evaluation"}
    assert sum(seen.spent.values()) == pytest.approx(seen.wall, rel=0.02)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"cache"}
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"


def test_ctrl_c_in_a_study_is_that_and_no_damaged_record(spec, monkeypatch):
    monkeypatch.setattr(tracking, "open_experiment", lambda study: None)
    monkeypatch.setattr(tracking, "Tracker", NoTracker)
    monkeypatch.setattr(
        "harness.engine.Engine.events", lambda self, runs: iter([{"kind": "interrupted", "run": runs[0]}])
    )
    with pytest.raises(KeyboardInterrupt):
        study(sized(spec, 32, 2), ["cpu"], PLAIN)
