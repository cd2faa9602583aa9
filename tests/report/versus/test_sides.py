import pytest

from harness import Problem
from harness.report import recall, remember
from harness.report.versus import matched, side
from tests.kit.tiny import known


def test_each_address_names_its_rungs(there, here):
    assert [rung.name for rung in side("s").rungs] == ["baseline", "one", "two"]
    assert [(rung.title, rung.seeds) for rung in side("t:cosine").rungs] == [("cosine decay", (0, 1, 2))]
    assert side("./s.py:one").rungs == side("s:one").rungs, "the address of a study that was run"
    spec_id = known("one")
    for begins in (spec_id, spec_id[:6]):
        (found,) = side(begins).rungs
        assert (found.id, found.title, found.seeds) == (spec_id, "one of s", (0, 1, 2))
    whole = side(str(here))
    assert len(whole.rungs) == 5
    assert whole.whole
    assert side(f"{there}:s:two").rungs[0].seeds == (10, 11, 12, 13)
    assert side(f"{there}:{spec_id}").store.root == there / "store"
    assert not side("s:one").whole
    assert not side(spec_id).whole


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("none", "no study 'none' was run here"),
        ("s:three", "'three' is no rung of s: baseline, one, two"),
        ("abcdef", "no study 'abcdef' was run here"),
        ("no/such/folder:s", "cannot be a study's name"),
        ("", "cannot be a study's name"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(address, said, here):
    with pytest.raises(Problem, match=said):
        side(address)


def test_a_report_by_another_metric_is_no_side(here):
    remember(recall("s") | {"metric": "loss", "label": "s@loss"})
    with pytest.raises(Problem, match="^s@loss goes by loss, and this by the score that records tell: name s$"):
        side("s@loss:one")


def test_a_rung_without_a_finished_run_is_no_side(here):
    for seed in range(3):
        (here / "store" / known("two") / str(seed) / "result.json").unlink()
    assert [rung.name for rung in side("s").rungs] == ["baseline", "one"]
    with pytest.raises(Problem, match="s:two: no finished run in"):
        side("s:two")


def test_rungs_belong_together_by_id_and_then_by_name(there, here):
    pairs = matched(side("s"), side(f"{there}:s"))
    assert [(a.name, b.name) for a, b in pairs] == [("baseline",) * 2, ("one",) * 2, ("two",) * 2]
    pairs = matched(side("s"), side("t"))
    assert [(a.name, b.name) for a, b in pairs] == [("baseline", "baseline")]
    assert pairs[0][0].id != pairs[0][1].id
    assert [a.id == b.id for a, b in matched(side(str(here)), side(str(there)))] == [True] * 3


def test_what_has_nothing_to_compare_is_said(there, here):
    with pytest.raises(Problem, match="s:one and s:one are the same runs"):
        matched(side("s:one"), side("s:one"))
    with pytest.raises(Problem, match=r"s has 3 rungs and t:cosine is one: name a rung, s:RUNG; .*--against RUNG"):
        matched(side("s"), side("t:cosine"))
    assert matched(side("s:one"), side(f"{there}:s:one")), "one specification, elsewhere"
