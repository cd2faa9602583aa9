"""What values a search may draw."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness import Problem
from harness.spec import Spec, assign

CUTS = 5  # values of a range without a step, in a grid
Space = Mapping[str, BaseDistribution]
Values = Mapping[str, Any]


def assigned(spec: Spec, values: Values) -> Spec:
    """`spec` with the values of a trial. Raises Problem where a field refuses one, or the path is not there."""
    for path, value in values.items():
        changed = assign(spec, path, value)
        if changed is None:
            raise Problem(f"{path}: the specification has no such path")
        spec = changed
    return spec


def samples(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Of a range both ends and a value between; of a choice all."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    between = min(high, low + step) if step else low + (high - low) * 0.382  # no whole number, where the ends are
    return low, between, high


def cut(distribution: BaseDistribution) -> list[Any]:
    """The values of a grid: by the step, or 5 where there is none, even, or even in the logarithm."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if step and (step > 1 or not whole or high - low < CUTS) and not distribution.log:
        count = int((high - low) / step + 1e-9) + 1
        return [low + i * step for i in range(count)]
    points = np.geomspace(low, high, CUTS) if distribution.log else np.linspace(low, high, CUTS)
    inner = (round(value) if whole else float(value) for value in points[1:-1])
    return list(dict.fromkeys([low, *inner, high]))  # the ends exactly


def suggest(trial: optuna.Trial, path: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(path, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(path, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(path, choices)
    raise AssertionError(distribution)
