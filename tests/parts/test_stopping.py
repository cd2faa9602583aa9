import math

import pytest
import torch

from harness import Problem
from harness.evidence import Trace
from harness.parts.data.holdout import Holdout
from harness.parts.schedules import Shape
from harness.parts.stopping import EarlyStopping
from harness.store import Store
from harness.train import Keeper, train
from tests.kit.tiny import BASELINE

CPU = torch.device("cpu")
HELD = BASELINE.but(data=Holdout(of=BASELINE.data), epochs=6)


def told(*losses, tops=()):
    tops = tops or [50.0] * len(losses)
    return [{"val_loss": loss, "val_top1": top} for loss, top in zip(losses, tops, strict=True)]


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ((), False),
        ((1.0,), False),
        ((3.0, 2.0, 1.0), False),
        ((1.0, 2.0), False),
        ((1.0, 2.0, 3.0), True),
        ((1.0, 1.0, 1.0), True),
        ((2.0, 3.0, 1.0, 2.0), False),
        ((math.nan, 1.0, 0.9), False),
        ((1.0, math.nan, math.nan), True),
    ],
)
def test_ends_when_the_loss_has_not_fallen_for_so_many_epochs(losses, over):
    assert EarlyStopping(patience=2).over(told(*losses)) is over


def test_keeps_the_best_by_its_score_and_of_equals_the_first():
    history = told(3.0, 1.0, 2.0, 1.0, tops=(10.0, 30.0, 40.0, 40.0))
    assert EarlyStopping().best(history) == 2
    assert EarlyStopping(keep="val_loss").best(history) == 1
    assert EarlyStopping(keep="val_loss").best(told(math.nan, 2.0, 1.0)) == 2


def test_needs_images_to_stop_by():
    with pytest.raises(Problem, match=r"EarlyStopping needs images to stop by.*data=Holdout"):
        BASELINE.but(stop=(EarlyStopping(),)).agree()
    HELD.but(stop=(EarlyStopping(),)).agree()


class Keeping(Keeper):
    """Has every state it is given; begins from one."""

    def __init__(self, first=None):
        self.first, self.states = first, []

    def saved(self):
        return self.first

    def due(self, epoch_done):
        return epoch_done

    def keep(self, state):
        import copy

        self.states.append(copy.deepcopy(state))


@pytest.fixture(scope="module")
def stopped():
    """A rate at which the held-out loss does not fall for long."""
    spec = HELD.but(stop=(EarlyStopping(patience=2),), epochs=30, optimizer=HELD.optimizer.but(lr=2.0, per=None))
    keeper = Keeping()
    return spec, train(spec, 0, CPU, None, keeper), keeper


def test_a_run_stops_and_ends_with_the_weights_of_its_best_epoch(stopped):
    spec, trained, keeper = stopped
    result, history = trained.result, trained.result["epochs"]
    losses = [epoch["val_loss"] for epoch in history]
    assert len(history) < 30
    assert len(history) - 1 - losses.index(min(losses)) == 2
    assert result["kept"] == max(range(len(history)), key=lambda i: (history[i]["val_top1"], -i))
    assert result["status"] == "finished", [row for row in result["evidence"] if not row["ok"]]
    kept = keeper.states[result["kept"]]["model"]
    assert all(torch.equal(value, kept[name]) for name, value in trained.model.state_dict().items())
    assert result["metrics"]["val_top1"] == pytest.approx(history[result["kept"]]["val_top1"])
    assert set(result["metrics"]) == {"test_loss", "top1", "top5", "val_loss", "val_top1", "val_top5"}
    assert all("top1" not in epoch for epoch in history), "the test set is measured once"
    assert len(result["correct"]) == 2 * -(-spec.data.load().counts["test"] // 8)


class Leap(Shape):
    """A rate of 0.1 for two epochs of six, and then of 1e36."""

    def factor(self, step, warmup, total):
        return 1e-37 if step < total / 3 else 1.0

    def proof(self, spec, trace):
        return ()


def test_a_run_that_diverges_ends_with_the_weights_it_has():
    """No better ones of before are put back: it diverged, in tables, curves and pictures alike."""
    optimizer, schedule = HELD.optimizer.but(lr=1e36, per=None), HELD.schedule.but(shape=Leap())
    spec = HELD.but(stop=(EarlyStopping(patience=9),), epochs=6, optimizer=optimizer, schedule=schedule)
    result = train(spec, 0, CPU, None).result
    assert result["status"] == "diverged", [row for row in result["evidence"] if not row["ok"]]
    assert 1 < len(result["epochs"]) < 6
    assert result["kept"] == len(result["epochs"]) - 1
    assert math.isnan(result["metrics"]["test_loss"])


@pytest.mark.parametrize("at", [0, -1])
def test_a_resumed_run_ends_alike(stopped, at):
    spec, trained, keeper = stopped
    again = train(spec, 0, CPU, None, Keeping(keeper.states[at]))
    same = {"metrics", "kept", "correct", "status"}
    assert {k: again.result[k] for k in same} == {k: trained.result[k] for k in same}
    assert len(again.result["epochs"]) == len(trained.result["epochs"])


def test_held_out_images_are_watched_without_stopping_too():
    result = train(HELD.but(epochs=2), 0, CPU, None).result
    assert result["status"] == "finished"
    assert result["kept"] == 1
    assert [set(epoch) & {"top1", "val_top1"} for epoch in result["epochs"]] == [{"val_top1"}] * 2
    assert {"top1", "val_top1"} <= set(result["metrics"])


def trace(history, kept):
    made = Trace(1, 10, torch.nn.Linear(1, 1))
    made.history, made.kept = history, kept
    return made


@pytest.mark.parametrize(
    ("losses", "kept", "ok"),
    [
        ((1.0, 2.0, 3.0), {"val_top1": 50.0}, [True, True]),
        ((1.0, 2.0), {"val_top1": 50.0}, [False, True]),  # ended too early
        ((1.0, 2.0, 3.0, 4.0), {"val_top1": 50.0}, [False, True]),  # went on
        ((1.0, 2.0, 3.0), {"val_top1": 49.0}, [True, False]),  # other weights
        ((1.0, 2.0, 3.0), {}, [True, False]),  # none put back
    ],
)
def test_the_evidence_sees_a_run_that_did_otherwise(losses, kept, ok):
    part = EarlyStopping(patience=2)
    checks = list(part.proof(HELD.but(stop=(part,)), trace(told(*losses), kept)))
    assert [check.ok for check in checks] == ok


def test_the_store_takes_it(tmp_path):
    from harness.engine import execute

    store, spec = Store(tmp_path), HELD.but(epochs=2, stop=(EarlyStopping(patience=1),))
    execute(spec, 0, store, CPU)
    assert store.read(spec.id, 0)["kept"] in (0, 1)
