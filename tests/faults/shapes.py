"""Archives of records that every digest says are whole, and that some value makes none."""

import copy
import json
import math
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Problem, report
from harness.store import Record, Store, _sealed, digest, journal
from harness.store.archive import bring
from harness.store.care import RECORD
from tests.faults import Outcome, fault
from tests.kit.records import designed, rung
from tests.kit.tiny import RESULT, finish, known

NAMES, SEEDS = ("a", "b"), (0, 1)
RATES, CHECK = [[0, 0.1], [1, 0.1]], {"part": "loop", "what": "steps", "expected": "5", "seen": "5", "ok": True}
KEY = known("a"), 0
FULL: Record = RESULT | {
    **{"rates": RATES, "seen": {"order": "a"}, "evidence": [CHECK], "gaps": [1.0] * 201, "kept": 1},
    **{"epochs": [{"epoch": i, "loss": 1.0, "lr": 0.1, "top1": 90.0, "seconds": 0.5} for i in range(2)]},
    **{"metrics": {"test_loss": 1.0, "top1": 90.0}, "classes": 10, "peak_memory": 1000},
}
ODD: list[Any] = [
    "",
    "x",
    "<b>",
    -1,
    0,
    1e308,
    -1e308,
    math.nan,
    math.inf,
    10**400,
    2**63,
    None,
    True,
    [],
    {},
    [[]],
    "ff",
]


def filled(store: Store) -> Store:
    for name in NAMES:
        for seed in SEEDS:
            finish(store, name, seed, FULL)
    return store


def plan() -> dict[str, Any]:
    own = [rung(name, [i, i - 1] if i else None, seeds=SEEDS) for i, name in enumerate(NAMES)]
    return designed("ladder", own)


def forge(store: Store, key: tuple[str, int], change: Callable[[Record], object]) -> None:
    """Change a record and seal it again, so that every digest is right."""
    folder = store.folder(*key)
    record = json.loads((folder / "result.json").read_bytes())
    change(record)
    del record["digest"]
    data = _sealed(record)
    (folder / "result.json").write_bytes(data)
    lines = [journal.parse(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]
    lines[-1]["digest"] = digest(record)
    (folder / "journal.jsonl").write_bytes(b"".join(map(journal.line, lines)))


def archived(store: Store, path: Path) -> Path:
    """An archive of the first run as it is, whole or not."""
    with tarfile.open(path, "w") as tar:
        for path_of in filter(Path.exists, (store.folder(*KEY) / name for name in RECORD)):  # one of before: no logits
            tar.add(path_of, f"{KEY[0]}/{KEY[1]}/{path_of.name}")
    return path


def mutated(record: Record, rng: random.Random) -> Record:
    """A record of which one value, anywhere, is another, or not there."""
    record = copy.deepcopy(record)
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            spots.append((value, name))
            if isinstance(inner, dict | list):
                walk(inner)

    walk({name: value for name, value in record.items() if name not in ("format", "spec_id", "seed", "digest")})
    spots += [(record, name) for name in FULL]
    where, name = rng.choice(spots)
    if rng.random() < 0.2 and name in where and isinstance(where, dict):
        del where[name]
    else:
        where[name] = rng.choice(ODD)
    return record


@fault(quick=6, full=200)
def archives_of_wrong_shapes(folder: Path, times: int, seed: int) -> Outcome:
    """Each is refused with one line, or imported; then verify finds nothing, and a report of it is made."""
    rng, told = random.Random(seed), ""
    store, other = filled(Store(folder / "one" / "store")), filled(Store(folder / "two" / "store"))
    had = list(store)
    whole = {path.name: path.read_bytes() for path in store.folder(*KEY).iterdir() if path.name in RECORD}
    for _ in range(times):
        record = mutated(json.loads(whole["result.json"]), rng)
        forge(store, KEY, lambda old, new=record: (old.clear(), old.update(new)))  # type: ignore[misc]
        archive = archived(store, folder / "a.tar")
        if KEY in other:
            other.set_aside(*KEY)
        try:
            assert bring(other, archive)[0] == [KEY]
        except Problem as problem:
            told = str(problem)
            assert "nothing was imported" in told
            assert "\n" not in told
            assert KEY not in other
        else:
            assert "damaged" not in report.render(plan(), other, folder / "report").text
        for name, data in whole.items():
            (store.folder(*KEY) / name).write_bytes(data)
    return Outcome(times, sum(run not in other for run in had if run != KEY), 0, told.replace(str(folder), ""))
