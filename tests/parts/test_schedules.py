import pytest

from harness import Problem
from harness.evidence import Trace
from harness.parts.schedules import Piecewise, Poly, Step
from harness.tricks.warmup import LinearWarmup


def by_epoch(schedule, steps=10, epochs=120):
    """The factors of each epoch's first and last batch."""
    return [
        (schedule.factor(epoch * steps, steps, epochs), schedule.factor(epoch * steps + steps - 1, steps, epochs))
        for epoch in range(epochs)
    ]


def test_divides_by_ten_at_30_60_and_90_of_120_epochs():
    expected = [1.0] * 30 + [0.1] * 30 + [0.01] * 30 + [0.001] * 30
    for (first, last), factor in zip(by_epoch(Piecewise()), expected, strict=True):
        assert first == pytest.approx(factor, rel=1e-12)
        assert last == pytest.approx(factor, rel=1e-12)


def test_boundaries_of_twenty_epochs():
    expected = [1.0] * 5 + [0.1] * 5 + [0.01] * 5 + [0.001] * 5
    assert [first for first, _ in by_epoch(Piecewise(), epochs=20)] == pytest.approx(expected, rel=1e-12)


def test_other_fractions_and_factor():
    shape = Step(at=(0.5,), by=0.5)
    assert [shape.factor(step, 0, 4) for step in range(4)] == [1, 1, 0.5, 0.5]


def test_warmup_then_step():
    """Warmup takes the first five epochs; the boundaries stay where they were."""
    factors = by_epoch(Piecewise(warmup=LinearWarmup(epochs=5)))
    assert factors[0] == pytest.approx((1 / 50, 10 / 50))
    assert factors[4] == pytest.approx((41 / 50, 1))
    assert factors[5:] == by_epoch(Piecewise())[5:]


def test_warmup_longer_than_training_is_refused(tiny):
    tiny.but(schedule=Piecewise(warmup=LinearWarmup(epochs=5.5))).agree()
    with pytest.raises(Problem, match="must be less than epochs=6"):
        tiny.but(schedule=Piecewise(warmup=LinearWarmup(epochs=6))).agree()


def test_proof_compares_every_step(tiny):
    peak = 0.1 * 298 / 256
    right = [peak] * 3 + [peak / 10] * 3 + [peak / 100] * 3 + [peak / 1000] * 3  # six epochs of two steps
    assert [check.ok for check in tiny.schedule.proof(tiny, Trace(2, 10, lr=right))] == [True]
    for step in range(12):
        wrong = [rate * (1.001 if i == step else 1) for i, rate in enumerate(right)]
        assert [check.ok for check in tiny.schedule.proof(tiny, Trace(2, 10, lr=wrong))] == [False]


def test_step_proves_its_cuts(tiny):
    """After the warmup, at each step; and to no run that ended before, as one that diverged does."""
    peak = 0.1 * 298 / 256
    cuts = [peak] * 3 + [peak / 10] * 3 + [peak / 100] * 3 + [peak / 1000] * 3
    warmed = tiny.but(schedule=Piecewise(warmup=LinearWarmup(epochs=1)))
    rising = [peak / 2, peak, *cuts[2:]]

    def proved(spec, rates):
        return [check.ok for check in Step().proof(spec, Trace(2, 10, lr=rates))] == [True]

    assert proved(tiny, cuts)
    assert proved(tiny, cuts[:5])
    assert proved(warmed, rising)
    assert not proved(tiny, rising)
    for step in range(12):
        assert not proved(tiny, [rate * (1.001 if i == step else 1) for i, rate in enumerate(cuts)])
    assert not proved(tiny, [peak * 0.5**i for i in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)])


def test_a_rate_cut_nowhere_is_constant(tiny):
    shape = Step(at=())
    assert by_epoch(Piecewise(shape=shape)) == [(1.0, 1.0)] * 120
    (check,) = shape.proof(tiny, Trace(2, 10, lr=[0.1 * 298 / 256] * 12))
    assert check.ok
    assert check.what == "largest gap from a rate that is constant"
    assert not next(iter(shape.proof(tiny, Trace(2, 10, lr=[0.1 * 298 / 256] * 11 + [0.1])))).ok


def test_poly_falls_to_nothing_by_its_power():
    schedule = Piecewise(shape=Poly(power=0.9))
    assert schedule.factor(0, 10, 4) == 1
    assert schedule.factor(20, 10, 4) == pytest.approx(0.5**0.9)
    assert schedule.factor(39, 10, 4) == pytest.approx((1 / 40) ** 0.9)
    warm = schedule.but(warmup=LinearWarmup(epochs=1))
    assert warm.factor(4, 10, 4) == pytest.approx(0.5), "the fifth of ten"
    assert warm.factor(10, 10, 4) == pytest.approx(0.75**0.9), "time is counted with the warmup"
    for step in range(40):
        assert warm.reference(step, 10, 4) == pytest.approx(warm.factor(step, 10, 4))


@pytest.mark.parametrize(("power", "fine"), [(0.9, True), (1.0, False), (0.5, False)])
def test_poly_is_proven_from_the_rates_used(power, fine, tiny):
    spec = tiny.but(schedule=Piecewise(shape=Poly()))
    peak = spec.optimizer.rate(spec.batch_size)
    trace = Trace(2, 10, lr=[peak * (1 - step / 12) ** power for step in range(12)])
    assert [check.ok for check in spec.schedule.shape.proof(spec, trace)] == [fine]
