"""`harness.plan`: how many seeds, by each design, and what they cost."""

import json
import sys

import numpy as np
import pytest

from harness import plan as command
from harness import stats, study
from harness.cli import main
from harness.store import Store
from harness.study.costs import Market, Price
from tests.kit.records import record
from tests.kit.tiny import BASELINE, SOURCE, finish_spec

SIX = SOURCE.replace(
    "from tests.kit.tiny import BASELINE, TRICKS\n",
    """
from functools import partial
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import zero_gamma
from tests.kit.tiny import BASELINE
TRICKS = (partial(warmup, epochs=0.5), zero_gamma, no_bias_decay, cosine, label_smoothing, mixup)
""",
)


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user's folder, with a study of six tricks; a run of any specification costs a minute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "sextet.py").write_text(SIX)
    price = Price(60.0, "records", 0.0, "records", 0.0, 0.0)
    monkeypatch.setattr(Market, "prices", lambda self, specs: {spec.id: price for spec in specs})
    return tmp_path


@pytest.fixture
def pilots(user):
    """Four seeds of each rung of the ladder: scores, rungs x seeds."""
    scores = np.random.default_rng(0).normal(size=(7, 4)).round(2) + 90
    for rung, own in zip(study.plan(study.load("./sextet.py")).rungs, scores, strict=True):
        for seed, score in enumerate(own):
            finish_spec(Store(), rung.spec, seed, record(float(score), tested=10_000))
    return scores


@pytest.fixture
def told(user, monkeypatch, capsys):
    def run(*words):
        """Exit status, JSON, and words."""
        monkeypatch.setattr(sys, "argv", ["harness.plan", "./sextet.py", *words, "--json"])
        with pytest.raises(SystemExit) as end:
            main(command.parser(), command.run)
        out, err = capsys.readouterr()
        return end.value.code or 0, json.loads(out), err

    return run


def test_seeds_and_hours_of_each_design_from_the_runs_that_are_here(pilots, told):
    code, value, words = told("--detect", "2", "--test", "t")
    gains = np.diff(pilots, axis=0)
    sd = np.sqrt(gains.var(axis=1, ddof=1).mean())
    assert (code, value["noise"]["of"]) == (0, "sextet")
    assert value["noise"]["sd"] == pytest.approx(sd)
    assert [row["pairs"] for row in value["noise"]["gains"]] == [4] * 6
    by = {row["design"]: row for row in value["designs"]}
    assert list(by) == ["ladder", "leave-one-out", "add-one", "shapley", "factorial"]
    assert [row["effects"] for row in by.values()] == [6] * 5
    assert by["ladder"]["seeds"] > by["factorial"]["seeds"]
    assert by["factorial"]["seeds"] == stats.seeds_needed(2, 2 * sd / np.sqrt(2 * 16), alpha=0.05 / 6), "2^(6-2) rungs"
    n = by["ladder"]["seeds"]
    assert (by["ladder"]["runs"], by["ladder"]["missing"]) == (7 * n, 7 * (n - 4)), "those that are here are not paid"
    assert (by["ladder"]["seconds"], by["ladder"]["seconds_missing"]) == (60 * 7 * n, 60 * 7 * (n - 4))
    assert "sextet: seeds that resolve a gain of 2 points of top-1 with power .8" in words
    assert f"s.d. of a paired gain: {sd:.2f} points, from 6 gains of sextet over 4 seeds (95 % interval" in words
    assert "core-hours" in words


def test_the_test_of_tables_is_the_default_and_asks_for_fewer(pilots, told):
    _, plain, _ = told("--detect", "2", "--design", "ladder", "--test", "t")
    _, value, words = told("--detect", "2", "--design", "ladder")
    assert value["test"] == value["designs"][0]["test"] == "moderated"
    assert value["designs"][0]["seeds"] < plain["designs"][0]["seeds"]
    assert value["designs"][0]["power"] >= 0.8
    assert value["designs"][0]["seeds_at_high"] >= value["designs"][0]["seeds"]
    assert "moderated (ladder)" in words
    _, more, _ = told("--detect", "2", "--design", "ladder", "--power", ".95")
    assert more["designs"][0]["seeds"] > value["designs"][0]["seeds"]


def test_what_so_many_seeds_resolve_and_with_which_power(pilots, told):
    _, value, words = told("--seeds", "5", "--test", "t", "--design", "ladder")
    (row,) = value["designs"]
    power = stats.power(row["effect"], value["noise"]["sd"], 5, alpha=0.05 / 6)
    assert row["seeds"] == 5
    assert row["power"] >= 0.8
    if not value["noise"]["spread"]:
        assert power == pytest.approx(0.8, abs=0.01)
    assert "the least gain that 5 seeds resolve with power .8" in words
    _, value, _ = told("--seeds", "5", "--detect", "2", "--sd", "1", "--test", "t", "--design", "add-one")
    assert value["designs"][0]["power"] == pytest.approx(stats.power(2, 1, 5, alpha=0.05 / 6))


def test_the_noise_may_be_given_or_be_of_another_study(pilots, told):
    _, value, words = told("--detect", "1", "--sd", "0.5", "--design", "shapley", "--orders", "3")
    assert value["noise"]["sd"] == 0.5
    assert value["designs"][0]["test"] == "t", "as Shapley values have it in tables"
    assert "shapley samples orders" in words
    from harness import report

    plan = study.plan(study.load("./sextet.py"), seeds=3)
    report.remember(study.describe(plan, Store()))
    _, value, _ = told("--detect", "2", "--pilot", plan.label, "--design", "ladder", "--set", "epochs=3")
    assert value["noise"]["of"] == plan.label
    assert [row["pairs"] for row in value["noise"]["gains"]] == [3] * 6
    assert value["designs"][0]["missing"] == value["designs"][0]["runs"], "other settings are other runs"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--detect POINTS, the gain to be resolved, or --seeds N is needed"),
        (("--detect", "0.3"), "no runs here tell the s.d. of a gain: run pilots (python -m harness.ablate ./sextet.py"),
        (("--detect", "0"), "argument --detect: 0: must be above 0 points, and at most 100"),
        (("--detect", "x"), "argument --detect: invalid points value: 'x'"),
        (("--detect", "nan"), "argument --detect: nan: must be above 0 points"),
        (("--detect", "1", "--power", "1"), "argument --power: 1: must be above .05, and below 1"),
        (("--detect", "1", "--sd", "1", "--pilot", "x"), "not allowed with argument"),
        (("--detect", "1", "--pilot", "none"), "no study 'none' was run here"),
        (("--detect", "1", "--sd", "1", "--fraction", "5"), "no design for 1/2^5 of 6 tricks"),
        (("--detect", "1", "--sd", "1", "--design", "ladder", "--orders", "3"), "--orders goes with --design shapley"),
    ],
)
def test_a_mistake_is_one_line(words, said, told):
    if "--fraction" in words:
        words = (*words, "--design", "factorial")
    code, value, err = told(*words)
    assert code == 2
    assert said in value["error"]
    assert err.count("\n") == 1


def test_a_gain_that_no_number_of_seeds_resolves_is_said(told):
    code, value, words = told("--detect", "0.01", "--sd", "5", "--design", "ladder")
    assert code == 0
    assert [value["designs"][0][name] for name in ("seeds", "power", "runs", "seconds")] == [None] * 4
    assert "above 10,000" in words


def test_designs_that_cannot_be_are_left_out_with_the_reason(user, told):
    (user / "sextet.py").write_text(
        SIX + "from harness.spec import Branches\nTRICKS = (Branches((mixup,), (cosine,)),)\n"
    )
    _, value, words = told("--detect", "1", "--sd", "1")
    assert [row["design"] for row in value["designs"]] == ["ladder"]
    assert list(value["left_out"]) == ["leave-one-out", "add-one", "shapley", "factorial"]
    assert "No shapley: sextet: --design shapley puts all tricks together" in words


def test_a_study_without_tricks_has_nothing_to_resolve(user, told):
    (user / "sextet.py").write_text(SIX + "TRICKS = ()\n")
    code, value, _ = told("--detect", "1", "--sd", "1")
    assert (code, value["error"]) == (2, "sextet: there is no gain to be resolved, TRICKS is empty")
    assert BASELINE.epochs == 2
