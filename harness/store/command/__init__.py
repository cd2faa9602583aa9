"""What `harness.store` does, and what its commands share: how runs are told."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from harness import one_line

Key = tuple[str, int]


def titles() -> dict[str, str]:
    """ "study: rung" of each specification that a study run here names."""
    from harness import Problem
    from harness.report import known, recall
    from harness.report import titles as of_plan

    named: dict[str, str] = {}
    for label in known():
        with suppress(Problem):  # a damaged plan names nothing
            for spec_id, title in of_plan(recall(label)).items():
                named.setdefault(spec_id, one_line(f"{label}: {title}"))
    return named


def of(titles: dict[str, str], key: Key) -> str:
    """Which study a run is of, after a comma; nothing where none is known."""
    return f", {titles[key[0]]}" if key[0] in titles else ""


def as_json(keys: Iterable[Key]) -> list[dict[str, Any]]:
    return [{"spec_id": key[0], "seed": key[1]} for key in keys]
