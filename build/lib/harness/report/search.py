"""The report of a hyper-parameter search: its trials as tables, figures and one page, from an Optuna study.

The first objective is validation top-1 in %, maximised; a second, if any, is a cost. What Optuna computes (importances,
the Pareto front) is Optuna's; it is drawn here, since its own figures are not made for print.
"""

from __future__ import annotations

import math
import shlex
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from harness import Problem, __version__, one_line, stats
from harness.paths import write_atomic
from harness.report import Report, figures, page, tables
from harness.report.figures import HELPS, HURTS, INK, LONG, SEED, SMALL, Array

if TYPE_CHECKING:
    import optuna

BEST, TOLD = 10, 5  # trials in the table, and in the text
ENOUGH = 10  # complete trials: of fewer, importances are noise
SHUFFLES = 99  # of the scores: 3 ms each for 100 trials of 4 parameters
ACROSS, PANELS = 10, 12  # parameters that parallel coordinates, and slices, have room for
SCORE = "validation top-1 (%)"
COSTS = {"seconds": "seconds of a trial", "gmacs": "GFLOPs of one image's forward"}
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
POOL = (
    "Valid for random search, whose trials are independent. An adaptive sampler (TPE) draws later trials better than "
    "earlier ones: there the curve describes the trials seen, not what a shorter search would have reached."
)


@dataclass(frozen=True)
class Trial:
    number: int
    state: str  # of STATES
    score: float  # nan unless complete
    cost: float  # the second objective; nan without one
    scores: tuple[float, ...]  # by seed
    reached: tuple[int, float] | None  # the last (step, value) that it reported before it was pruned
    values: Mapping[str, Any]  # by path
    space: Mapping[str, optuna.distributions.BaseDistribution]
    told: Mapping[str, Any]  # spec, seconds, gmacs, why
    retries: int | None  # the trial that it takes up again

    @property
    def sd(self) -> float:
        return stats.mean_sd(self.scores)[1] if len(self.scores) > 1 else math.nan

    @property
    def worth(self) -> float:
        """Its score; of a pruned trial what it last reported; nan of neither."""
        return self.reached[1] if self.reached else self.score


def read(study: optuna.Study) -> list[Trial]:
    return [_trial(trial) for trial in study.get_trials(deepcopy=False)]


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    values = [*(trial.values or []), math.nan, math.nan][:2] if trial.state.name == "COMPLETE" else [math.nan] * 2
    last = max(trial.intermediate_values, default=None) if trial.state.name == "PRUNED" else None
    reached = None if last is None else (last, trial.intermediate_values[last])
    retries = trial.user_attrs.get("failed_trial", trial.system_attrs.get("failed_trial"))
    return Trial(
        number=trial.number,
        state=STATES[trial.state.name],
        score=values[0] if math.isfinite(values[0]) else math.nan,
        cost=values[1],
        scores=tuple(float(score) for score in (trial.user_attrs.get("scores") or {}).values()),
        reached=reached if reached and math.isfinite(reached[1]) else None,
        values=trial.params,
        space=trial.distributions,
        told=trial.user_attrs,
        retries=retries,
    )


def complete(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if not math.isnan(trial.score)]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials from the best on, then pruned ones by what they reached, then the others; ties by number."""

    def key(trial: Trial) -> tuple[bool, bool, float, int]:
        scored = not math.isnan(trial.worth)
        return math.isnan(trial.score), not scored, -trial.worth if scored else 0.0, trial.number

    return sorted(trials, key=key)


# --- the space -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """One parameter's range, that of all trials together, on which a value has a place in [0, 1]."""

    path: str
    kind: str
    low: float
    high: float
    log: bool
    step: float | None
    choices: tuple[Any, ...]
    own: optuna.distributions.BaseDistribution

    def number(self, value: Any) -> float:
        """The value itself, or the index of a choice."""
        return float(self.own.to_internal_repr(value))

    def at(self, number: float) -> float:
        if self.choices:
            return (number + 0.5) / len(self.choices)
        low, high, x = (math.log(end) if self.log else end for end in (self.low, self.high, number))
        return (x - low) / (high - low) if high > low else 0.5

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """(number, text) of each."""
        if self.choices:
            return [(i, shown(choice, 14)) for i, choice in enumerate(self.choices)]
        even = MaxNLocator(most - 1, steps=[1, 2, 5, 10], integer=self.kind == "int")
        whole: Any = LogLocator(numticks=most) if self.log else even
        spare = 1e-9 * (self.high - self.low)  # 0.3 as 3 · 0.1 is above 0.3
        every = whole.tick_values(self.low, self.high)
        found = [float(tick) for tick in every if self.low - spare <= tick <= self.high + spare]
        if len(found) < 2:
            found = sorted({self.low, self.high})
        return [(tick, f"{tick:.4g}") for tick in found]


def scales(trials: Sequence[Trial]) -> list[Scale]:
    """One a parameter, in the order in which trials first had it."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for path, own in trial.space.items():
            seen.setdefault(path, []).append(own)
    made = []
    for path, every in seen.items():
        last = every[-1]
        choices = tuple(getattr(last, "choices", ()))
        low, high = (0, len(choices)) if choices else (min(d.low for d in every), max(d.high for d in every))
        kind = "categorical" if choices else "int" if type(last).__name__.startswith("Int") else "float"
        log, step = bool(getattr(last, "log", False)), getattr(last, "step", None)
        made.append(Scale(path, kind, float(low), float(high), log, step, choices, last))
    return made


def shown(value: Any, longest: int = LONG) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value), longest)


def space_table(space: Sequence[Scale]) -> pd.DataFrame:
    rows = []
    for own in space:
        spread = ", ".join(map(shown, own.choices)) if own.choices else f"{own.low:.6g} to {own.high:.6g}"
        stepped = own.step not in (None, 1 if own.kind == "int" else None)
        scale = "–" if own.choices else "log" if own.log else f"steps of {own.step:g}" if stepped else "linear"
        rows.append((one_line(own.path), own.kind, spread, scale))
    return pd.DataFrame(rows, columns=["path", "kind", "range", "scale"])


# --- tables ----------------------------------------------------------------------------------------------------------


def score_of(trial: Trial) -> str:
    if math.isnan(trial.score):
        return "–"
    return f"{trial.score:.2f}" + (f" ± {trial.sd:.2f}" if not math.isnan(trial.sd) else "")


def state_of(trial: Trial) -> str:
    why = one_line(str(trial.told.get("why") or ""))
    if trial.reached:
        why = f"at {trial.reached[1]:.2f}, step {trial.reached[0]}{'; ' * bool(why)}{why}"
    if trial.state == "complete" and math.isnan(trial.score):
        why = why or "not finite"
    again = "" if trial.retries is None else f", takes up {trial.retries}"
    return f"{trial.state}{': ' * bool(why)}{why}{again}"


def trial_table(trials: Sequence[Trial], space: Sequence[Scale], cost: str) -> pd.DataFrame:
    """One row a trial as text; `cost` names the second objective, or is empty."""
    made: dict[str, list[str]] = {
        "trial": [str(trial.number) for trial in trials],
        SCORE: [score_of(trial) for trial in trials],
    }
    if cost and cost != "seconds":
        made[COSTS.get(cost, cost)] = [_number(trial.cost) for trial in trials]
    for own in space:
        found = [trial.values.get(own.path, "–") for trial in trials]
        made[one_line(own.path)] = [shown(value) for value in found]
    made["seconds"] = [_number(trial.told.get("seconds")) for trial in trials]
    made["state"] = [state_of(trial) for trial in trials]
    return pd.DataFrame(made)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def trial_csv(trials: Sequence[Trial], space: Sequence[Scale]) -> str:
    """All trials by number, unrounded."""

    def plain(value: Any) -> Any:
        return one_line(value, 1000) if isinstance(value, str) else value

    rows = [
        {"trial": trial.number, "state": trial.state, "score": trial.score, "score_sd": trial.sd}
        | {"seeds": len(trial.scores)}
        | dict(zip(("step", "reached"), trial.reached or (None, None), strict=True))
        | {one_line(own.path): plain(trial.values.get(own.path)) for own in space}
        | {name: plain(trial.told.get(name)) for name in ("seconds", "gmacs", "spec", "why")}
        | {"takes_up": trial.retries}
        for trial in trials
    ]
    return tables.comma_separated(pd.DataFrame(rows, dtype=object))


def markdown(table: pd.DataFrame) -> str:
    safe = table.rename(columns=tables.literal)
    return tables.markdown(safe, safe.columns)


# --- importances -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Importance:
    path: str
    share: float  # of the sum over all parameters
    chance: float  # the share that 95 % of shuffles stay below
    resolved: bool  # at most 5 % of shuffled scores give as much


def importances(trials: Sequence[Trial]) -> list[Importance] | str:
    """By PED-ANOVA, the greatest first; or one line that says why there are none.

    How far a parameter's values in the best tenth of trials, five at least, are from those in all (Watanabe et al.
    2023). Held against the same of shuffled scores, for it is above 0 of pure noise too.
    """
    done = complete(trials)
    paths = list(dict.fromkeys(path for trial in done for path, own in trial.space.items() if not own.single()))
    if len(done) < ENOUGH:
        return f"Left out: they would rest on {_count(len(done), 'complete trial')}, and below {ENOUGH} are noise."
    if len(paths) < 2:
        return "Left out: fewer than two parameters vary."
    scores = np.array([trial.score for trial in done])
    if np.ptp(scores) == 0:
        return "Left out: all scores are equal."
    try:
        own, shuffled = _ped_anova(done, paths, scores)
    except Exception as error:  # an evaluator that fails takes no report with it
        return f"Left out: PED-ANOVA failed: {one_line(f'{type(error).__name__}: {error}', 200)}"
    total = own.sum()
    if not total > 0:
        return "Left out: the best trials have the values of all."
    chance = np.quantile(shuffled, 0.95, axis=0) / total
    above = (1 + (shuffled >= own).sum(0)) / (1 + SHUFFLES) <= 0.05
    rows = zip(paths, (own / total).tolist(), chance.tolist(), above.tolist(), strict=True)
    return sorted((Importance(*row) for row in rows), key=lambda row: -row.share)


def _ped_anova(done: Sequence[Trial], paths: list[str], scores: Array) -> tuple[Array, Array]:
    """Importances of the scores, and shuffles x parameters of them shuffled."""
    import optuna

    with _quiet():
        copy = optuna.create_study()  # in memory: a database would be asked for all trials at each shuffle
        for trial in done:
            copy.add_trial(optuna.create_trial(params=dict(trial.values), distributions=dict(trial.space), value=0.0))
        judge = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(done)))

        def of(values: Array) -> list[float]:
            found = optuna.importance.get_param_importances(
                copy, evaluator=judge, params=paths, target=lambda trial: -float(values[trial.number]), normalize=False
            )
            return [found[path] for path in paths]

        rng = np.random.default_rng(0)
        return np.array(of(scores)), np.array([of(rng.permutation(scores)) for _ in range(SHUFFLES)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna neither logs a study of the report's own nor warns that a target is to be low: it is."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


# --- figures ---------------------------------------------------------------------------------------------------------


def room(worths: Sequence[float]) -> tuple[float, float]:
    """Limits of the scores: from the best down to four times as far as the better three quarters reach.

    A trial that collapsed to 10 % would leave the others no room.
    """
    x = np.asarray(worths, float)
    best = x.max()
    return figures.frame([max(x.min(), best - 4 * (best - np.quantile(x, 0.25))), best], [])


def below(axis: Axes, x: Sequence[float], worths: Sequence[float]) -> None:
    """An arrow at the edge for each that is beyond the frame."""
    low = axis.get_ylim()[0]
    out = [at for at, worth in zip(x, worths, strict=True) if worth < low]
    if out:  # an empty line that is not clipped has no box, and leaves no layout
        axis.plot(out, [low] * len(out), "v", ms=6, color=SEED, clip_on=False, zorder=4, label="_below")


def dots(axis: Axes, trials: Sequence[Trial], x: Mapping[int, float]) -> None:
    """Scores at x by trial number: complete ones filled, pruned ones hollow at what they reached, the best in blue."""
    best = ranked(trials)[0]
    for kind, face in (("complete", SEED), ("pruned", "none")):
        own = [trial for trial in trials if trial.number in x and trial.state == kind and trial.worth == trial.worth]
        if own:
            at, worths = [x[trial.number] for trial in own], [trial.worth for trial in own]
            said = "pruned, at what it last reported" if kind == "pruned" else "complete"
            axis.scatter(at, worths, s=30, facecolors=face, edgecolors="0.35", lw=0.9, zorder=3, label=said)
            below(axis, at, worths)
    if best.number in x and not math.isnan(best.score):
        axis.plot([x[best.number]], [best.score], "o", ms=8, color=HELPS, mec="white", zorder=5, label="_best")


@figures.style()
def history(label: str, trials: Sequence[Trial]) -> Figure | None:
    """Scores in the order of the trials, and the best so far; None where nothing was scored."""
    scored = [trial for trial in trials if not math.isnan(trial.worth)]
    if not scored:
        return None
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.set_ylim(*room([trial.worth for trial in scored]))
    axis.set_xlim(-0.02 * len(trials) - 0.5, 1.02 * len(trials) - 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    dots(axis, scored, {trial.number: float(trial.number) for trial in scored})
    for trial in complete(trials):
        axis.plot([trial.number] * len(trial.scores), trial.scores, "_", ms=5, color=SEED, zorder=2, label="_seeds")
    failed = [trial.number for trial in trials if trial.state == "failed"]
    if failed:
        low = axis.get_ylim()[0]
        cross: dict[str, Any] = {"ms": 8, "color": HURTS, "mec": "white", "clip_on": False, "zorder": 4}
        axis.plot(failed, [low] * len(failed), "X", label="failed", **cross)
    done = complete(trials)
    if done:
        so_far = np.maximum.accumulate([trial.score for trial in done])
        x, y = [*(trial.number for trial in done), len(trials) - 1], [*so_far, so_far[-1]]
        axis.step(x, y, where="post", color=HELPS, lw=1.8, label="best so far")
    axis.set(xlabel="trial", ylabel=SCORE)
    axis.legend(loc="lower right", fontsize=SMALL, framealpha=0.9)
    if done:
        best = ranked(done)[0]
        told = [f"best: {best.score:.2f}, trial {best.number}"]
        figures.beside(axis, [(len(trials) - 1, best.score)], told, [HELPS])
    figures.heading(figure, label, "trials in their order")
    return figure


def hue(share: float) -> Any:
    """From light, the worst, to dark: even to eyes that see no colours."""
    return colormaps["viridis"](0.9 * (1 - share))


@figures.style()
def parallel(label: str, trials: Sequence[Trial], space: Sequence[Scale]) -> Figure | None:
    """A line a complete trial through its values to its score; None without two parameters and two trials."""
    done = ranked(complete(trials))
    if len(done) < 2 or len(space) < 2:
        return None
    low, high = room([trial.score for trial in done])
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.15, len(space) + 0.35), ylim=(-0.04, 1.04), yticks=[])
    rng = np.random.default_rng(0)
    for trial in reversed(done):
        share = max(0.0, (trial.score - low) / (high - low))
        height: list[float | None] = []
        for own in space:
            at = own.at(own.number(trial.values[own.path])) if own.path in trial.values else None
            if at is not None and own.choices:  # apart, that lines through one choice can be told
                at += 0.5 / len(own.choices) * rng.uniform(-0.5, 0.5)
            height.append(at)
        first = trial is done[0]
        path = _threaded([*height, share])
        line = {"lw": 2.6 if first else 1.3, "alpha": 1.0 if first else 0.75, "zorder": 3 if first else 2}
        axis.add_patch(PathPatch(path, facecolor="none", edgecolor=hue(share), label="trial", **line))
    white = [withStroke(linewidth=3, foreground="white")]
    ends = MaxNLocator(5).tick_values(low, high)
    marked = [*([(own.at(tick), said) for tick, said in own.ticks()] for own in space)]
    marked.append([((tick - low) / (high - low), f"{tick:g}") for tick in ends if low <= tick <= high])
    for x, marks in enumerate(marked):
        axis.plot([x, x], [0, 1], color="0.5", lw=1, zorder=4)
        for y, said in marks:
            axis.plot([x - 0.012, x + 0.012], [y, y], color="0.35", lw=1, zorder=4)
            style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "zorder": 5, "path_effects": white}
            axis.text(x + 0.03, y, said, va="center", **style)
    scored = [*((own.path) for own in space), SCORE]
    axis.set_xticks(range(len(scored)), [_stacked(path) for path in scored], color=INK)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figures.heading(figure, label, f"{_count(len(done), 'complete trial')}, the best (trial {done[0].number}) thick")
    return figure


def _threaded(heights: Sequence[float | None]) -> Curve:
    """A smooth line through a height at each x = 0, 1, ...; broken where one is missing."""
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for x, (before, y) in enumerate(zip([None, *heights], heights, strict=False)):
        if y is None:
            continue
        if before is None:
            points.append((x, y))
            codes.append(Curve.MOVETO)
        else:
            points += [(x - 0.6, before), (x - 0.4, y), (x, y)]
            codes += [Curve.CURVE4] * 3
    return Curve(points, codes)


def _stacked(path: str) -> str:
    """A path on up to three lines."""
    *front, last = one_line(path, LONG).split(".")
    return "\n".join(filter(None, [".".join(front) + "." * bool(front), last]))


@figures.style()
def importance(label: str, rows: Sequence[Importance]) -> Figure:
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for i, row in enumerate(rows):
        face = HELPS if row.resolved else "none"
        axis.barh(i, 100 * row.share, 0.6, facecolor=face, edgecolor=HELPS, alpha=0.6, lw=1.2)
        axis.plot([100 * row.chance] * 2, [i - 0.36, i + 0.36], color=INK, lw=1.6, zorder=3)
        at = 100 * max(row.share, row.chance)
        axis.annotate(f"{100 * row.share:.0f} %", (at, i), (6, 0), textcoords="offset points", va="center", color=INK)
    axis.set(xlabel="share of the importance (%)", yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticklabels([one_line(row.path, LONG) for row in rows], color=INK)
    axis.set_xlim(0, 112 * max(max(row.share, row.chance) for row in rows))
    axis.grid(axis="y", visible=False)
    figures.heading(figure, label, "what the best trials share (hollow: within chance, whose 95 % is the black line)")
    return figure


@figures.style()
def slices(label: str, trials: Sequence[Trial], space: Sequence[Scale]) -> Figure | None:
    """Scores against each parameter, a panel each; None where nothing was scored."""
    scored = [trial for trial in trials if not math.isnan(trial.worth)]
    if not scored or not space:
        return None
    rows = math.ceil(len(space) / 4)
    wide = math.ceil(len(space) / rows)
    figure = Figure(figsize=(11, 0.6 + 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, wide, sharey=True, squeeze=False)
    axes[0, 0].set_ylim(*room([trial.worth for trial in scored]))
    rng = np.random.default_rng(0)
    for own, axis in zip(space, axes.flat, strict=False):
        x = {t.number: own.number(t.values[own.path]) for t in scored if own.path in t.values}
        if own.choices:
            x = {number: at + rng.uniform(-0.2, 0.2) for number, at in x.items()}  # apart, that they can be counted
            axis.set_xlim(-0.5, len(own.choices) - 0.5)
        elif own.log:
            axis.set_xscale("log")
        ticks = own.ticks(4)
        crowded = sum(len(said) for _, said in ticks) > 22
        axis.set_xticks([tick for tick, _ in ticks], [said for _, said in ticks])
        axis.set_xticks([], minor=True)
        axis.tick_params(axis="x", labelrotation=30 * crowded, labelsize=SMALL)
        if not own.choices and own.high > own.low:
            axis.set_xlim(*_around(own))
        dots(axis, scored, x)
        axis.set_xlabel(_stacked(own.path), color=INK)
    for axis in axes[:, 0]:
        axis.set_ylabel(SCORE)
    for axis in axes.flat[len(space) :]:
        axis.set_visible(False)
    figures.heading(figure, label, "scores by each parameter (blue: the best trial, hollow: pruned)")
    return figure


def _around(own: Scale) -> tuple[float, float]:
    """Its range and 4 % on either side."""
    low, high = (math.log(end) if own.log else end for end in (own.low, own.high))
    spare = 0.04 * (high - low)
    return (math.exp(low - spare), math.exp(high + spare)) if own.log else (low - spare, high + spare)


def pool(trials: Sequence[Trial]) -> list[float]:
    """What a draw of a trial is worth; failed ones are no draw."""
    return [trial.worth for trial in trials if not math.isnan(trial.worth)]


@figures.style()
def best_of_n(label: str, worths: Sequence[float]) -> Figure | None:
    """The expected best of n trials, and the interval of the median best; None of fewer than two."""
    if len(worths) < 2:
        return None
    n = np.arange(1, len(worths) + 1)
    best, (low, high) = stats.best_of_n(worths, n), stats.best_of_n_interval(worths, n)
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axis = figure.subplots()
    seen = [*best, *low[np.isfinite(low)], *high[np.isfinite(high)]]
    bottom, top = figures.frame(best, seen)
    axis.set(xlim=(1 - 0.02 * len(n), 1.02 * len(n)), ylim=figures.percent(bottom, top))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for where, alpha in ((np.isfinite(high), 0.18), (np.isinf(high) | np.isinf(np.roll(high, -1)), 0.07)):
        upper, lower = np.minimum(high, top), np.maximum(low, bottom)
        axis.fill_between(n, lower, upper, where=where, color=HELPS, alpha=alpha, lw=0, label="its 95 % interval")
    middle = np.quantile(worths, 0.5 ** (1 / n), method="inverted_cdf")
    axis.plot(n, middle, color=HELPS, lw=1, ls="--", label="median best")
    axis.plot(n, best, color=HELPS, lw=2.2, label="expected best")
    lines, told = axis.get_legend_handles_labels()
    axis.legend([lines[3], lines[2], lines[0]], [told[3], told[2], told[0]], loc="lower right", fontsize=SMALL)
    axis.set(xlabel="trials drawn", ylabel=f"best {SCORE}")
    figures.beside(axis, [(float(n[-1]), float(best[-1]))], [f"{best[-1]:.2f}, n = {len(n)}"], [HELPS])
    figures.heading(figure, label, "the expected best of n trials")
    return figure


@figures.style()
def front(label: str, trials: Sequence[Trial], best: Sequence[Trial], cost: str) -> Figure | None:
    """Scores against the second objective; `best`, the Pareto front, are joined and named."""
    done = complete(trials)
    if not best:
        return None
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axis = figure.subplots()
    axis.set_ylim(*room([trial.score for trial in done]))
    x = [trial.cost for trial in done]
    if min(x) > 0 and max(x) > 10 * min(x):
        axis.set_xscale("log")
        figures.decimal(axis.xaxis)
    axis.scatter(x, [t.score for t in done], s=26, color=SEED, alpha=0.8, lw=0, zorder=2, label="complete")
    below(axis, x, [trial.score for trial in done])
    along = sorted(best, key=lambda trial: trial.cost)
    ends = [(trial.cost, trial.score) for trial in along]
    axis.step(*np.array(ends).T, where="post", color=HELPS, lw=1.5, zorder=3, label="front")
    axis.plot(*np.array(ends).T, "o", ms=7, color=HELPS, mec="white", zorder=4, label="front")
    axis.set(xlabel=COSTS.get(cost, one_line(cost)), ylabel=SCORE)
    axis.margins(x=0.05)
    for trial in along:  # above and left of the front is nothing
        axis.annotate(str(trial.number), (trial.cost, trial.score), (-5, 4), textcoords="offset points", ha="right")
    figures.heading(figure, label, "accuracy against cost, with the Pareto front (numbers: its trials)")
    return figure


# --- what is said ----------------------------------------------------------------------------------------------------


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _listed(words: Sequence[object]) -> str:
    told = [str(word) for word in words]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def best_said(trials: Sequence[Trial]) -> str:
    done = ranked(complete(trials))
    if not done:
        return f"No trial of {len(trials)} was completed, so there is no best."
    first = done[0]
    said = f"Trial {first.number} is the best of {_count(len(done), 'complete trial')}: {score_of(first)} % top-1"
    said += f" (mean ± s.d. of {len(first.scores)} seeds)" * (not math.isnan(first.sd))
    return f"{said} on held-out training data{', optimistic as the greatest of them' * (len(done) > 1)}."


def more_said(worths: Sequence[float]) -> str:
    """Whether more trials still help, in numbers."""
    n = len(worths)
    if n < 4:
        return "Too few trials to tell whether more would help."
    half, before, last = stats.best_of_n(worths, [n // 2, n - 1, n])
    return (
        f"The expected best rises by {last - half:.2f} points from {n // 2} to {n} of the trials seen, and by "
        f"{last - before:.3f} with the last one; of trials drawn "
        "at random further ones would add less each."
    )


def matters_said(found: Sequence[Importance] | str) -> str:
    if isinstance(found, str):
        return f"What matters most is not told. {found}"
    told = [f"{one_line(row.path)} ({100 * row.share:.0f} %)" for row in found if row.resolved]
    if not told:
        return "No parameter's importance is beyond what shuffled scores give."
    return f"What matters most: {_listed(told[:3])} of the importance, beyond what 95 % of shuffled scores give."


def test_said(search: Mapping[str, Any]) -> str:
    """How many times the test set was looked at, and by whom."""
    tested = list(dict.fromkeys(search.get("tested") or ()))
    own = (search.get("chosen") or {}).get("spec_id")
    others = len([spec for spec in tested if spec != own])
    if not tested:
        return "The test set was not looked at."
    who = ["the chosen configuration"] * (own in tested)
    who += [f"{_count(others, ('other ' if own in tested else '') + 'configuration')}"] * bool(others)
    times = {1: "once", 2: "twice"}.get(len(tested), f"{len(tested)} times")
    return f"This search looked at the test set {times}, by {_listed(who)}."


def chosen_said(search: Mapping[str, Any]) -> str:
    chosen = search.get("chosen")
    if not chosen:
        return ""
    values = ", ".join(f"{one_line(path)} = {shown(value)}" for path, value in (chosen.get("values") or {}).items())
    said = f"Trial {chosen.get('trial')}" + f": {values}" * bool(values) + "."
    if (score := chosen.get("score")) is not None:
        said += f" {score:.2f} % on held-out training data"
        scores = list((chosen.get("test") or {}).values())
        if scores:
            mean, sd = stats.mean_sd(scores)
            spread = f" ± {sd:.2f}" * (not math.isnan(sd))
            said += f", {mean:.2f}{spread} % on the test set ({_count(len(scores), 'seed')})"
        said += "."
    return said


def how_said(search: Mapping[str, Any], trials: Sequence[Trial]) -> list[tuple[str, str]]:
    states = Counter(trial.state for trial in trials)
    asked = f"{search['trials']} asked; " if search.get("trials") else ""
    states_said = ", ".join(f"{states[state]} {state}" for state in STATES.values() if states[state])
    seeds = list(search.get("seeds") or ())
    share = search.get("share")
    split = f"Scored on {100 * share:g} % of the training data, held out. " if share else ""
    each = f"Each trial at seed{'s' * (len(seeds) > 1)} {_listed(seeds)}" if seeds else ""
    mean = ", its score the mean. " if len(seeds) > 1 else ". " * bool(each)
    return [
        ("Sampler", f"{search.get('sampler') or 'not told'}, seed {search.get('seed', 'not told')}"),
        ("Pruner", str(search.get("pruner") or "none")),
        ("Trials", f"{asked}{states_said}"),
        ("Split", f"{split}{each}{mean}{test_said(search)}"),
        ("Objectives", _listed([OBJECTIVES.get(name, name) for name in search.get("objectives") or ["top1"]])),
        ("Storage", str(search.get("storage") or "in memory")),
    ]


OBJECTIVES = {"top1": "validation top-1, the more the better"}
OBJECTIVES |= {name: f"{what}, the less the better" for name, what in COSTS.items()}


def again(search: Mapping[str, Any]) -> list[str]:
    import optuna

    storage = search.get("storage")
    watch = [f"optuna-dashboard {shlex.quote(str(storage))}"] if storage else []
    made = [str(search["command"])] if search.get("command") else []
    return [*made, *watch, f"# harness {__version__}, optuna {optuna.__version__}"]


# --- the report ------------------------------------------------------------------------------------------------------


def render(search: Mapping[str, Any], study: optuna.Study, folder: Path) -> Report:
    """Write trials.{md,csv}, the figures and the page index.html of a described search and its study to `folder`.

    Raises Problem where the study has no trial.
    """
    label = one_line(str(search.get("label") or study.study_name))
    trials = read(study)
    if not trials:
        raise Problem(f"{label}: the search has no trial to report")
    cost = [*(search.get("objectives") or ["top1"]), ""][1] if len(study.directions) > 1 else ""
    space, worths, found = scales(trials), pool(trials), importances(trials)
    if not isinstance(found, str):
        order = {row.path: i for i, row in enumerate(found)}
        space = sorted(space, key=lambda own: order.get(own.path, len(order)))
    numbers = {trial.number for trial in study.best_trials} if cost else set()
    along = sorted((t for t in complete(trials) if t.number in numbers), key=lambda trial: trial.cost)
    said = [best_said(trials), more_said(worths), matters_said(found)]

    best = trial_table(ranked(trials)[:BEST], space, cost)
    joined = trial_table(along, space, cost)
    headed = f"{label}: hyper-parameter search"
    notes = [*said, test_said(search)]
    shown_tables = [markdown(best), *([f"## Pareto front\n\n{markdown(joined)}"] if along else [])]
    write_atomic(folder / "trials.md", tables.document(headed, shown_tables, notes).encode())
    write_atomic(folder / "trials.csv", trial_csv(trials, space).encode())

    sections = [
        ("What was found", "".join(page.paragraph(about, told) for about, told in _found(search, said))),
        ("Best trials", _numbered(best, "Best trials")),
        ("What was searched", page.table(space_table(space), "What was searched")),
        ("How", "".join(page.paragraph(about, told) for about, told in how_said(search, trials))),
    ]
    for name, heading, figure, caption in draw(label, search, trials, space, found, along, cost):
        body = page.paragraph("", caption)
        if figure:
            body = page.drawing(name, figures.save(folder, name, figure), label, heading, caption)
        if name == "front":
            body += _numbered(joined, "Pareto front")
        sections.append((heading, body))
    sections.append(("To make it again", f"<pre><code>{page.lines(again(search))}</code></pre>"))
    write_atomic(folder / "index.html", page.document(headed, sections).encode())
    return Report(folder, tables.document(headed, [markdown(best[:TOLD])], notes))


def _numbered(table: pd.DataFrame, heading: str) -> str:
    return f'<div class="numbered">{page.table(table, heading)}</div>'


def _found(search: Mapping[str, Any], said: Sequence[str]) -> list[tuple[str, str]]:
    title = one_line(str(search.get("title") or search.get("rung") or ""))
    about = [("Rung", title)] if title else []
    chosen = chosen_said(search)
    headed = zip(("Best", "More trials", "Importance"), said, strict=True)
    return [*about, *headed, *([("Chosen", chosen)] if chosen else [])]


def draw(
    label: str,
    search: Mapping[str, Any],
    trials: Sequence[Trial],
    space: Sequence[Scale],
    found: Sequence[Importance] | str,
    along: Sequence[Trial],
    cost: str,
) -> Iterator[tuple[str, str, Figure | None, str]]:
    """(name, heading, figure, caption) of each; without a figure the caption says why."""
    retried = [f"trial {t.number} takes up {t.retries}" for t in trials if t.retries is not None]
    retried_said = f" After a worker was lost, {_listed(retried[:10])}." if retried else ""
    drawn = history(label, trials)
    if drawn:
        caption = (
            "Dots: scores, small dashes: seeds where there are several. The line is the best so far of complete "
            "trials. Hollow: pruned, at the last score it reported; ×: failed; an arrow: beyond the frame."
            f"{retried_said}"
        )
        yield "history", "Trials", drawn, caption
    if along:
        caption = (
            "The line is the Pareto front: no trial is as cheap and more accurate. Its trials are blue, and in the "
            "table below; grey ones are dominated."
        )
        yield "front", "Accuracy against cost", front(label, trials, along, cost), caption
    many = "" if len(space) <= ACROSS else f" The first {ACROSS} of {len(space)} parameters."
    drawn = parallel(label, trials, space[:ACROSS])
    if drawn:
        caption = (
            "A line a complete trial, through its values to its score: the darker the better, the best thick. Axes are "
            "as searched, logarithmic where the search was; lines through one choice are spread a little, and a score "
            f"beyond its axis is at the end.{many}"
        )
        yield "parallel", "Parallel coordinates", drawn, caption
    if isinstance(found, str):
        yield "importances", "Importances", None, found
    else:
        n = len(complete(trials))
        top = max(5, math.ceil(n / 10))
        caption = (
            f"PED-ANOVA of {n} complete trials: how far a parameter's values among the best {top} are from those among "
            "all, as a share of the sum over parameters. Hollow: shuffled scores give as much in "
            "more than 5 % of cases, each parameter taken alone. An adaptive sampler narrows all parameters together "
            "while scores rise, so that an idle one may seem to matter; one that hardly varied near the best may seem "
            "not to. Pruned trials are left out."
        )
        yield "importances", "Importances", importance(label, found), caption
    drawn = slices(label, trials, space[:PANELS])
    if drawn:
        many = "" if len(space) <= PANELS else f" The first {PANELS} of {len(space)} parameters."
        caption = (
            "Each trial's score against one value, all others varying too. Axes are as searched; choices are spread a "
            f"little.{many}"
        )
        yield "slices", "Slices", drawn, caption
    drawn = best_of_n(label, pool(trials))
    if drawn:
        caption = (
            "The mean best of n trials drawn from those seen, over all such draws (Dodge et al. 2019; Tang et al. "
            "2020). Dashed, and the band: the median best of n new trials and its 95 % interval, which fades where so "
            f"few trials give it no upper end. Pruned trials count by what they last reported. {POOL}"
        )
        yield "best_of_n", "Expected best of n trials", drawn, caption
