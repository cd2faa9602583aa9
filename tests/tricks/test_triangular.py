import numpy as np
import pytest

from harness import Problem
from harness.evidence import Trace
from harness.tricks.cosine import cosine
from harness.tricks.triangular import Triangular, triangular
from harness.tricks.warmup import warmup


def test_is_airbenchs():
    """`np.interp(np.arange(1 + steps), [0, int(peak * steps), steps], [start, 1, end])`, in its program."""
    steps = 1000
    due = np.interp(np.arange(steps), [0, int(0.23 * steps), steps], [0.2, 1, 0.07])
    assert [Triangular().factor(i, 0, steps) for i in range(steps)] == pytest.approx(due)


def test_is_pages_by_hand():
    """0 at the start, 1 after 5 of 24 epochs, 0 at the end: a batch an epoch."""
    shape = Triangular(start=0, peak=5 / 24, end=0)
    assert [shape.factor(i, 0, 24) for i in (0, 1, 5, 6, 23)] == pytest.approx([0, 1 / 5, 1, 18 / 19, 1 / 19])


@pytest.mark.parametrize("total", [2, 3, 12, 97])
def test_the_peak_is_reached_and_the_reference_agrees(total):
    factors = [Triangular().factor(i, 0, total) for i in range(total)]
    assert max(factors) == 1
    assert factors == pytest.approx([Triangular().reference(i, 0, total) for i in range(total)])


def test_is_proven_from_the_rates_used(tiny):
    spec = triangular(tiny)
    peak = spec.optimizer.rate(spec.batch_size)
    right = [peak * Triangular().factor(i, 0, 12) for i in range(12)]
    assert all(check.ok for check in spec.schedule.shape.proof(spec, Trace(2, 10, lr=right)))
    for i in range(12):
        wrong = [rate * (1.001 if at == i else 1) for at, rate in enumerate(right)]
        assert not all(check.ok for check in spec.schedule.shape.proof(spec, Trace(2, 10, lr=wrong)))


def test_what_rises_twice_or_falls_otherwise_is_refused(tiny):
    with pytest.raises(Problem, match=r"^schedule\.shape=Triangular rises by itself: leave schedule\.warmup out$"):
        warmup(triangular(tiny), epochs=1).agree()
    with pytest.raises(Problem, match=r"^schedule\.shape=Cosine is there already, and Triangular is another"):
        triangular(cosine(tiny))
