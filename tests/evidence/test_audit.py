"""Audits: which steps are looked at, over a whole run.

The references of the parts are tested with their parts' own, in `test_references.py`.
"""

import numpy as np
import pytest

from harness import evidence
from harness.evidence import audited
from harness.evidence.audit import caught
from harness.parts.augment import Shift
from harness.parts.models import Dense
from harness.rng import streams
from tests.kit.audits import RIGHT
from tests.kit.stops import Stops
from tests.mutants.breaking import traced

# --- which steps ----------------------------------------------------------------------------------------------------

LENGTHS = [(1, 1), (5, 5), (7, 1), (12, 2), (101, 101), (640, 10), (1300, 20), (6500, 100), (12500, 50)]


@pytest.mark.parametrize(("steps", "per_epoch"), LENGTHS)
def test_the_first_two_at_least_eight_and_one_in_a_hundred(steps, per_epoch):
    found, epochs = audited(streams(0), steps, per_epoch), steps // per_epoch
    assert {0, min(1, steps - 1)} <= found <= set(range(steps))
    assert len(found) >= max(min(steps, 8), steps / 100)
    if epochs <= 64:
        assert {step // per_epoch for step in found} == set(range(epochs))
    assert len(found) <= 2 + max(2 * epochs, 8 + epochs, 2 + steps / 100)


def test_they_are_the_seeds_and_no_others():
    one, again, other = (audited(streams(seed), 6500, 100) for seed in (0, 0, 1))
    assert one == again
    assert len(one & other) < len(one) / 2


def gathered(steps):
    """Deviations at 5 % of the steps: at every twentieth, at the first after a tenth, at some drawn, at the last."""
    n = steps // 20
    drawn = np.random.default_rng(0).permutation(steps)[:n]
    return [range(7, steps, 20), range(steps // 10, steps // 10 + n), drawn, range(steps - n, steps)]


@pytest.mark.parametrize(("steps", "per_epoch", "k"), [(800, 100, 8), (1600, 100, 16), (13000, 100, 130)])
def test_chance_to_meet_a_deviation(steps, per_epoch, k):
    """1 - (1 - q)ᵏ at least, in 400 seeds and within three standard errors; where it is gathered, more."""
    draws = [audited(streams(seed), steps, per_epoch) for seed in range(400)]
    due = 1 - (1 - 0.05) ** k
    for where in gathered(steps):
        met = np.mean([not found.isdisjoint(map(int, where)) for found in draws])
        assert met >= due - 3 * (due * (1 - due) / len(draws)) ** 0.5


@pytest.mark.parametrize("k", [1, 2, 8, 130])
def test_share_that_is_met_with_a_chance_of_95_percent(k):
    assert 1 - (1 - caught(k)) ** k == pytest.approx(0.95, rel=1e-12)
    assert caught(0) == 1.0


# --- whole runs -----------------------------------------------------------------------------------------------------


def run(spec, keeper=None):
    return traced(spec, keeper=keeper)[1]


@pytest.mark.parametrize("at", [1, 2, 5])
@pytest.mark.parametrize("name", ["plain", "everything"])
def test_a_resumed_runs_audits_are_those_of_one_that_never_stopped(at, name, tiny):
    """Stopped right after an audited step, at an epoch's end, and later."""
    spec = RIGHT[name](tiny.but(epochs=3))
    whole, keeper = run(spec), Stops([at])
    with pytest.raises(KeyboardInterrupt):
        run(spec, keeper)
    keeper.at = set()
    done = run(spec, keeper)
    assert done.auditor.found == whole.auditor.found
    assert done.auditor.errors == whole.auditor.errors == []
    assert done.exams.found == whole.exams.found
    assert done.amiss == whole.amiss == 0


def test_steps_are_watched_alone_where_they_are_due(tiny, monkeypatch):
    """Of a hundred steps eight and the first two: the others leave nothing."""
    spec = tiny.but(batch_size=23, epochs=4, model=Dense(hidden=(), size=8))
    trace = run(spec)
    numbers = [gaps["step"] for gaps in trace.auditor.found]
    assert numbers == sorted(audited(streams(0), 100, 25))
    assert 8 <= len(numbers) <= 10
    assert trace.auditor.waiting == []
    assert not any(module._forward_hooks for module in trace.model.modules() if module is not trace.model)


def test_an_audit_that_fails_is_said(tiny, monkeypatch):
    monkeypatch.setattr(Shift, "reference", lambda self, x, rng: 1 / 0)
    trace = run(tiny.but(epochs=1))
    assert trace.auditor.errors == [f"step {n}: ZeroDivisionError: division by zero" for n in (1, 2)]
    rows = [row for row in evidence.prove(tiny.but(epochs=1), trace) if not row["ok"]]
    assert "audits that could not be done" in {row["what"] for row in rows}
