"""`python -m tests.kit.simulations`: what the statistics say of studies whose truth is known, as Markdown tables.

A study is a ladder of ten rungs, so nine gains, and each rung's noise enters two of them. ± is the Monte Carlo s.e.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import numpy as np
from scipy.stats import ttest_1samp

from harness import stats
from harness.stats import Array, Decision

RUNGS = 10
PAIRS = [(row + 1, row) for row in range(RUNGS - 1)]  # (above, below) of each gain
LADDER = (0, 0, 0, 0, 0.2, 0.3, 0.5, 1, 2)  # true gains in points
MIXED = (0, 0.3, 1, 0.5, 0, 2, 0, 0.2, 0)  # the same; a rung stops only when the gains on both its sides have
SAID = ("helps", "hurts")
TESTS: tuple[Literal["t", "moderated"], ...] = ("t", "moderated")

# Noise of accuracies by seed, studies x rungs x seeds, in points; s.d. of one seed about 1.


def normal(rng: np.random.Generator, shape: tuple[int, ...], rho: float = 0.0) -> Array:
    """Normal noise that correlates with ρ between any two rungs at one seed."""
    shared = rng.normal(size=(shape[0], 1, shape[2]))
    return np.asarray(math.sqrt(rho) * shared + math.sqrt(1 - rho) * rng.normal(size=shape))


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Student's t with 3 degrees of freedom: a wild seed now and then."""
    return np.asarray(rng.standard_t(3, shape) / math.sqrt(3))


def counted(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Accuracies of 94 % on 300 test images, so in steps of 0.33 points; s.d. 1.4."""
    return np.asarray(rng.binomial(300, 0.94, shape) / 3)


NOISE: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal, ρ = 0": normal,
    "normal, ρ = 0.5": lambda rng, shape: normal(rng, shape, 0.5),
    "t, 3 degrees of freedom": heavy,
    "binomial, 300 images": counted,
}


def gains(noise: Array, effects: Sequence[float] | int = 0) -> Array:
    """Paired differences, studies x rows x seeds, of rungs whose true gains over the rung below are `effects`."""
    return np.asarray(np.diff(noise, axis=1) + np.reshape(effects, (-1, 1)))


# Studies whose rungs differ in s.d.: `spread` is the s.d. of a rung's log s.d.


def fives(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Student's t with 5 degrees of freedom, s.d. 1."""
    return np.asarray(rng.standard_t(5, shape) * math.sqrt(3 / 5))


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Exponential less its mean, s.d. 1: of rungs whose s.d. differ the differences are skewed too."""
    return rng.exponential(size=shape) - 1


UNLIKE = {"normal": normal, "t, 5 degrees of freedom": fives, "exponential": skewed}


def unlike(
    rng: np.random.Generator, studies: int, m: int, n: int, spread: float, design: str, noise: str, rho: float = 0.3
) -> tuple[Array, Array]:
    """(differences, studies x m x n, and their true s.d., studies x m) of a ladder or a leave-one-out of m gains."""
    draw = UNLIKE[noise]
    sd = np.exp(spread * rng.normal(size=(studies, m + 1, 1)))
    made = math.sqrt(rho) * draw(rng, (studies, 1, n)) + math.sqrt(1 - rho) * draw(rng, (studies, m + 1, n))
    runs = sd * made
    a, b = (runs[:, 1:], runs[:, :-1]) if design == "ladder" else (runs[:, :1], runs[:, 1:])
    s, t = (sd[:, 1:, 0], sd[:, :-1, 0]) if design == "ladder" else (sd[:, :1, 0], sd[:, 1:, 0])
    return a - b, np.sqrt(s**2 + t**2 - 2 * rho * s * t)


def leant(rows: Array) -> tuple[Array, Array, str]:
    """Adjusted p by the plain and by the moderated test, as `compare` has them, and why the latter is the former."""
    told = stats.known(list(rows))
    plain, moderated = ([stats.moderated_t(x, by)[3] for x in rows] for by in (stats.PLAIN, told))
    return stats.holm(plain), stats.holm(moderated) / told.share, told.why


# What is measured: one number a study, whose mean and s.e. are printed, so rows of a study need not be independent.


def shown(numbers: Iterable[float], digits: int = 3) -> str:
    """Mean ± s.e. over studies; nan is a study that has nothing to say."""
    x = np.asarray(list(numbers), float)
    x = x[~np.isnan(x)]
    return f"{x.mean():.{digits}f} ± {x.std(ddof=1) / math.sqrt(len(x)):.{digits}f}" if len(x) > 1 else "–"


def family(tables: Iterable[Sequence[stats.Comparison | Decision]], effects: Sequence[float] = (0,) * 9) -> list[bool]:
    """Whether a study says of any row without an effect that it helps or hurts."""
    return [
        any(row.verdict in SAID for row, effect in zip(table, effects, strict=True) if not effect) for table in tables
    ]


def powers(tables: Iterable[Sequence[Decision]], effects: Sequence[float]) -> list[float]:
    """The share of a study's true gains that are resolved, with the right sign."""
    return [
        float(np.mean([row.verdict == "helps" for row, effect in zip(table, effects, strict=True) if effect > 0]))
        for table in tables
    ]


def trained(table: Sequence[Decision], looks: Sequence[int] = stats.LOOKS["t"]) -> int:
    """Runs of all rungs when the study is over."""
    return sum(stats.seeds_asked(table, PAIRS, looks).values())


def fixed(draws: Array, effects: Sequence[float], points: float) -> Array:
    """Of 2 to as many seeds as there are: mean shares n x 3 by t-tests, Holm and 95 % intervals on n seeds.

    True gains that are resolved; rows that are resolved or known to ± points, by `decide`'s rule that the interval of a
    known row holds 0; and without that rule, by its width alone.
    """
    found = []
    for n in range(2, draws.shape[-1] + 1):
        test = ttest_1samp(draws[..., :n], 0, axis=-1)
        low, high = test.confidence_interval()
        resolved, fine = np.apply_along_axis(stats.holm, 1, test.pvalue) <= 0.05, (high - low) / 2 <= points
        helps = (resolved & (low + high > 0))[:, np.asarray(effects) > 0]
        found.append([share.mean() for share in (helps, resolved | fine & (test.pvalue > 0.05), resolved | fine)])
    return np.array(found)


def saving(runs: Iterable[int], goal: float, shares: Array) -> str:
    """The fewest seeds for every rung with at least the share `goal`, and the share of their runs that is saved.

    Seeds are whole, up to one more than needed; the s.e. is that of `decide`'s runs.
    """
    enough = shares >= goal
    n = 2 + int(np.argmax(enough)) if enough.any() else 1 + len(shares)
    beyond = "" if enough.any() else "> "
    return f"{beyond}{n} | {beyond}{shown(1 - r / (RUNGS * n) for r in runs)}"


# The tables


def nothing(rng: np.random.Generator, studies: int) -> None:
    """A/A by `compare`."""
    print("## Studies without any effect: the share with a verdict (at most .05)\n")
    print("| noise | n | Holm, t | Holm, sign-flip | unadjusted t |\n|:--|--:|--:|--:|--:|")
    for name, noise in NOISE.items():
        for n in (3, 5, 8, 16):
            draws = gains(noise(rng, (studies, RUNGS, n)))
            t, flips = ([stats.compare(study, test) for study in draws] for test in ("t", "sign-flip"))
            raw = [any(row.p <= 0.05 for row in table) for table in t]
            print(f"| {name} | {n} | {shown(family(t))} | {shown(family(flips))} | {shown(raw)} |", flush=True)


SPREADS = (0, 0.3, 0.6, 1)
TABLES = ((5, 3), (5, 5), (9, 3), (9, 5), (9, 16), (40, 4))  # rows and seeds
MEASURED = ((5, 5, 2), (9, 3, 2), (9, 5, 2), (9, 8, 1.5), (9, 16, 1), (40, 5, 2))  # and gains in s.d. of their own rows


def leaning(rng: np.random.Generator, studies: int) -> None:
    """The moderated test beside the plain one: errors of studies without an effect, and power."""
    spreads = " | ".join(f"spread {spread:g}" for spread in SPREADS)
    print("\n## Family-wise error of plain and moderated tests, without any effect (at most .05)\n")
    print(f"The s.d. of rungs' log s.d. is the spread. Plain / moderated, s.e. {math.sqrt(0.0475 / studies):.3f}.\n")
    print(f"| design | noise | gains | n | {spreads} |\n|:--|:--|{'--:|' * 6}")
    for design in ("ladder", "leave-one-out"):
        for noise in UNLIKE:
            for m, n in TABLES:
                cells = []
                for spread in SPREADS:
                    both = [leant(rows)[:2] for rows in unlike(rng, studies, m, n, spread, design, noise)[0]]
                    plain, moderated = (float(np.mean([p.min() <= 0.05 for p in ps])) for ps in zip(*both, strict=True))
                    cells.append(f"{plain:.3f} / {moderated:.3f}")
                print(f"| {design} | {noise} | {m} | {n} | {' | '.join(cells)} |", flush=True)
    print("\n## Power of plain and moderated tests: the share of gains resolved\n")
    print("Every gain is as many s.d. of its own row as the table says, of normal noise. Plain / moderated (the share")
    print("of studies in which the latter fell back to the former).\n")
    print(f"| design | gains | n | s.d. | {spreads} |\n|:--|{'--:|' * 7}")
    for design in ("ladder", "leave-one-out"):
        for m, n, size in MEASURED:
            cells = []
            for spread in SPREADS:
                draws, sd = unlike(rng, max(2, studies // 4), m, n, spread, design, "normal")
                told = [leant(rows) for rows in draws + size * sd[..., None]]
                plain, moderated = (np.mean([p <= 0.05 for p in ps]) for ps in list(zip(*told, strict=True))[:2])
                fell = np.mean([bool(why) for *_, why in told])
                cells.append(f"{plain:.2f} / {moderated:.2f} ({fell:.2f})")
            print(f"| {design} | {m} | {n} | {size:g} | {' | '.join(cells)} |", flush=True)


def percentile(rng: np.random.Generator, x: Array, times: int = 1000) -> Array:
    """Percentile bootstrap 95 % intervals of the means of rows, rows x 2."""
    means = np.array([x[:, rng.integers(0, x.shape[1], x.shape[1])].mean(1) for _ in range(times)])
    return np.asarray(np.quantile(means, (0.025, 0.975), axis=0).T)


def coverage(rng: np.random.Generator, studies: int) -> None:
    """Intervals of one gain."""
    print("\n## Coverage of the 95 % interval of one gain\n")
    print("| noise | n | t | percentile bootstrap |\n|:--|--:|--:|--:|")
    for name, noise in NOISE.items():
        for n in (3, 5, 8):
            draws = gains(noise(rng, (2 * studies, 2, n)))[:, 0]
            cover = [
                [low <= 0 <= high for low, high in ends]
                for ends in (map(stats.t_interval, draws), percentile(rng, draws))
            ]
            print(f"| {name} | {n} | {shown(cover[0])} | {shown(cover[1])} |", flush=True)


def looked(rng: np.random.Generator, studies: int) -> None:
    """A/A by `decide`, no stop for precision, so that all looks are had."""
    print("\n## `decide` without a stop for precision: the share of studies with a false verdict (at most .05)\n")
    print("| true gains | noise | plain | moderated |\n|:--|:--|--:|--:|")
    one = (0, *[6] * 8)  # the one null row has all of α in the end
    for title, effects in (("none", (0,) * 9), ("eight of nine, 6 points", one)):
        for name, noise in NOISE.items():
            draws = gains(noise(rng, (studies, RUNGS, 16)), effects)
            wrong = [shown(family([stats.decide(study, 0, test=test) for study in draws], effects)) for test in TESTS]
            print(f"| {title} | {name} | {' | '.join(wrong)} |", flush=True)
    for spread in SPREADS[1:]:
        draws, _ = unlike(rng, studies, RUNGS - 1, 16, spread, "ladder", "normal")
        wrong = [shown(family([stats.decide(study, 0, test=test) for study in draws])) for test in TESTS]
        print(f"| none | normal, spread {spread:g} | {' | '.join(wrong)} |", flush=True)


def decided(
    rng: np.random.Generator, studies: int, effects: Sequence[float] = LADDER, every: Sequence[float] = (0.3, 0.5, 1)
) -> None:
    """`decide` against fixed designs that find as much."""
    rows: list[str] = []
    checks: list[str] = []
    for sd in SDS:
        draws = gains(sd * normal(rng, (studies, RUNGS, 40)), effects)
        for points in every:
            tables = [stats.decide(study[:, : stats.LOOKS["t"][-1]], points) for study in draws]
            runs, power = [trained(table) for table in tables], powers(tables, effects)
            settled = [float(np.mean([row.decided for row in table])) for table in tables]
            goals = [float(np.mean(share)) for share in (power, settled, settled)]
            saved = [
                saving(runs, goal, shares) for goal, shares in zip(goals, fixed(draws, effects, points).T, strict=True)
            ]
            last = shown(1 - r / (RUNGS * stats.LOOKS["t"][-1]) for r in runs)
            rows.append(
                f"| {sd} | {points} | {shown(family(tables, effects), 4)} | {shown(runs, 1)} | {shown(power)} |"
                f" {saved[0]} | {shown(settled)} | {saved[1]} | {saved[2]} | {last} |"
            )
            checks.append(f"| {sd} | {points} | {precision(tables, effects, points)} |")
    print(f"\n## `decide` against fixed seeds; true gains {', '.join(map(str, effects))}\n")
    print(
        "Each n: the fewest seeds for every rung with which t-tests after Holm and 95 % intervals find as much, chosen"
    )
    print("knowing gains and s.d.; `decide` knows neither. (a) as many true gains are resolved. (b) As many rows are")
    print(
        "decided: resolved or known to ± points by `decide`'s rule, whose interval must hold 0. In a fixed design 5 %"
    )
    print(
        "of rows without a gain fail that at any n, so (c) is (b) with fixed seeds let off that rule. Saved: share of"
    )
    print("runs. False positives are shares of studies.\n")
    print(
        "| s.d. of a seed | points | false positives | runs | power | n (a) | saved | decided | n (b) | saved", end=""
    )
    print(f" | n (c) | saved | saved of {stats.LOOKS['t'][-1]} seeds each |\n|{'--:|' * 13}")
    print("\n".join(rows), flush=True)
    print("\n## Rows known to ± points: how near the truth they are, and whether intervals cover it\n")
    print("| s.d. of a seed | points | known | of these within points of the truth | covered | of all rows covered |")
    print(f"|{'--:|' * 6}")
    print("\n".join(checks), flush=True)


ALIKE, SDS = (0, 0.15, 0.35), (0.15, 0.25, 0.35, 0.5)


def saved(rng: np.random.Generator, studies: int, every: Sequence[float] = (0.3, 0.5, 1)) -> None:
    """`decide` by both tests against fixed seeds that resolve as many gains by plain t-tests."""
    print(f"\n## What `decide` saves by either test; true gains {', '.join(map(str, LADDER))}\n")
    print(
        "Of the runs of the fewest seeds for every rung with which plain t-tests after Holm resolve as many true gains,"
    )
    print("chosen knowing gains and s.d.; spread: s.d. of rungs' log s.d. False positives are shares of studies.\n")
    print("| spread | s.d. of a seed | points | power: plain | moderated | false positives | moderated | runs", end="")
    print(f" | moderated | saved | moderated |\n|{'--:|' * 11}")
    both: list[list[float]] = []
    for spread in ALIKE:
        for sd in SDS:
            unit = sd * np.exp(spread * rng.normal(size=(studies, RUNGS, 1)))
            draws = gains(unit * normal(rng, (studies, RUNGS, 40)), LADDER)
            for points in every:
                found = fixed(draws, LADDER, points)[:, 0]
                cells, shares = [], []
                for test in TESTS:
                    tables = [stats.decide(study[:, :16], points, test=test) for study in draws]
                    power = powers(tables, LADDER)
                    runs = float(np.mean([trained(table, stats.LOOKS[test]) for table in tables]))
                    n = 2 + int(np.argmax(found >= np.mean(power))) if found[-1] >= np.mean(power) else 41
                    shares.append(1 - runs / (RUNGS * n))
                    cells.append((f"{np.mean(power):.3f}", f"{np.mean(family(tables, LADDER)):.3f}", f"{runs:.1f}"))
                both.append(shares)
                told = [cell for pair in zip(*cells, strict=True) for cell in pair]
                told += [f"{share:.2f}" for share in shares]
                print(f"| {spread:g} | {sd} | {points} | {' | '.join(told)} |", flush=True)
    mean, least = np.mean(both, axis=0), np.min(both, axis=0)
    print(f"\nOn average plain tests save {mean[0]:.3f} of the runs, moderated ones {mean[1]:.3f}; at least", end=" ")
    print(f"{least[0]:.2f} and {least[1]:.2f}.")


def precision(tables: list[list[Decision]], effects: Sequence[float], points: float) -> str:
    """Cells: the share of rows known to ± points; of these near the truth and covered; of all rows covered."""
    pairs = [list(zip(table, effects, strict=True)) for table in tables]
    known = [[(row, effect) for row, effect in pair if row.verdict.startswith("known")] for pair in pairs]
    near = [[abs(row.gain - effect) <= points for row, effect in pair] for pair in known]
    covered, every = (
        [[row.low <= effect <= row.high for row, effect in pair] for pair in some] for some in (known, pairs)
    )
    shares = [len(some) / len(effects) for some in known]
    return " | ".join([shown(shares), *map(clustered, (near, covered, every))])


def clustered(cells: Sequence[Sequence[bool]]) -> str:
    """The share of all studies' cells that hold, ± its s.e. as a ratio of sums over studies, whose rows correlate."""
    total, n = np.array([sum(c) for c in cells]), np.array([len(c) for c in cells])
    if not n.sum():
        return "–"
    share = total.sum() / n.sum()
    return f"{share:.3f} ± {math.sqrt(float(((total - share * n) ** 2).sum())) / n.sum():.3f}"


def main() -> None:
    p = argparse.ArgumentParser(prog="tests.kit.simulations", description=__doc__)
    p.add_argument("--studies", type=int, default=2000, metavar="N", help="a setting (default: %(default)s)")
    p.add_argument("--seed", type=int, default=1, help="of the draws (default: %(default)s)")
    p.add_argument(
        "--only", nargs="+", metavar="TABLE", help="nothing, coverage, leaning, looked, decided, mixed, saved"
    )
    options = p.parse_args()
    began = time.monotonic()
    mixed = partial(decided, effects=MIXED, every=(0.5,))
    every = {"nothing": nothing, "coverage": coverage, "leaning": leaning, "looked": looked, "decided": decided}
    every |= {"mixed": mixed, "saved": saved}
    for name in options.only or every:
        every[name](np.random.default_rng(options.seed), options.studies)
    print(f"\n{options.studies} studies a setting, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
