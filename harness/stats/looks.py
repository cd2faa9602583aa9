"""Sequential looks: more seeds only where they are needed, at one error for all looks."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy import optimize, special

from harness.stats.moderated import LEAST, PLAIN, SHARE, Prior, moderated_t, prior
from harness.stats.tests import Array, flat, paired_t


def sequential_bounds(
    looks: Sequence[float], kind: Literal["pocock", "obrien-fleming"] = "pocock", alpha: float = 0.05
) -> tuple[Array, Array]:
    """(z, nominal two-sided p), one each look: stop where |Z| ≥ z, and all looks together err with chance `alpha`.

    `looks`: seeds at each look, or shares of the last; rising, at least 1/1000 of the last apart, or ValueError.
    Pocock (1977) has one z, O'Brien and Fleming (1979) c/sqrt(share). At few seeds compare the p of a t-test with
    the nominal p: two to four looks at 3 to 10 seeds then err with 5.0 to 5.7 % for 5, but t against z with 11 to 21 %.
    """
    share = np.asarray(looks, float) / looks[-1]
    if (np.diff(share, prepend=0) < 1e-3).any():
        raise ValueError(f"looks must rise, 1/1000 of the last apart: {list(looks)}")
    shape = np.ones_like(share) if kind == "pocock" else 1 / np.sqrt(share)
    one_look, bonferroni = alpha / 2, alpha / (2 * len(share))
    low, high = (float(scipy.stats.norm.isf(tail)) for tail in (one_look, bonferroni))
    c = optimize.brentq(lambda c: crossing(share, c * shape) - alpha, low - 0.1, high + 0.1, xtol=1e-10)
    z = c * shape
    return z, np.asarray(2 * scipy.stats.norm.sf(z))


@lru_cache(maxsize=1)
def _nodes() -> tuple[Array, Array]:
    return special.roots_legendre(400)  # type: ignore[no-any-return]


def crossing(share: ArrayLike, z: ArrayLike) -> float:
    """The chance under no effect that |Z| reaches `z` at any look; `share` of the information at each, rising to 1.

    Recursive integration of Armitage, McPherson and Rowe (1969): Z·sqrt(share) is Brownian motion, and its density
    among studies not yet stopped is carried from look to look on 400 Gauss-Legendre nodes.
    """
    t = np.asarray(share, float)
    edge = np.minimum(np.asarray(z, float), 9.0) * np.sqrt(t)  # z = inf never stops
    nodes, weights = _nodes()
    steps = np.sqrt(np.diff(t, prepend=0.0))
    at, mass = np.zeros(1), np.ones(1)
    for half, sd in zip(edge, steps, strict=True):
        new = half * nodes
        density = np.exp(-(((new[:, None] - at) / sd) ** 2) / 2) @ mass / (sd * math.sqrt(2 * math.pi))
        at, mass = new, half * weights * density
    return float(1 - mass.sum())


# Seeds where they are needed: each row of a table is looked at until it is decided
#
# Holm's step-down over rows that each have planned looks (Maurer and Bretz 2013, "Multiple testing in group sequential
# trials using graphical approaches"). It is a closed test: any m true rows are held at α where each errs, over all its
# looks together, with chance α/m at most. So a row may be found by its p at *any* look it has had, against that look's
# level at α/(rows not yet found), since levels only rise as rows are found. Used here is the newest look a row has had:
# the past p of a row that goes on is not taken up again when levels rise, though it might be, because the verdict would
# then stand beside a gain and a p that deny it.
#
# A look's level of p is in proportion to its seeds, and exact for t-tests of normal differences. Of ladders with gains
# of 0 to 2 points, in 12 settings of s.d. and points, this saves 17 % (-4 to 28) of the runs of fixed seeds that
# resolve as many gains: not the 30 % that was hoped for. When it was chosen, one level for all looks (Pocock) saved 1
# point less, 7 less where hardly a row gets to ± points; sharing α among looks as Bonferroni would, 4 less.
#
# Moderated tests, and looks that lie closer, save 28 % (-9 to 42) of the runs of fixed seeds that plain t-tests
# resolve as much with, where plain looks save 14 % (-12 to 28), over 36 settings whose rungs' log s.d. have an s.d. of
# 0 to .35: 31 % where s.d. are equal, 25 % at .35. They took fewer runs than plain looks in each. See
# tests/kit/simulations.py, `--only saved looked`.

LOOKS = {"t": (4, 6, 8, 12, 16), "moderated": (4, 5, 6, 7, 8, 10, 12, 14, 16)}  # seeds at each planned look
MANY, FOUR = 9, 4  # rows, and seeds at the first look, from which moderated tests pay less for their fallback
LESS = 0.9  # of the level
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision:
    """One row at the look where it was decided, or where it stands: `look` counts from 1, 0 before the first.

    `low` and `high`: where precision decided it, the t-interval at 1 - α; else a repeated confidence interval, at 1 -
    this look's level of α for one row, which covers at all looks together with 1 - α and may leave out 0 in a row that
    is not resolved. p is that of `paired_t`, or of `moderated_t` by the `prior` of its look, not adjusted. nan and ""
    before a look.
    """

    gain: float
    low: float
    high: float
    p: float
    n: int
    look: int
    verdict: str
    decided: bool
    df: float = math.nan
    prior: Prior = PLAIN
    plain: "Decision | None" = None  # the row by the plain test, where somebody asked


@lru_cache(maxsize=1024)
def _levels(looks: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """p at each look, in proportion to its seeds, that t-tests without effect reach at any look with chance `alpha`."""
    if (np.diff(looks, prepend=1) < 1).any():
        raise ValueError(f"looks must rise, from 2 seeds on: {list(looks)}")
    levels = alpha * np.asarray(looks) / sum(looks)
    for _ in range(3):  # each leaves about a tenth of the error of 30 % that sharing α among looks has
        levels *= alpha / _reached(looks, levels)
    return tuple(levels.tolist())


@lru_cache(maxsize=1024)
def _known_levels(looks: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """As `_levels`, of tests whose s.d. is known: looks tell less anew, so each may have a seventh more."""
    if (np.diff(looks, prepend=1) < 1).any():
        raise ValueError(f"looks must rise, from 2 seeds on: {list(looks)}")
    n = np.asarray(looks, float)
    levels = alpha * n / n.sum()
    for _ in range(4):  # each leaves about a tenth of the error
        levels *= alpha / crossing(n / n[-1], scipy.stats.norm.isf(levels / 2))
    return tuple(levels.tolist())


def _bounds(plan: tuple[int, ...], m: int, test: str) -> Callable[[float], tuple[float, ...]]:
    """The levels of p at each look by α, for a table of m rows.

    A moderated p at one look goes on to the next nearly as that of a known s.d. does, and p of many rows are larger
    than they need be, so from nine rows and four seeds on levels are those of known s.d., at .9 of α. With fewer the
    table may have to fall back to the plain test, and pays for it as `moderated.SHARE` says.
    """
    if test != "moderated" or m < LEAST:
        return lambda alpha: _levels(plan, alpha)
    if m < MANY or plan[0] < FOUR:
        return lambda alpha: _levels(plan, SHARE * alpha)
    return lambda alpha: _known_levels(plan, LESS * alpha)


def _reached(looks: tuple[int, ...], levels: Array) -> float:
    """The chance that t-tests of normal values without effect have a p of at most its level at any look.

    One look is the last to have it, so this is Σ level · P(no later look | this one), and only what follows a look is
    drawn: t does not depend on the sum of squares, and given both the past does not matter. 10,000 draws a look with
    seed 0: s.e. 0.2 to 0.3 % of the result, however small that is.
    """
    rng = np.random.default_rng(0)
    p = (np.arange(100) + 0.5) / 100  # over the level: uniform
    total, squares = np.zeros((2, 0, 100 * len(p)))
    last = np.zeros(total.shape, bool)
    for added, n, level in zip(np.diff(looks, prepend=0), looks, levels, strict=True):
        step = rng.normal(0, math.sqrt(added), total.shape)
        total, squares = total + step, squares + step**2 / added + 2 * rng.standard_gamma((added - 1) / 2, total.shape)
        last &= (n - 1) * total**2 < special.stdtrit(n - 1, level / 2) ** 2 * (n * squares - total**2)
        t = np.tile(special.stdtrit(n - 1, level * p / 2), 100)
        new = 2 * rng.standard_gamma(n / 2, len(t))
        total = np.vstack((total, t * np.sqrt(n * new / (n - 1 + t * t))))
        squares, last = np.vstack((squares, new)), np.vstack((last, np.ones(len(t), bool)))
    return float(levels @ last.mean(1))


def decide(
    rows: Iterable[ArrayLike],
    points: float,
    looks: Sequence[int] | None = None,
    alpha: float = 0.05,
    step: float | None = None,
    test: Literal["moderated", "t"] = "t",
) -> list[Decision]:
    """One Decision a row of paired differences in seed order, by replaying planned looks: look k sees looks[k] values.

    A row is "helps" or "hurts" by group-sequential t-tests, the error of all rows together at most `alpha`; or "known
    to ± points" where its t-interval at 1 - `alpha` holds 0 and reaches no further than `points` from its mean. That
    stop can only take errors away, and takes no row that seems to have a gain. The others are "not resolved".

    "moderated": at each look the variance of a row leans on those of all rows, each at its newest look by then, and
    levels are those of `_bounds`; of a table that is not large, or too unlike, rows have the plain test at that look.

    What lies beyond the look at which a row was decided is not read: asked again with more seeds, the answer stays. (A
    moderated answer may not where some rows come late to a look, for others then leaned on fewer.) A
    row that lacks a value of its next look, being short or not finite there, stands at the look it has had. Differences
    that are `flat` have the p of `paired_t`, and no spread by which they could be known.
    """
    data = [np.asarray(row, float) for row in rows]
    data = [x if np.isfinite(x).all() else x[: int(np.argmin(np.isfinite(x)))] for x in data]
    plan = tuple(looks or LOOKS[test])
    level = _bounds(plan, len(data), test)
    own = level(alpha)
    at, seen, by = [0] * len(data), [(math.nan,) * 5] * len(data), [PLAIN] * len(data)
    found: set[int] = set()
    known: set[int] = set()

    def rejected() -> set[int]:
        levels = level(alpha / (len(data) - len(found)))
        return {i for i in range(len(data)) if i not in found and seen[i][3] <= levels[at[i] - 1]}

    for k, n in enumerate(plan):
        here = [i for i, x in enumerate(data) if i not in found | known and len(x) >= n]
        for i in here:
            at[i] = k + 1
        had = [x[: plan[look - 1]] for x, look in zip(data, at, strict=True) if look]
        told = prior([x for x in had if not flat(x, step=step)], of=len(data)) if test == "moderated" else PLAIN
        for i in here:
            by[i], seen[i] = told, _tested(data[i][:n], told, 1 - own[k], step)
        while len(found) < len(data) and (new := rejected()):
            found |= new
        for i in here:
            if i not in found and not flat(data[i][:n], step=step):
                gain, low, high, p, df = _tested(data[i][:n], told, 1 - alpha, step)
                if low <= 0 <= high and high - gain <= points:
                    known.add(i)
                    seen[i] = gain, low, high, p, df

    def said(i: int) -> str:
        if i in found:
            return "helps" if seen[i][0] > 0 else "hurts"
        return f"known to ± {points:g}" if i in known else "not resolved" if at[i] else ""

    return [
        Decision(
            *seen[i][:4],
            n=plan[at[i] - 1] if at[i] else 0,
            look=at[i],
            verdict=said(i),
            decided=i in found | known,
            df=seen[i][4],
            prior=by[i],
        )
        for i in range(len(data))
    ]


def _tested(x: Array, told: Prior, level: float, step: float | None) -> tuple[float, float, float, float, float]:
    return (*paired_t(x, level, step), math.nan) if flat(x, step=step) else moderated_t(x, told, level)[:5]


def seeds_asked(
    decisions: Iterable[Decision], rungs: Iterable[tuple[Key, Key]], looks: Sequence[int] = LOOKS["t"]
) -> dict[Key, int]:
    """How many seeds each rung should have, from the (above, below) of each row: those of the next look of open rows.

    The rungs of rows that are decided, or have had the last look, get no more than those rows used.
    """
    asked: dict[Key, int] = {}
    for row, pair in zip(decisions, rungs, strict=True):
        n = row.n if row.decided else looks[min(row.look, len(looks) - 1)]
        asked |= {rung: max(n, asked.get(rung, 0)) for rung in pair}
    return asked
