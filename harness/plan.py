"""`python -m harness.plan STUDY --detect POINTS`: how many seeds a gain needs, by each design, and what they cost."""

import argparse
import sys
from typing import Any

from harness import Problem, one_line, planned
from harness.cli import answer, main

DESIGNS = {  # what a design tells, and what a reader would get wrong
    "ladder": "gains over the rung below",
    "leave-one-out": "gains on all others",
    "add-one": "gains alone",
    "shapley": "Shapley values",
    "factorial": "main effects",
}
EFFECTS = ("shapley", "factorial")  # whose tests are plain


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.plan",
        description="How many seeds to plan, so that a gain is resolved, by the test and the correction that tables "
        "have: for each design, with its runs and hours. Nothing is trained.",
        epilog="The s.d. of a gain is taken from this study's own runs, of at least two seeds: those of "
        "harness.ablate STUDY --seeds 3, say.",
    )
    planned.add(p, design=None, seeds="instead of --detect: what so many seeds resolve; with it: with which power")
    p.add_argument("--detect", type=points, metavar="POINTS", help="the gain to be resolved, in points of the score")
    p.add_argument(
        "--power", type=share, default=0.8, metavar="P", help="the chance to resolve it (default: %(default)s)"
    )
    p.add_argument(
        "--test",
        choices=("moderated", "t"),
        default="moderated",
        help="how gains will be tested (default: %(default)s); Shapley values and effects have plain t-tests",
    )
    source = p.add_mutually_exclusive_group()
    source.add_argument("--sd", type=points, metavar="POINTS", help="the s.d. of a paired gain, instead of runs")
    source.add_argument("--pilot", metavar="STUDY", help="take it from the runs of another study that was run here")
    p.add_argument("--device", help="whose hours are told: cpu, cuda or cuda:N (default: cuda where there is one)")
    return p


def points(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 points, and at most 100")
    return value


def share(text: str) -> float:
    value = float(text)
    if not 0.05 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be above .05, and below 1")
    return value


def run(options: argparse.Namespace) -> None:
    from harness import study
    from harness.store import Store

    if options.detect is None and options.seeds is None:
        raise Problem("--detect POINTS, the gain to be resolved, or --seeds N is needed")
    planned.check(options)
    loaded, store = study.load(options.study), Store()
    plans, left_out = by_design(options, loaded)
    found = told_noise(options, plans, store)
    rows = [row(options, design, plan, found["noise"]) for design, plan in plans.items()]
    price(rows, options, loaded, store)
    told = {"study": loaded.name, "score": found["score"], "detect": options.detect, "power": options.power}
    told |= {"test": options.test, "noise": vars(found["noise"]) | {"of": found["of"], "gains": found["gains"]}}
    answer(told | {"designs": rows, "left_out": left_out})
    print(text(told, rows, left_out, options))


def by_design(options: argparse.Namespace, loaded: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The plan of each design asked for; and why others have none. Raises Problem where none can be made."""
    plans, left_out = dict[str, Any](), dict[str, str]()
    for design in [options.design] if options.design else DESIGNS:
        try:
            plan = planned.plan(narrowed(options, design), loaded)
            if not plan.tricks:
                raise Problem(f"{loaded.name}: there is no gain to be resolved, TRICKS is empty")
            plans[design] = plan
        except Problem as problem:
            left_out[design] = str(problem)
    if not plans:
        raise Problem(next(iter(left_out.values())))
    return plans, left_out


def narrowed(options: argparse.Namespace, design: str, seeds: int | None = None) -> argparse.Namespace:
    """The options as they are of one design, with so many seeds."""
    own = {"design": design, "seeds": seeds}
    if not options.design:  # what goes with a design goes with it alone
        own |= {"orders": options.orders if design == "shapley" else None}
        own |= {"fraction": options.fraction if design == "factorial" else None}
        own |= {"same_epochs": options.same_epochs and design not in EFFECTS}
    return argparse.Namespace(**vars(options) | own)


def told_noise(options: argparse.Namespace, plans: dict[str, Any], store: Any) -> dict[str, Any]:
    """The noise of a gain, of whom, by which score. Raises Problem where nothing tells it."""
    from harness import report, stats, study
    from harness.report.pilots import pilot, with_all_seeds

    if options.sd:
        known = stats.Noise(options.sd, options.sd, options.sd, 0.0, 0)
        return {"noise": known, "of": "--sd", "score": "the score", "gains": []}
    if options.pilot:
        made = [pilot(report.by_score(report.recall(options.pilot)), store)]
    else:
        made = []
        for plan in plans.values():
            described = with_all_seeds(study.describe(plan, store), store)
            try:
                made.append(pilot(described, store))
            except Problem:
                continue
    if not made:
        name = one_line(options.study)
        raise Problem(
            f"{name}: no runs here tell the s.d. of a gain: run pilots (python -m harness.ablate {name} --seeds 3), or "
            "give --pilot STUDY, or --sd POINTS"
        )
    best = max(made, key=lambda one: (not one.sets, sum(row["pairs"] for row in one.rows)))  # type: ignore[misc]
    return {"noise": best.noise, "of": best.of, "score": best.score, "gains": best.rows}


def row(options: argparse.Namespace, design: str, plan: Any, noise: Any) -> dict[str, Any]:
    """A design: its effects, and seeds, effect and power, of which two are given and the third is worked out."""
    from harness import stats
    from harness.stats import designs

    if design in EFFECTS:
        made = designs.contrasts(design, plan.layout, len(plan.tricks))
    else:  # --same-epochs has rungs that no layout has
        made = designs.of_gains([rung.gain for rung in plan.rungs])
    test: Any = "t" if design in EFFECTS or len(made) < stats.LEAST else options.test
    told = {"design": design, "tells": DESIGNS[design], "effects": len(made), "rungs": len(plan.rungs)}
    told |= {"test": test, "sampled_orders": len(plan.layout.orders) // 2 or None}

    def seeds(sd: float) -> tuple[int | None, float | None]:
        found = stats.seeds_planned(made, sd, options.detect, options.power, noise.spread, test)
        return found or (None, None)

    if options.seeds is None:
        n, power = seeds(noise.sd)
        return told | {"seeds": n, "effect": options.detect, "power": power, "seeds_at_high": seeds(noise.high)[0]}
    reached = stats.curve(made, noise.sd, options.seeds, noise.spread, test)
    effect = options.detect or stats.least_effect(reached, noise.sd, options.power)
    return told | {"seeds": options.seeds, "effect": effect, "power": reached(effect), "seeds_at_high": None}


def price(rows: list[dict[str, Any]], options: argparse.Namespace, loaded: Any, store: Any) -> None:
    """Give each design its runs and their seconds, all and those that are missing."""
    import torch

    from harness.engine import decoders, places
    from harness.study import missing
    from harness.study.costs import Market

    def say(line: str) -> None:
        print(f"{options.study}: {line}", file=sys.stderr, flush=True)

    at = places(options.device, None)
    asked = {
        own["design"]: planned.plan(narrowed(options, own["design"], own["seeds"]), loaded).runs()
        for own in rows
        if own["seeds"]
    }
    device = torch.device(at[0])
    market = Market(store, device, len(at), decoders(len(at)), say)
    prices = market.prices(spec for runs in asked.values() for spec, _ in runs)
    for own in rows:
        runs = asked.get(own["design"])
        left = missing(runs, store) if runs else []
        own |= {"runs": runs and len(runs), "missing": runs and len(left), "device": device.type}
        own["seconds"] = runs and sum(prices[spec.id].seconds for spec, _ in runs)
        own["seconds_missing"] = runs and sum(prices[spec.id].seconds for spec, _ in left)
        own["seconds_by"] = sorted({prices[spec.id].seconds_by for spec, _ in runs or ()})


def text(told: dict[str, Any], rows: list[dict[str, Any]], left_out: dict[str, str], options: Any) -> str:
    """The plan for a reader: a line a design, and what to know."""
    import pandas as pd

    from harness.report import tables
    from harness.report.words import count
    from harness.study.shown import hours

    noise, unit = told["noise"], "GPU-hours" if rows[0]["device"] == "cuda" else "core-hours"
    unit_of_score = f"point{'s' * (options.detect != 1)} of {told['score']}"
    goal = f"{told['power']:g}".removeprefix("0")
    if options.seeds is None:
        head = f"seeds that resolve a gain of {options.detect:g} {unit_of_score} with power {goal}"
    elif options.detect:
        head = f"the power of {count(options.seeds, 'seed')} for a gain of {options.detect:g} {unit_of_score}"
    else:
        head = f"the least gain that {count(options.seeds, 'seed')} resolve with power {goal}, in {unit_of_score}"
    own = f"s.d. of a paired gain: {noise['sd']:.2f} points"
    if noise["rows"]:
        seeds = sorted({row["pairs"] for row in noise["gains"]})
        many = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
        own += f", from {count(noise['rows'], 'gain')} of {noise['of']} over {many} seeds"
        own += f" (95 % interval {noise['low']:.2f} to {noise['high']:.2f})"
    high = options.seeds is None and noise["rows"]
    table = pd.DataFrame(
        {
            "design": row["design"],
            "tells": f"{row['effects']} {row['tells']}",
            "seeds": _number(row["seeds"]),
            **({"effect": f"{row['effect']:.2f}"} if options.seeds else {}),
            "power": "–" if row["power"] is None else f"{row['power']:.2f}",
            "runs": _number(row["runs"]),
            "to go": _number(row["missing"]),
            unit: "–" if row["seconds"] is None else hours(row["seconds"]),
            f"{unit} to go": "–" if row["seconds_missing"] is None else hours(row["seconds_missing"]),
            **({f"seeds at an s.d. of {noise['high']:.2f}": _number(row["seeds_at_high"])} if high else {}),
        }
        for row in rows
    )
    shown = tables.markdown(table, ["design"])
    notes = [f"- {line}" for line in _notes(told, rows, left_out, options)]
    return "\n".join([f"{one_line(told['study'])}: {head}", own, "", shown, "", *notes])


def _number(value: int | None) -> str:
    return "above 10,000" if value is None else f"{value:,}"


def _notes(told: dict[str, Any], rows: list[dict[str, Any]], left_out: dict[str, str], options: Any) -> list[str]:
    from harness.report.words import together

    moderated = [row["design"] for row in rows if row["test"] == "moderated"]
    plain = [row["design"] for row in rows if row["test"] == "t"]
    how = [f"{kind} ({together(own)})" for kind, own in (("moderated", moderated), ("plain", plain)) if own]
    lines = [
        f"Tests: two-sided paired t-tests at .05 after Holm, {together(how)}. Power is that of one effect, whatever "
        "the others do: the mean over the effects of a design."
    ]
    own = sorted(told["noise"]["gains"], key=lambda row: row["sd"])
    if len(own) > 1:
        ends = [f"{row['sd']:.2f} ({row['rung']} over {row['over']})" for row in (own[0], own[-1])]
        lines.append(f"The s.d. of these gains go from {' to '.join(ends)}. Noisier ones have less power than others.")
    lines.append("Designs ask other questions: a trick's gain on some tricks is not its gain on others.")
    if any(row["sampled_orders"] for row in rows):
        lines.append("shapley samples orders: what that adds to its intervals is not in the power.")
    by = sorted({source for row in rows for source in row["seconds_by"]})
    if by:
        lines.append(f"Time of a run from {together(by)}. Runs are shared: designs together cost less than their sum.")
    if options.seeds is None and not options.design:
        lines.append(f"harness.ablate --decide {options.detect:g} adds seeds only where they are needed.")
    return [*lines, *(f"No {design}: {one_line(why, 200)}." for design, why in left_out.items())]


if __name__ == "__main__":
    main(parser(), run)
