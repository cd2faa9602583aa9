from contextlib import nullcontext

import numpy as np
import pytest
import torch

from harness import Problem, study
from harness.parts.models import Dense
from harness.store import Store
from harness.study import Study, plan
from tests.kit.tiny import BASELINE, STUDY, finish


def test_missing_runs_are_those_the_store_has_not(tmp_path):
    p, store = plan(STUDY), Store(tmp_path)
    finish(store, BASELINE.id, 1, {"status": "finished"})
    todo = study.missing(p.runs(), store)
    assert (BASELINE, 1) not in todo
    assert (BASELINE, 0) in todo
    described = study.describe(p, store)
    assert described["runs"] == {"asked": 9, "missing": 8}
    assert described["rungs"][0]["missing"] == 1


def test_an_uneven_test_set_is_told_before_the_first_run(monkeypatch):
    assert not [note for note in study.check(plan(STUDY)) if "uneven" in note]
    monkeypatch.setattr("harness.metrics.UNEVEN", 0.9)
    (note,) = [note for note in study.check(plan(STUDY)) if "uneven" in note]
    counts = np.bincount(BASELINE.data.load().labels("test"))
    assert note.startswith(f"the test set is uneven, {counts.min()} of {counts.argmin()} and {counts.max()} of")
    assert note.endswith("and --metric balanced_accuracy compares by it")


def test_logits_that_are_too_many_are_told_and_no_metric_needs_them(monkeypatch):
    assert not [note for note in study.check(plan(STUDY)) if "logits" in note]
    monkeypatch.setattr("harness.tasks.classify.KEEPS", 5000)
    (note,) = [note for note in study.check(plan(STUDY)) if "logits" in note]
    assert note.startswith("logits of 300 test images x 10 classes are 0 MB, more than 0 MB: none are kept")
    with pytest.raises(Problem, match="--metric ece needs logits, and logits of 300 .*: take one of top1"):
        study.by_metric(plan(STUDY), STUDY, "ece")
    assert study.by_metric(plan(STUDY), STUDY, "loss").label == "tiny@loss"


def test_fewer_images_than_a_batch():
    with pytest.raises(Problem, match="597 training images are fewer than batch_size=600"):
        study.check(plan(STUDY, [("batch_size", 600)]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"batch_size": 1},
            "baseline: batch_size=1: a pass is one image, of which stage4.0.shortcut.1 .BatchNorm2d. has",
        ),
        ({"microbatch": 1}, "batch_size=128 in passes of 1: a pass is one image"),
        ({"batch_size": 129, "microbatch": 64}, "batch_size=129 in passes of 64: its last pass is one image"),
        ({"batch_size": 129, "microbatch": 43}, ""),
        ({"batch_size": 1, "model": BASELINE.model}, ""),
        ({"batch_size": 1, "model": Dense(size=8)}, ""),
    ],
)
def test_a_pass_of_one_image_is_known_where_batch_norm_sees_a_pixel_of_it(settings, said):
    """Digits are 8 px; strides of 2 thrice leave one, so torch has no variance of it."""
    spec = BASELINE.but(**{"model": BASELINE.model.but(blocks=(1, 1, 1, 1)), **settings})
    alone = Study("s", "", spec, (), (0,))
    with pytest.raises(Problem, match=said) if said else nullcontext():
        study.check(plan(alone))
    net, batch = spec.model.build(1, 10).train(), torch.zeros(spec.batch_size, 1, 8, 8)
    with pytest.raises(ValueError, match="more than 1 value per channel") if said else nullcontext():
        for some in batch.split(spec.microbatch or spec.batch_size):
            net(some)
