import json

import pytest

from harness import Problem, report
from tests.kit.records import plan

BENT = {
    "nested": lambda p: p.update(about=json.loads("[" * 900 + "]" * 900)),
    "no rungs": lambda p: p.update(rungs=[]),
    "seeds": lambda p: p["rungs"][0].update(seeds=["0"]),
    "up": lambda p: p["rungs"][0].update(id="../../x"),
    "gain": lambda p: p["rungs"][1].update(gain=[7, 0]),
    "name": lambda p: p["rungs"][1].update(name=["one"]),
    "on": lambda p: p["rungs"][1].update(on=[3]),
    "design": lambda p: p.update(design="stack"),
    "looks": lambda p: p.update(decide={"points": 1, "looks": [4, 4]}),
    "points": lambda p: p.update(decide={"points": "1", "looks": [4, 8]}),
    "orders": lambda p: p.update(orders=[[0, 0]]),
    "label": lambda p: p.update(label="t"),
    "tuned": lambda p: p.update(tuned={"trials": 1, "sampler": "x", "share": 0.2, "rungs": [], "untuned": dict(p)}),
}


@pytest.mark.parametrize("what", BENT)
def test_a_plan_of_the_wrong_shape_is_one_line(what, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    p = plan()
    report.remember(p)
    assert report.recall("s") == p
    BENT[what](p)
    report.plan_path("s").write_text(json.dumps(p))
    with pytest.raises(
        Problem, match=r"s.json is damaged, or of another version \(.*\): python -m harness.ablate"
    ) as told:
        report.recall("s")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, "", "[]", "null", "7"])
def test_a_plan_that_is_none_is_one_line(text, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    report.remember(plan())
    report.plan_path("s").write_text(text)
    with pytest.raises(Problem, match="s.json is damaged"):
        report.recall("s")
