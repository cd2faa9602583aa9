import pytest
import torch

from harness import Problem
from harness.evidence import Trace
from harness.tricks.cosine import cosine
from harness.tricks.one_cycle import OneCycle, one_cycle
from harness.tricks.warmup import warmup


@pytest.mark.parametrize(("total", "rise"), [(10, 0.3), (100, 0.25), (40, 0.5)])
def test_is_torchs(total, rise):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total, pct_start=rise, cycle_momentum=False)
    shape, due = OneCycle(rise=rise), []
    for _ in range(total):
        due.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if len(due) < total else None
    assert [shape.factor(i, 0, total) for i in range(total)] == pytest.approx(due, rel=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3, 12, 97])
def test_the_peak_is_reached_and_the_reference_agrees(total):
    factors = [OneCycle().factor(i, 0, total) for i in range(total)]
    assert max(factors) == 1
    assert factors == pytest.approx([OneCycle().reference(i, 0, total) for i in range(total)])


def test_is_proven_from_the_rates_used(tiny):
    spec = one_cycle(tiny)
    peak = spec.optimizer.rate(spec.batch_size)
    right = [peak * OneCycle().factor(i, 0, 12) for i in range(12)]

    def proved(rates):
        return all(check.ok for check in spec.schedule.proof(spec, Trace(2, 10, lr=rates))) and all(
            check.ok for check in spec.schedule.shape.proof(spec, Trace(2, 10, lr=rates))
        )

    assert proved(right)
    for i in range(12):
        assert not proved([rate * (1.001 if at == i else 1) for at, rate in enumerate(right)])


def test_what_rises_twice_or_falls_otherwise_is_refused(tiny):
    with pytest.raises(Problem, match=r"^schedule\.shape=OneCycle rises by itself: leave schedule\.warmup out$"):
        warmup(one_cycle(tiny), epochs=1).agree()
    with pytest.raises(Problem, match=r"^schedule\.shape=Cosine is there already, and OneCycle is another"):
        one_cycle(cosine(tiny))
