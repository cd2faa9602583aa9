"""What two addresses name, to be set side by side: rungs with their runs, here or in another folder of runs.

An address is `STUDY:RUNG`, a rung of a study; `STUDY`, all its rungs; `ID`, a specification by its id or how that
begins; or `DIR`, all runs of a folder of runs. `DIR:STUDY:RUNG` and so on name what is in that folder.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness import Problem, one_line
from harness.paths import expanded, runs
from harness.report import by_score, known, label_of, place, plan_path, recall, titles
from harness.report.findings import bare
from harness.store import Store


@dataclass(frozen=True)
class Rung:
    """A specification with the seeds of its runs; `name` is what a study calls it, `title` what a reader does."""

    name: str
    title: str
    id: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """What an address names; `whole` of a study or a folder, and `looked` where seeds were added by looks."""

    address: str
    store: Store
    rungs: tuple[Rung, ...]
    whole: bool = False
    looked: bool = False


def side(address: str) -> Side:
    """What an address names, those rungs of it that have finished runs. Raises Problem where there is nothing."""
    folder, rest = _folder(address)
    store = Store((folder or runs()) / "store")
    told = one_line(address, 200)
    study, _, rung = rest.partition(":")
    if folder and not rest:
        made = Side(told, store, _stored(store, folder), whole=True)
    elif _is_study(study, folder) or not _begins(rest, store):
        made = _of_study(told, store, study, rung, folder)
    else:
        made = _of_id(told, store, rest, folder)
    there = tuple(rung for rung in made.rungs if rung.seeds)
    if not there:
        raise Problem(f"{told}: no finished run in {store.root}")
    return replace(made, rungs=there)


def _folder(address: str) -> tuple[Path | None, str]:
    """The folder of runs that an address begins with, None for the one here, and what is named in it."""
    for first, rest in ((address, ""), address.partition(":")[::2]):
        with suppress(OSError, Problem):
            if first and (expanded(first) / "store").is_dir():
                return expanded(first).absolute(), rest
    return None, address


def _is_study(study: str, folder: Path | None) -> bool:
    with suppress(Problem):  # it names no file
        return plan_path(label_of(study), folder).is_file()
    return False


def _begins(text: str, store: Store) -> list[str]:
    """The ids in a store that begin so."""
    if not re.fullmatch(r"[0-9a-f]{4,16}", text):
        return []
    return list(dict.fromkeys(key[0] for key in store if key[0].startswith(text)))


def _of_study(address: str, store: Store, study: str, rung: str, folder: Path | None) -> Side:
    plan = by_score(recall(study, folder))
    own = [plan["rungs"][place(plan, rung)]] if rung else plan["rungs"]
    made = (
        Rung(one_line(r["name"]), bare(one_line(r["title"])), r["id"], _finished(store, r["id"], r["seeds"]))
        for r in own
    )
    return Side(address, store, tuple(made), whole=not rung, looked=bool(plan["decide"]))


def _of_id(address: str, store: Store, begins: str, folder: Path | None) -> Side:
    ids = _begins(begins, store)
    if len(ids) > 1:
        raise Problem(f"{begins} begins several ids: {', '.join(ids)}")
    return Side(address, store, tuple(rung for rung in _stored(store, folder) if rung.id == ids[0]))


def _stored(store: Store, folder: Path | None) -> tuple[Rung, ...]:
    """Every specification of a store, by the title that the first study there has for it."""
    named: dict[str, str] = {}
    for label in known(folder):
        with suppress(Problem):  # a damaged plan names nothing
            for spec_id, title in titles(recall(label, folder)).items():
                named.setdefault(spec_id, f"{bare(one_line(title))} of {one_line(label)}")
    found: dict[str, list[int]] = {}
    for spec_id, seed in store:
        found.setdefault(spec_id, []).append(seed)
    return tuple(
        Rung(spec_id, named.get(spec_id, spec_id), spec_id, _finished(store, spec_id, sorted(seeds)))
        for spec_id, seeds in found.items()
    )


def _finished(store: Store, spec_id: str, seeds: list[int]) -> tuple[int, ...]:
    return tuple(seed for seed in seeds if (spec_id, seed) in store)


def matched(a: Side, b: Side) -> list[tuple[Rung, Rung]]:
    """The rungs of two sides that belong together: two single ones; else those of one id, or of one name.

    Of two specifications in one store that are the same there is nothing to compare: they are left out. Raises Problem
    where nothing is left, or one side is a rung and the other is several.
    """
    if not (a.whole and b.whole):
        for one, other in ((a, b), (b, a)):
            if len(one.rungs) > 1:
                raise Problem(
                    f"{one.address} has {len(one.rungs)} rungs and {other.address} is one: name a rung, "
                    f"{one.address}:RUNG; or set all against one, harness.report STUDY --against RUNG"
                )
        pairs = [(a.rungs[0], b.rungs[0])]
    else:
        by_id, by_name = ({getattr(rung, key): rung for rung in a.rungs} for key in ("id", "name"))
        pairs = [(by_id.get(rung.id) or by_name.get(rung.name), rung) for rung in b.rungs]  # type: ignore[misc]
        pairs = [pair for pair in pairs if pair[0]]
        if not pairs:
            raise Problem(f"{a.address} and {b.address} have no rung of one name, and no specification, in common")
    here = a.store.root.resolve() == b.store.root.resolve()
    left = [(one, other) for one, other in pairs if not (here and one.id == other.id)]
    if not left:
        raise Problem(f"{a.address} and {b.address} are the same runs: there is nothing to compare")
    return left
