"""The values of a grid."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from harness.search import space


@pytest.mark.parametrize(
    ("distribution", "points"),
    [
        (FloatDistribution(1, 5), [1, 2, 3, 4, 5]),
        (FloatDistribution(0.01, 100, log=True), [0.01, 0.1, 1, 10, 100]),
        (FloatDistribution(0, 0.3, step=0.1), [0, 0.1, 0.2, 0.3]),
        (IntDistribution(1, 3), [1, 2, 3]),
        (IntDistribution(16, 256, log=True), [16, 32, 64, 128, 256]),
        (IntDistribution(0, 100), [0, 25, 50, 75, 100]),
        (IntDistribution(0, 60, step=10), [0, 10, 20, 30, 40, 50, 60]),
        (CategoricalDistribution(("a", None)), ["a", None]),
    ],
)
def test_a_grid_cuts_ranges(distribution, points):
    assert space.cut(distribution) == (
        points if isinstance(distribution, CategoricalDistribution) else pytest.approx(points)
    )
