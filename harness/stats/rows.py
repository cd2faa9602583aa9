"""The rows of a table, compared and judged together."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.moderated import PLAIN, Prior, moderated_t, prior
from harness.stats.planning import detectable
from harness.stats.tests import (
    Array,
    attainable_p,
    flat,
    holm,
    pair_correlation,
    paired_t,
    sign_flip,
    summed,
    usable,
    welch_t,
)

Test = Literal["moderated", "t", "sign-flip"]


@dataclass(frozen=True)
class Comparison:
    """One row: gain with interval, raw and adjusted p, ρ̂ (nan without both arms), what n can attain, verdict.

    `df`: degrees of freedom of interval and p; nan where they are of no t-test. `prior`: what the variances of all rows
    told. `plain`: the row by the plain t-test, where another was asked for.
    """

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
    df: float = math.nan
    prior: Prior = PLAIN
    plain: "Comparison | None" = None


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
    test: Test = "t",
    level: float = 0.95,
    alpha: float = 0.05,
    goal: float = 0.8,
    step: float | None = None,
    seeds: Sequence[Sequence[Hashable]] | None = None,
) -> list[Comparison]:
    """One Comparison a row, each row n paired differences, or both arms as 2 x n: above, below. Holm over all rows.

    Of a dict, give its values(). The interval is the t-interval at `level`, not adjusted, so it may leave out 0 in a
    row that is not resolved. The MDE is by the row's own s.d. at alpha / rows, Holm's strictest step: an effect that is
    resolved with chance `goal` whatever the other rows do; inf where the sign-flip test cannot get there at this n, nan
    where differences are `flat`, which have the sign-flip test's p and no interval. A row of fewer than two, or with a
    value that is not finite, has nan and the verdict "".

    "moderated": interval, p and MDE are of variances that lean on each other, as `moderated` has it, and adjusted p are
    divided by the prior's share; `seeds` are those of each row's values. It falls back to the plain test by itself.
    """
    data = [np.asarray(row, float) for row in rows]
    table = _judged(data, test, level, alpha, goal, step, seeds)
    if test == "t":
        return table
    plain = _judged(data, "t", level, alpha, goal, step, seeds)
    return [replace(row, plain=other) for row, other in zip(table, plain, strict=True)]


def compare_apart(
    rows: Iterable[tuple[ArrayLike, ArrayLike]], level: float = 0.95, alpha: float = 0.05, goal: float = 0.8
) -> list[Comparison]:
    """As `compare`, of arms (above, below) whose seeds do not pair: Welch's t-tests, Holm over all rows.

    `n` is the number of seeds of the smaller arm. nan and "" where `welch_t` has none.
    """
    drafts, every = [], [[np.asarray(arm, float) for arm in arms] for arms in rows]
    for arms in every:
        spread = [(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in arms if usable(x)]
        told = welch_t(arms[0], arms[1], level)
        se, df = summed(spread) if not math.isnan(told[-1]) else (math.nan, math.nan)
        drafts.append((min(map(len, arms)), *told, se, df))
    adjusted = holm([draft[4] for draft in drafts])
    strict = alpha / max(1, int(np.count_nonzero(~np.isnan(adjusted))))
    table = []
    for (n, gain, low, high, p, se, df), q in zip(drafts, adjusted.tolist(), strict=True):
        sd = se * math.sqrt(2)  # of two pairs, whose mean has that s.e.
        mde = math.nan if math.isnan(se) else detectable(sd, 2, goal, alpha=strict, df=df)
        verdict = adjusted_verdict(gain, q, mde, alpha)
        table.append(Comparison(gain, low, high, p, q, math.nan, n, math.nan, mde, verdict, df))
    return table


def _judged(
    rows: list[Array],
    test: Test,
    level: float,
    alpha: float,
    goal: float,
    step: float | None,
    seeds: Sequence[Sequence[Hashable]] | None,
) -> list[Comparison]:
    with np.errstate(invalid="ignore"):  # inf - inf
        gains = [arms[0] - arms[1] if arms.ndim == 2 else arms for arms in rows]
    told = known(gains, step, seeds) if test == "moderated" else PLAIN
    drafts = []
    for arms, x in zip(rows, gains, strict=True):
        rho = pair_correlation(arms[0], arms[1]) if arms.ndim == 2 else math.nan
        df = sd = math.nan
        if usable(x) and not flat(x, step=step):
            gain, low, high, p, df, sd = moderated_t(x, told, level)
        else:
            gain, low, high, p = paired_t(x, level, step)
        if test == "sign-flip" and len(x) > 1:
            p, df = sign_flip(x), math.nan
        drafts.append((len(x), rho, gain, low, high, df, sd, p))
    adjusted = np.minimum(1.0, holm([draft[-1] for draft in drafts]) / told.share)
    strict = alpha * told.share / max(1, int(np.count_nonzero(~np.isnan(adjusted))))
    table = []
    for (n, rho, gain, low, high, df, sd, p), q in zip(drafts, adjusted.tolist(), strict=True):
        least = attainable_p(n)
        mde = math.nan if math.isnan(sd) else detectable(sd, n, goal, alpha=strict, df=None if math.isnan(df) else df)
        mde = math.inf if test == "sign-flip" and least > strict else mde
        verdict = adjusted_verdict(gain, q, mde, alpha)
        table.append(Comparison(gain, low, high, p, q, rho, n, least, mde, verdict, df, told))
    return table


def known(
    gains: Sequence[Array], step: float | None = None, seeds: Sequence[Sequence[Hashable]] | None = None
) -> Prior:
    """What the rows of a table know of each other's variance: all that have a test are in it, but for `flat` ones."""
    tested = [i for i, x in enumerate(gains) if usable(x)]
    asked = [i for i in tested if not flat(gains[i], step=step)]
    return prior([gains[i] for i in asked], seeds and [seeds[i] for i in asked], len(tested))
