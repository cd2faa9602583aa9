import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from harness.report import search as report
from tests.kit.trials import DECAY, RATE, SHAPE, study_of


def test_places_on_an_axis():
    def scale(own, value):
        params = {"x": value}
        trials = report.read(study_of([create_trial(params=params, distributions={"x": own}, value=0.0)]))
        (made,) = report.scales(trials)
        return made

    rate = scale(RATE, 0.1)
    assert [rate.at(rate.number(x)) for x in (1e-4, 1e-2, 1.0)] == pytest.approx([0, 0.5, 1])
    assert [tick for tick, _ in rate.ticks()] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    decay = scale(DECAY, 0.1)
    assert decay.at(0.15) == pytest.approx(0.5)
    assert [said for _, said in decay.ticks()] == ["0", "0.1", "0.2", "0.3"]
    shape = scale(SHAPE, "step")
    assert [shape.at(shape.number(x)) for x in ("cosine", "step")] == [0.25, 0.75]
    assert scale(FloatDistribution(2.0, 2.0), 2.0).at(2.0) == 0.5
    assert [tick for tick, _ in scale(FloatDistribution(0.2, 0.3, log=True), 0.25).ticks()] == [0.2, 0.3]
