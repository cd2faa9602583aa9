"""The noise of paired gains, from runs that are here."""

from __future__ import annotations

from dataclasses import dataclass

import harness.report.frames as frames
from harness import Problem, one_line, stats
from harness.report.frames import Plan, worth
from harness.report.words import METRICS
from harness.store import Store


@dataclass(frozen=True)
class Pilot:
    """What runs tell of the noise of a gain: all rows together, and each with its s.d. in points and its pairs."""

    noise: stats.Noise
    of: str  # whose runs
    score: str  # the headline metric
    rows: list[dict[str, object]]
    sets: bool = False  # whether its gains are of sets of tricks over the baseline


def pilot(plan: Plan, store: Store) -> Pilot:
    """The noise of the gains of a described plan; of a rung without one, over the first rung.

    Raises Problem where no two rungs have two seeds in common, at which their difference varies.
    """
    every = frames.runs(plan, store)
    at = frames.by_seed(every) if len(every) else {}
    odd, rows, seeds = frames.barred(plan, at), [], []
    told: list[dict[str, object]] = []
    for place, rung in enumerate(plan["rungs"]):
        between = frames.held_to(plan, place)
        both = [] if place in odd else frames.paired(at, between)
        if len(both) > 1 and between:
            other = plan["rungs"][next(i for i in between if i != place)]
            rows.append([worth(above) - worth(below) for _, above, below in both])
            seeds.append([seed for seed, _, _ in both])
            named = {"rung": one_line(rung["name"]), "over": one_line(other["name"])}
            told.append(named | {"sd": stats.mean_sd(rows[-1])[1], "pairs": len(both)})
    label = one_line(plan["label"])
    try:
        noise = stats.noise(rows, seeds)
    except ValueError:
        raise Problem(f"{label}: no two rungs have two seeds in common, at which their difference varies") from None
    return Pilot(noise, label, METRICS[frames.headline(every)], told, plan["design"] in frames.EFFECTS)


def with_all_seeds(plan: Plan, store: Store) -> Plan:
    """A described plan with every seed of each rung that is finished here, whoever asked for it."""
    found: dict[str, list[int]] = {}
    for key in store:
        if key in store:
            found.setdefault(key[0], []).append(key[1])
    return plan | {"rungs": [rung | {"seeds": sorted(found.get(rung["id"], []))} for rung in plan["rungs"]]}
