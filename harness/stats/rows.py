"""The rows of a table, compared and judged together."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.planning import detectable
from harness.stats.tests import attainable_p, flat, holm, pair_correlation, paired_t, sign_flip, usable


@dataclass(frozen=True)
class Comparison:
    """One row: gain with interval, raw and adjusted p, ρ̂ (nan without both arms), what n can attain, verdict."""

    gain: float
    low: float
    high: float
    p: float
    adjusted: float
    rho: float
    n: int
    attainable: float
    mde: float
    verdict: str


def adjusted_verdict(gain: float, adjusted: float, mde: float, alpha: float = 0.05) -> str:
    """ "helps", "hurts" or "not resolved (MDE 0.42)" from an adjusted p; "" where there is none.

    Of scores in percent, an MDE of more than 100 points is that no effect could be resolved.
    """
    if math.isnan(adjusted):
        return ""
    if adjusted <= alpha and gain:
        return "helps" if gain > 0 else "hurts"
    return "not resolved" if math.isnan(mde) else f"not resolved (MDE {'above 100' if mde > 100 else f'{mde:.2f}'})"


def compare(
    rows: Iterable[ArrayLike],
    test: Literal["t", "sign-flip"] = "t",
    level: float = 0.95,
    alpha: float = 0.05,
    goal: float = 0.8,
    step: float | None = None,
) -> list[Comparison]:
    """One Comparison a row, each row n paired differences, or both arms as 2 x n: above, below. Holm over all rows.

    Of a dict, give its values(). The interval is the t-interval at `level`, not adjusted, so it may leave out 0 in a
    row that is not resolved. The MDE is by the row's own s.d. at alpha / rows, Holm's strictest step: an effect that is
    resolved with chance `goal` whatever the other rows do; inf where the sign-flip test cannot get there at this n, nan
    where differences are `flat`, which have the sign-flip test's p and no interval. A row of fewer than two, or with a
    value that is not finite, has nan and the verdict "".
    """
    drafts = []
    for row in rows:
        arms = np.asarray(row, float)
        with np.errstate(invalid="ignore"):  # inf - inf
            x = arms[0] - arms[1] if arms.ndim == 2 else arms
        rho = pair_correlation(arms[0], arms[1]) if arms.ndim == 2 else math.nan
        gain, low, high, p = paired_t(x, level, step)
        drafts.append((x, rho, gain, low, high, sign_flip(x) if test == "sign-flip" and len(x) > 1 else p))
    adjusted = holm([draft[-1] for draft in drafts])
    strict = alpha / max(1, int(np.count_nonzero(~np.isnan(adjusted))))
    table = []
    for (x, rho, gain, low, high, p), q in zip(drafts, adjusted.tolist(), strict=True):
        n = len(x)
        least = attainable_p(n)
        mde = (
            math.nan if not usable(x) or flat(x, step=step) else detectable(float(x.std(ddof=1)), n, goal, alpha=strict)
        )
        mde = math.inf if test == "sign-flip" and least > strict else mde
        table.append(Comparison(gain, low, high, p, q, rho, n, least, mde, adjusted_verdict(gain, q, mde, alpha)))
    return table
