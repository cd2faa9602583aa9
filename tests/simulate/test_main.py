import json
import sys

import pytest

from harness.cli import main
from harness.simulate import __main__ as command


@pytest.fixture
def simulate(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["harness.simulate", *words])
        with pytest.raises(SystemExit) as ended:
            main(command.parser(), command.run)
        return ended.value.code, *capsys.readouterr()

    return run


def test_a_row_for_each_number_of_gpus(simulate):
    """51 runs of the ladder, two hours each; five have one teacher, which goes first."""
    code, out, _ = simulate("digits", "--hours", "2", "--gpus", "1", "64", "--price", "3", "--json")
    one, many = json.loads(out)
    assert not code
    assert (one["gpus"], one["makespan"], one["bound"], one["idle"]) == (1, 51 * 7200, 51 * 7200, 0)
    assert one["cost"] == 51 * 2 * 3
    assert (many["makespan"], many["cost"]) == (2 * 7200, 64 * 4 * 3)
    assert many["trained"] == one["trained"] == 51 * 7200


def test_the_table_has_a_column_for_what_went_wrong_alone(simulate):
    _, calm, _ = simulate("digits", "--hours", "2", "--gpus", "8")
    _, rough, _ = simulate("digits", "--hours", "2", "--gpus", "8", "--preempt", "5", "--mtbf", "20")
    assert calm.startswith("digits: all 51 runs\n")
    assert "deaths" not in calm
    assert "deaths" in rough
    assert "preempted" in rough


def test_orders_side_by_side(simulate):
    _, out, _ = simulate("digits", "--hours", "2", "--gpus", "8", "--by-order", "--seeds", "2", "--json")
    assert [row["order"] for row in json.loads(out)] == ["as planned", "longest first", "shortest first", "at random"]


def test_lengths_are_those_of_records_and_trials(simulate, monkeypatch):
    from types import SimpleNamespace

    from harness.study.costs import Market

    def prices(self, specs):
        return {spec.id: SimpleNamespace(seconds=spec.epochs / 10, seconds_by="records") for spec in specs}

    monkeypatch.setattr(Market, "prices", prices)
    _, out, err = simulate("digits", "--gpus", "1", "--json", "--seeds", "1")
    from harness import study

    runs = study.plan(study.load("digits"), seeds=1).runs()
    assert json.loads(out)[0]["makespan"] == pytest.approx(sum(spec.epochs for spec, _ in runs) / 10)
    assert "by records, on" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus", "0"), "--gpus 0: must be at least 1"),
        (("--hours", "0"), "--hours 0: must be above 0"),
        (("--hours", "inf"), "--hours and --checkpoint must be finite"),
        (("--mtbf", "nan"), "--mtbf nan: must be above 0"),
        (("--stragglers", "2"), "--stragglers 2: must be a share from 0 to 1"),
        (("--draw", "-1"), "--draw -1: must be 0 or more"),
        (("--price", "-1"), "--price -1: must be 0 or more"),
        (("--limit", "1", "2", "3"), "--limit takes a number"),
    ],
)
def test_a_mistake_is_one_line(words, said, simulate):
    code, out, err = simulate("digits", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
