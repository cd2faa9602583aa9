"""A plan as one JSON-ready object, for its report; and what of a study was edited since."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from harness import Problem
from harness.parts.models import cost, sides
from harness.spec import (
    Spec,
    changes,
    flat,
    may,
    needed,
    resolved,
)
from harness.store import Store
from harness.study.checks import missing
from harness.study.plans import Plan
from harness.study.target import told


def describe(plan: Plan, store: Store, only: Sequence[str] = ()) -> dict[str, Any]:
    """The plan as one JSON-ready object."""
    rows: list[dict[str, Any]] = []
    for place, rung in enumerate(plan.rungs):
        images = rung.spec.data.load()
        params, macs = cost(rung.spec.model, images.channels, len(images.classes), sides(rung.spec))
        other = next((i for i in rung.gain if i != place), None) if rung.gain else 0 if place else None
        differs = changes(plan.rungs[other].spec, rung.spec) if other is not None else {}
        seeds = plan.seeds_of(place)
        rows.append(
            {
                "name": rung.name,
                "title": rung.title,
                "id": rung.spec.id,
                "on": list(rung.on),
                "gain": list(rung.gain) if rung.gain else None,
                "also": list(rung.also),
                "may": list(may(differs)),
                "epochs": rung.spec.epochs,
                "microbatch": rung.spec.microbatch,
                "stops": bool(rung.spec.stop),
                "changes": {path: list(pair) for path, pair in differs.items()},
                "params": params,
                "gmacs": macs / 1e9,
                "seeds": list(seeds),
                "missing": sum((rung.spec.id, seed) not in store for seed in seeds),
            }
        )
    asked = plan.runs(only)
    specs = dict.fromkeys(spec.id for spec, _ in asked)
    had = {spec.id for spec, seed in asked if (spec.id, seed) in store}
    return {
        "study": plan.study,
        "label": plan.label,
        "about": plan.about,
        "settings": list(plan.settings),
        "command": list(plan.command),
        "design": plan.design,
        "tricks": [{"name": name, "title": title, "moves": list(moves)} for name, title, moves in plan.tricks],
        "orders": [list(order) for order in plan.layout.orders] if plan.layout else [],
        "generators": list(plan.layout.generators) if plan.layout else [],
        **({"tuned": plan.tuned} if plan.tuned else {}),
        **({"target": told(plan)} if plan.target else {}),
        "test": plan.test,
        **({"metric": plan.metric} if plan.metric else {}),
        "decide": asdict(plan.decide) | {"looks": list(plan.decide.looks)} if plan.decide else None,
        "rungs": rows,
        "upstream": [
            {"of": rung.name, "id": spec_id, "seeds": seeds, "missing": sum((spec_id, s) not in store for s in seeds)}
            for place, rung in enumerate(plan.rungs)
            for spec_id, seeds in _first(rung.spec, plan.seeds_of(place)).items()
        ],
        "specs": {"asked": len(specs), "new": len(specs) - len(had)},
        "runs": {"asked": len(asked), "missing": len(missing(asked, store))},
    }


def _first(spec: Spec, seeds: Sequence[int]) -> dict[str, list[int]]:
    """The seeds of each specification that the runs of `spec` at `seeds` need first, by id, innermost first."""
    found: dict[str, list[int]] = {}
    for inner, own in dict.fromkeys(run for seed in seeds for run in needed(spec, seed)):
        found.setdefault(inner.id, []).append(own)
    return found


def edited(plan: Plan, before: dict[str, Any], store: Store) -> list[str]:
    """What made rungs other runs than when the study was last run, in a line each; `before` is its described plan."""
    lines: dict[str, list[str]] = {}
    old = {rung["name"]: rung for rung in before["rungs"]}
    for rung in plan.rungs:
        if rung.name in old and old[rung.name]["id"] != rung.spec.id:
            lines.setdefault(_edits(old[rung.name], rung.spec, store), []).append(rung.name)
    return [f"{', '.join(names)}: new runs since {text}" for text, names in lines.items()]


def _edits(old: dict[str, Any], spec: Spec, store: Store) -> str:
    for seed in old["seeds"]:
        with suppress(Problem):
            was, now = flat(store.forms(old["id"], seed)["resolved"]), flat(resolved(spec))
            paths = [path for path in dict.fromkeys((*was, *now)) if was.get(path) != now.get(path)]
            shown = [f"{path} was {was.get(path)} and is {now.get(path)}" for path in paths if path != "data.digest"]
            if "data.digest" in paths:
                shown.insert(0, "the content of the data changed")
            return "; ".join([*shown[:3], *([f"{len(shown) - 3} more"] if len(shown) > 3 else [])])
    return f"the specification changed (it was {old['id']})"
