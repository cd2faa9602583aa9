import csv
import itertools
import math
import re

import numpy as np
import pytest
import scipy.stats

from harness import Problem, report, stats
from harness.report import frames, tables
from tests.kit.records import designed, plan, rows, rung, write
from tests.kit.tiny import known


def test_means_deviations_and_paired_gains_by_hand(full):
    table = rows(full, plan())
    assert table.loc["baseline", "top1_mean"] == pytest.approx(91)
    assert table.loc["baseline", "top1_sd"] == pytest.approx(1)
    # gains of `one`: 2, 1, 3: mean 2, s.d. 1, half = 4.302653 / sqrt(3)
    half = 4.302653 / math.sqrt(3)
    seen = table.loc["one", ["gain", "gain_low", "gain_high"]]
    assert list(seen) == pytest.approx([2, 2 - half, 2 + half], abs=1e-5)
    assert table.loc["two", "gain"] == pytest.approx((-1 + 1 - 2.5) / 3)
    assert table.loc["two", "total"] == pytest.approx((1 + 2 + 0.5) / 3)
    assert re.fullmatch(r"not resolved \(MDE [0-9.]+\)", table.loc["two", "verdict"])
    assert math.isnan(table.loc["baseline", "gain"])


def test_a_diverged_run_is_counted_and_a_refused_one_is_not_and_both_are_named(full):
    full.add("one", 0, 10.0, status="diverged")
    (full.folder(known("two"), 1) / "result.json").unlink()
    full.add("two", 1, 99.0, status="refused")
    every = frames.runs(plan(), full)
    table = frames.rungs(plan(), every).set_index("rung")
    assert table.loc["one", "n"] == 3
    assert table.loc["one", "top1_mean"] == pytest.approx((10 + 92 + 95) / 3)
    assert table.loc["two", "n"] == 2
    assert table.loc["two", "top1_mean"] == pytest.approx((91 + 92.5) / 2)
    notes = " ".join(frames.footnotes(plan(), every, table))
    assert "1 run diverged, and counted in n: one seed 0." in notes
    assert "1 run refused by its evidence, left out: two seed 1." in notes


def test_a_rung_without_runs_breaks_the_gain_above_it_and_is_named(store):
    for seed in range(3):
        store.add("baseline", seed, 90.0 + seed)
        store.add("two", seed, 91.0 + 2 * seed)
    every = frames.runs(plan(), store)
    table = frames.rungs(plan(), every).set_index("rung")
    assert list(table.index) == ["baseline", "two"]
    assert math.isnan(table.loc["two", "gain"])
    assert table.loc["two", "total"] == pytest.approx(2)
    assert "one (3 of 3)" in " ".join(frames.footnotes(plan(), every, table))


# --- verdicts, designs, evidence --------------------------------------------------------------------------------------


def test_verdicts_are_holms_over_the_rows_and_say_what_could_be_seen(store):
    """Three gains whose raw p are near .02, .03 and .5: each below .05 or not alone, none of them after Holm."""
    for seed, gains in enumerate(np.array([[1.0, 1.0, 0.1], [2, 3, -1.1], [3, 2, 1.2], [1.5, 2.4, -0.4]])):
        values = 50 + np.cumsum([0, *gains])
        for name, value in zip("abcd", values, strict=True):
            store.add(name, seed, float(value))
    rungs = [rung(name, [i, i - 1] if i else None, seeds=range(4)) for i, name in enumerate("abcd")]
    table = frames.rungs(designed("ladder", rungs), frames.runs(designed("ladder", rungs), store)).set_index("rung")
    for name, gains in (("b", [1, 2, 3, 1.5]), ("c", [1, 3, 2, 2.4]), ("d", [0.1, -1.1, 1.2, -0.4])):
        assert table.loc[name, "p"] == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    p = table["p"]
    assert p["b"] < 0.05 and p["c"] < 0.05  # noqa: PT018
    first, second = sorted((p["b"], p["c"]))
    assert table.loc[p.idxmin(), "adjusted"] == pytest.approx(3 * first)
    assert max(table.loc[["b", "c"], "adjusted"]) == pytest.approx(max(3 * first, 2 * second))
    for name in "bcd":
        resolved = table.loc[name, "adjusted"] <= 0.05
        assert table.loc[name, "verdict"].startswith("helps" if resolved else "not resolved (MDE ")


def test_leave_one_out_gains_are_of_having_the_trick(store):
    for seed in range(3):
        store.add("all", seed, 95.0 + seed)
        store.add("less", seed, 92.0 + 1.5 * seed)
    p = designed("leave-one-out", [rung("all"), rung("less", [0, 1])])
    every = frames.runs(p, store)
    table = rows(store, p)
    assert table.loc["less", "gain"] == pytest.approx(3 - 0.5)
    assert math.isnan(table.loc["less", "total"])
    assert frames.seeds_as_dots(p, every)[1] == [(0, 3.0), (1, 2.5), (2, 2.0)]
    text = tables.shown(table.reset_index(), "leave-one-out")
    assert "gain over the baseline" not in text
    assert any("on top of the others" in note for note in frames.footnotes(p, every, table))


def test_shapley_values_of_the_glove_game(store):
    """FACTS: two left gloves and a right one; a pair is worth 1: (1/6, 1/6, 2/3). 60 more for everybody, each seed."""
    subsets = [s for r in range(4) for s in itertools.combinations(range(3), r)]
    for seed in range(3):
        for on in subsets:
            store.add(f"r{on}".replace(" ", ""), seed, 60.0 + seed + (2 in on and len(on) > 1))
    rungs = [rung(f"r{on}".replace(" ", ""), on=on) for on in subsets]
    p = designed("shapley", rungs, "ABC")
    made = frames.effects(p, frames.runs(p, store))
    assert list(made["value"]) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert list(made["name"]) == ["A", "B", "C"]
    orders = [list(order) for order in itertools.permutations(range(3))]
    both = [o for order in orders[:3] for o in (order, order[::-1])]  # all six: as good as exact
    sampled = frames.effects(designed("shapley", rungs, "ABC", orders=both), frames.runs(p, store))
    assert list(sampled["value"]) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert (sampled["order_se"] > 0).any()
    odd = designed("shapley", [own | {"may": ["targets"]} for own in rungs], "ABC")
    for on, order in ((subsets[0], "a"), (subsets[-1], "b")):
        store.add(f"r{on}".replace(" ", ""), 0, 60.0, seen={"order": order})
    with pytest.raises(Problem, match="differ in order at seed 0"):
        report.compare(odd, store, (rungs[-1]["id"], 0))
    verdicts = frames.effects(odd, frames.runs(odd, store))["verdict"]
    assert set(verdicts) == {"not comparable: differs in order"}
    (store.folder(rungs[-1]["id"], 1) / "result.json").unlink()
    assert set(frames.effects(p, frames.runs(p, store))["n"]) == {2}, "a seed that lacks a rung is left out"


def test_factorial_effects_by_hand(store):
    """2^(3-1), C = AB: y = 10 + 3 A + 2 B - 1 C in ±1, so effects 6, 4, -2."""
    runs = [(-1, -1, 1), (1, -1, -1), (-1, 1, -1), (1, 1, 1)]
    rungs = []
    for a, b, c in runs:
        name = f"{a}{b}{c}".replace("-1", "o").replace("1", "x")
        rungs.append(rung(name, on=[j for j, level in enumerate((a, b, c)) if level > 0]))
        for seed in range(3):
            store.add(name, seed, 10 + 3 * a + 2 * b - c + 0.1 * seed)
    p = designed("factorial", rungs, ("one", "two", "three"), generators=["AB"])
    made = frames.effects(p, frames.runs(p, store)).set_index("name")
    assert list(made["value"][["one", "two", "three"]]) == pytest.approx([6, 4, -2])
    assert made.loc["three", "aliases"] == "one × two"


def test_a_rung_with_an_unproven_part_has_no_verdict(store):
    known = {"NAG": "second opinion", "own.Blur": "unproven"}
    p = designed("ladder", [rung("baseline"), rung("blur", [1, 0]), rung("more", [2, 1])])
    for seed in range(3):
        store.add("baseline", seed, 80.0 + seed)
        store.add("blur", seed, 90.0 + seed, opinions=known)
        store.add("more", seed, 95.0 + seed)
    table = rows(store, p)
    assert list(table["verdict"])[1:] == ["unproven: own.Blur"] * 2, "either side"
    assert table["gain"].isna().all()


def test_new_data_widens_the_interval_by_what_examples_add(store):
    rng = np.random.default_rng(0)
    bits = rng.random((2, 4, 12)) < [[[0.5] * 12], [[1.0] * 4 + [0.1] * 8]]  # the gain is of some examples only
    for arm, name in enumerate("ab"):
        for seed in range(4):
            packed = np.packbits(bits[arm, seed]).tobytes().hex()
            store.add(name, seed, 100 * float(bits[arm, seed].mean()), correct=packed, tested=12)
    p = designed("ladder", [rung("a", seeds=range(4)), rung("b", [1, 0], seeds=range(4))])
    row = rows(store, p).loc["b"]
    gain, _, df, se, _ = stats.gain_errors(bits[1], bits[0])
    assert row["gain"] == pytest.approx(100 * gain)
    half = scipy.stats.t.ppf(0.975, df) * se * 100
    assert (row["new_low"], row["new_high"]) == pytest.approx((100 * gain - half, 100 * gain + half))
    assert row["new_high"] - row["new_low"] > row["gain_high"] - row["gain_low"]


# --- looks, few runs, and none ----------------------------------------------------------------------------------------


def test_under_looks_all_that_is_beside_a_gain_is_of_its_pairs_and_means_are_of_all_runs(store, tmp_path):
    """The first gain is decided at four seeds, and its rung has eight, for the second asks for more."""
    for seed in range(8):
        late = 40.0 * (seed > 3)  # of seeds that the first gain may not have in it
        store.add("a", seed, 50.0 + seed % 3 / 10)
        store.add("b", seed, 60.0 + seed % 4 / 10 - late, device="z" if seed > 3 else "a")
        store.add("c", seed, 60.0 + (seed % 2) * 9 - late)
    rungs = [rung(name, [i, i - 1] if i else None, seeds=range(8)) for i, name in enumerate("abc")]
    p = designed("ladder", rungs, decide={"points": 0.5, "looks": [4, 8]})
    every = frames.runs(p, store)
    table = frames.rungs(p, every).set_index("rung", drop=False)
    first = [10.0 + seed % 4 / 10 - seed % 3 / 10 for seed in range(4)]
    row = table.loc["b"]
    assert (row["n"], row["gain_pairs"], row["verdict"]) == (8, 4, "helps")
    assert (row["gain"], row["p"]) == pytest.approx((np.mean(first), scipy.stats.ttest_1samp(first, 0).pvalue))
    assert row["rho"] == pytest.approx(np.corrcoef([0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0])[0, 1])
    assert row["top1_mean"] == pytest.approx(np.mean([60 + seed % 4 / 10 - 40 * (seed > 3) for seed in range(8)]))
    assert not row["elsewhere"], "no pair of its gain is of other hardware"
    assert table.loc["c", "gain_pairs"] == 8
    dots = frames.seeds_as_dots(p, every)
    assert [seed for seed, _ in dots[1]] == [0, 1, 2, 3]
    assert len(dots[2]) == 8
    shown = tables.shown(table.reset_index(drop=True))
    assert list(shown["pairs"]) == ["–", "4", "8"]
    assert list(shown["n"]) == ["8"] * 3
    text = write(tmp_path, p, every)
    assert "Pairs: what a gain, its interval, verdict and ρ̂ are of, those of the look at which it stands." in text
    assert "| pairs" in text
    with (tmp_path / "table.csv").open() as file:
        told = list(csv.DictReader(file))
    assert [(line["n"], line["gain_pairs"]) for line in told] == [("8", "0"), ("8", "4"), ("8", "8")]
    made = report.render(p, store, tmp_path / "page")
    assert "over the 4 to 8 seeds of its look" in (made.folder / "findings.md").read_text()
