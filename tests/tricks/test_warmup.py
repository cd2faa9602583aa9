import numpy as np
import pytest

from harness.evidence import Trace, prove
from harness.tricks.warmup import LinearWarmup, warmup, warmup_factor

PEAK = 0.1 * 99 / 256  # of batches of 99: six an epoch


@pytest.mark.parametrize(("epochs", "batches"), [(1, 6), (2, 12), (1.5, 9), (0.25, 2), (0.1, 1)])
def test_rates_of_a_real_training(epochs, batches, tiny, live):
    """Batch i of m gets i·η/m, and the steps after it are as they were."""
    _, trace = live(warmup(tiny.but(batch_size=99, epochs=3), epochs=epochs))
    steps = np.arange(18)
    wanted = PEAK * np.array([1] * 5 + [0.1] * 4 + [0.01] * 5 + [0.001] * 4)  # quarters of 18 batches: 4.5, 9, 13.5
    wanted[:batches] = PEAK * (steps[:batches] + 1) / batches
    np.testing.assert_allclose(trace.lr, wanted, rtol=1e-12)


def test_first_batch_is_not_idle_and_last_has_all():
    assert [warmup_factor(i, 4) for i in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


def test_touches_the_warmup_only(tiny):
    warmed = warmup(tiny, epochs=2)
    assert warmed.schedule.warmup == LinearWarmup(epochs=2)
    assert warmed.schedule.but(warmup=None) == tiny.schedule
    assert warmed.but(schedule=tiny.schedule) == tiny


def test_a_constant_rate_is_caught(tiny):
    warmed = warmup(tiny, epochs=2)
    peak = tiny.optimizer.rate(tiny.batch_size)
    own = [check.ok for check in warmed.schedule.warmup.proof(warmed, Trace(2, 10, lr=[peak] * 12))]
    assert own == [False, False]


def test_a_warmup_of_no_batch_is_caught(tiny, live):
    """A tenth of two batches rounds to none: the trick never ran, and that is said rather than raised."""
    never = warmup(tiny, epochs=0.1)
    _, trace = live(tiny)
    assert not all(row["ok"] for row in prove(never, trace))
