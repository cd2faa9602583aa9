"""From run records to tables and figures. No torch, no mlflow."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness import Problem, file_name, named
from harness.paths import runs, write_atomic
from harness.report import figures, frames, tables
from harness.report.frames import Plan
from harness.spec import UPSTREAM_SEED
from harness.store import Store


@dataclass(frozen=True)
class Report:
    folder: Path
    text: str  # the table as Markdown, with its footnotes


def plan_path(label: str) -> Path:
    return runs() / "studies" / f"{file_name(label)}.json"


def remember(plan: Plan) -> None:
    """Keep a described plan, so that its report can be made again from the store alone."""
    write_atomic(plan_path(plan["label"]), json.dumps(plan, indent=1).encode())


def known() -> list[str]:
    """The labels of all studies that were run here."""
    return sorted(path.stem for path in (runs() / "studies").glob("*.json") if named(path.stem))


def titles(plan: Plan) -> dict[str, str]:
    """What a described plan calls each specification, by id."""
    found = {rung["id"]: str(rung["title"]) for rung in reversed(plan["rungs"])}
    for inner in plan["upstream"]:
        found.setdefault(inner["id"], f"upstream of {inner['of']}")
    return found


def asked(plan: Plan) -> list[tuple[str, int]]:
    """The runs of a described plan: upstream runs first, each once."""
    first = [(inner["id"], UPSTREAM_SEED) for inner in plan["upstream"]]
    return list(dict.fromkeys([*first, *((rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"])]))


def _is_run(key: tuple[object, object]) -> bool:
    return isinstance(key[0], str) and isinstance(key[1], int)


def recall(label: str) -> Plan:
    """The described plan of a study that was run here. Raises Problem where there is none, or it is damaged."""
    path = plan_path(label)
    if not path.is_file():
        raise Problem(
            f"no study {label!r} was run here ({path} is missing): python -m harness.ablate {label.partition('@')[0]}"
        )
    try:
        plan: Plan = json.loads(path.read_text())
        whole = (
            plan["label"] == label
            and file_name(plan["study"])
            and isinstance(titles(plan), dict)
            and all(map(_is_run, asked(plan)))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, Problem):
        whole = False
    if not whole:
        raise Problem(f"{path} is damaged: remove it, and python -m harness.ablate makes it again")
    return plan


def render(plan: Plan, store: Store) -> Report:
    """Write `runs/reports/<label>/` from the store: table.{md,csv,tex,html} and ladder.{png,svg}.

    Raises Problem where no run is finished.
    """
    study = file_name(plan["label"])
    every = frames.runs(plan, store)
    if not frames.counted(every).any():
        raise Problem(f"{study}: no finished run to report")
    ladder = frames.ladder(plan, every)
    folder = runs() / "reports" / study
    text = tables.write(folder, study, ladder, frames.footnotes(plan, every, ladder))
    figures.ladder(folder, study, every, ladder)
    return Report(folder, text)
