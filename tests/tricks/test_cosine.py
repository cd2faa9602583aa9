import numpy as np
import pytest

from harness.evidence import Trace
from harness.tricks.cosine import cosine, cosine_factor
from harness.tricks.warmup import warmup

PEAK = 0.1 * 99 / 256  # of batches of 99: six an epoch


def test_rates_of_a_real_training(tiny, live):
    """η/2·(1 + cos(tπ/T)), a new rate for each batch."""
    _, trace = live(cosine(tiny.but(batch_size=99, epochs=3)))
    t = np.arange(18)
    np.testing.assert_allclose(trace.lr, PEAK / 2 * (1 + np.cos(t * np.pi / 18)), rtol=1e-12)


@pytest.mark.parametrize(("epochs", "m"), [(1, 6), (1.5, 9)])
def test_the_period_leaves_warmup_out(epochs, m, tiny, live):
    _, trace = live(cosine(warmup(tiny.but(batch_size=99, epochs=3), epochs=epochs)))
    rising, t = PEAK * (np.arange(m) + 1) / m, np.arange(18 - m)
    falling = PEAK / 2 * (1 + np.cos(t * np.pi / (18 - m)))
    np.testing.assert_allclose(trace.lr, [*rising, *falling], rtol=1e-12)
    assert trace.lr[m] == pytest.approx(PEAK, rel=1e-12)


def test_factor_at_the_quarters():
    assert [cosine_factor(t, 4) for t in range(5)] == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0])


def test_touches_the_shape_only(tiny):
    warmed = warmup(tiny, epochs=2)
    assert cosine(warmed).schedule.warmup == warmed.schedule.warmup
    assert cosine(warmed).but(schedule=warmed.schedule) == warmed


def test_a_rate_an_epoch_is_caught(tiny):
    spec, peak = cosine(tiny), tiny.optimizer.rate(tiny.batch_size)
    each = [peak * (1 + np.cos(epoch * np.pi / 6)) / 2 for epoch in range(6)]
    own = [check.ok for check in spec.schedule.shape.proof(spec, Trace(2, 10, lr=list(np.repeat(each, 2))))]
    assert own == [False, False]
