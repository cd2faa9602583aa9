import pytest

from harness.report import remember
from harness.store import Store
from tests.kit.records import designed, keep, record, rung
from tests.kit.tiny import finish

BASE = {"kind": "Spec", "schedule": {"kind": "Step", "by": 0.1}, "epochs": 2, "teacher": []}
COSINE = BASE | {"schedule": {"kind": "Cosine"}}
SCORES = {"baseline": (75.0, 62.0, 50.0), "one": (88.0, 85.0, 64.0), "two": (88.0, 85.0, 65.0)}  # gains 13, 23, 14


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of runs here, with a study `s` of three rungs and another, `t`, of two specifications with slots."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "here"))
    store = Store()
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            finish(store, name, seed, record(score, tested=100))
    remember(designed("ladder", [rung("baseline"), rung("one", [1, 0]), rung("two", [2, 1])]))
    ids = []
    for form, scores in ((BASE, (90.0, 91.0, 92.0)), (COSINE, (92.0, 92.0, 95.0))):
        for seed, score in enumerate(scores):
            seen = {"order": f"o{seed}", "rates": form["schedule"]["kind"], "weights": f"w{seed}"}
            check = {"part": "schedule", "what": "rate", "expected": form["schedule"]["kind"], "ok": True}
            ids.append(keep(store, form, seed, score, tested=100, seen=seen, evidence=[check | {"seen": "as due"}]))
    rungs = [rung("baseline") | {"id": ids[0]}, rung("cosine", [1, 0]) | {"id": ids[-1], "title": "+ cosine decay"}]
    remember(designed("ladder", rungs, study="t", label="t"))
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Another folder of runs: `s`, with one image more right in each run of `one`, and four other seeds of `two`."""
    folder = tmp_path / "there"
    monkeypatch.setenv("HARNESS_RUNS", str(folder))
    store = Store()
    for name, scores in SCORES.items():
        for seed, score in enumerate((*scores, 70.0) if name == "two" else scores):
            seed, score = (seed + 10, score) if name == "two" else (seed, score + (name == "one"))
            finish(store, name, seed, record(score, tested=100, commit="d"))
    seeds = {"two": range(10, 14)}
    rungs = [rung(name, seeds=seeds.get(name, range(3))) for name in SCORES]
    remember(designed("ladder", [rungs[0], rungs[1] | {"gain": [1, 0]}, rungs[2] | {"gain": [2, 1]}]))
    return folder
