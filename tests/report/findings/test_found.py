import itertools
import math

import scipy.optimize
import scipy.stats

from harness import report
from harness.report import __main__ as command
from harness.report import frames
from tests.kit.findings import LADDER, fill, found, stack
from tests.kit.html import Tree
from tests.kit.records import NASTY, designed, record, rung
from tests.kit.tiny import finish, known

# --- the sentences ---------------------------------------------------------------------------------------------------

HALF, OPEN = 4.302653 * 0.1 / math.sqrt(3), 4.302653 * 1.014889 / math.sqrt(3)  # s.d. 0.1; √((.9² + 1.1² + .2²)/2)


def test_a_ladder_by_hand(store):
    fill(store, LADDER)
    assert round(1 - HALF, 2) == 0.75
    assert (round(0.1 - OPEN, 2), round(0.1 + OPEN, 2)) == (-2.42, 2.62)

    def lack(effect):  # of power at .05/3 on two degrees of freedom
        bar, shift = scipy.stats.t.isf(0.05 / 6, 2), effect / 1.014889 * math.sqrt(3)
        return scipy.stats.nct.sf(bar, 2, shift) - 0.8  # the other tail has nothing

    assert round(scipy.optimize.brentq(lack, 1, 20), 2) == 5.75
    told = found(stack(), store)
    assert told == {
        "": "s is a ladder of 4 rungs: 12 runs, 3 seeds a rung, of 2 to 3 epochs on a. Trained on 10 images of 10 "
        "classes, tested on 10; the first rung's network has 1,000 parameters and takes 0.0015 GFLOPs (multiply-adds) "
        "an image. Top-1 went from 91.00 ± 1.00 (baseline) to 91.10 ± 1.15 (mixup): the total is +0.10 [-2.42, +2.62] "
        "points, paired over 3 seeds, which is not resolved. "
        "Each rung's gain is in points of top-1 over the rung that it is built on, paired by seed, with the 95 % "
        "interval in brackets; verdicts are of paired t-tests after Holm over all 3, the total tested with them. An "
        "interval is for itself alone: one that leaves out 0 may be of a gain that is not resolved.",
        "Helps": "LR warmup +1.00 [+0.75, +1.25].",
        "Hurts": "zero γ -1.00 [-1.25, -0.75].",
        "Not resolved": "mixup +0.10 [-2.42, +2.62], would have been seen if at least 5.75. Seen, that is resolved, "
        "with chance .8, by the spread that the rung's own seeds had.",
        "Where it disagrees with the paper": "He et al. (2019, Tables 4 to 6) have a number for 3 of these gains, each "
        "of one run, without a spread, on top of the tricks before it in their order. Their data are others, so only "
        "signs and order are compared. Opposite sign, and resolved here: zero γ (paper +0.16, here -1.00 [-1.25, "
        "-0.75]). Same sign, and resolved here: LR warmup (paper +0.16, here +1.00 [+0.75, +1.25]). Not resolved here, "
        "which neither confirms nor refutes: mixup (paper +0.84, here +0.10 [-2.42, +2.62]). "
        "Top-1: 2 of 3 gains have the paper's sign; of those resolved here 1 of 2. 3 of the paper's 3 are above 0, "
        "and so many would agree if all of ours were. Top-1, order of the 3 gains: Spearman's ρ = 0.00, Kendall's "
        "τ = 0.00. An order drawn by chance has a ρ as far from 0 with p = 1 (exact; 3 points cannot give less than "
        "0.3). Gains that share a rung share its noise: they say less than as many points of their own.",
        "What else may be in a gain": "The length of training is in what these give: mixup (3 epochs against 2). "
        "Settings that a trick does not change are those of the baseline: none was tuned for a rung. Each gain is on "
        "top of the rungs that it is built on: in another order it may be another. All numbers are of one split into "
        "training and test images.",
        "Cost": "An epoch takes 0.5 s at mixup against 0.5 s at baseline, × 1.00: medians by the clock, whatever else "
        "ran. An image takes 0.0015 against 0.0015 GFLOPs, × 1.00. All 12 runs together trained for 12 s.",
    }


def test_the_total_is_tested_after_holm_with_the_rungs_and_is_the_rungs_own_where_that_is_the_same(store):
    """p of the total .026 alone; as one of three it is above .05."""
    scores = [("baseline", (70.0, 71, 72)), ("a", (70.5, 70.7, 72.4)), ("b", (71.0, 72.5, 73.8))]
    fill(store, scores)
    total, a, b = (scipy.stats.ttest_1samp(x, 0).pvalue for x in ([1.0, 1.5, 1.8], [0.5, -0.3, 0.4], [0.5, 1.8, 1.4]))
    assert 0.05 / 3 < total < min(0.05, a, b)
    assert (
        "+1.43 [+0.43, +2.44] points, paired over 3 seeds, which is not resolved."
        in found(stack(("a", "b")), store)[""]
    )
    fill(store, [("b", (71.0, 72.5, 73.4))])  # and of two rungs, whose gain is the total, it is the row's own
    p = stack(("b",))
    verdict = frames.rungs(p, frames.runs(p, store))["verdict"].iloc[1]
    assert verdict == "helps"
    assert "+1.30 [" in found(p, store)[""]
    assert found(p, store)[""].count("paired over 3 seeds, which helps.") == 1


def test_a_total_that_is_a_rungs_gain_is_no_test_more(store):
    """The other's p is .011: resolved as the least of four, which it would not be of five."""
    fill(store, [("baseline", (70.0, 70, 70)), ("a", (69.0, 71.0, 70.1)), ("b", (71.0, 68.0, 70.2))])
    fill(store, [("c", (70.4459, 70.5459, 70.6459))])
    assert 0.05 / 5 < scipy.stats.ttest_1samp([0.4459, 0.5459, 0.6459], 0).pvalue < 0.05 / 4
    p = stack(("a", "b", "c"))
    p["rungs"][2]["gain"] = [2, 0]
    assert "; c +0.55 [+0.30, +0.79] points, paired over 3 seeds, which helps." in found(p, store)[""]
    assert "Totals over it: a +0.03 [" in found(p, store)[""]
    assert "after Holm over all 3, totals tested with them." in found(p, store)[""]
    assert " points, paired over 3 seeds, which is not resolved (MDE " in found(p, store)[""]


# --- runs and rungs that are not as the others -----------------------------------------------------------------------


def test_one_seed_has_no_interval_no_verdict_and_confirms_nothing(store):
    fill(store, [(name, values[:1]) for name, values in LADDER])
    told = found(stack(seeds=(0,)), store)
    assert "1 seed a rung" in told[""]
    assert (
        "Top-1 went from 90.00 (baseline) to 91.00 (mixup): the total is +1.00 points, paired over 1 seed, so "
        in told[""]
    )
    assert told["Not tested"].startswith("LR warmup +1.00; zero γ -1.00; mixup +1.00. One pair")
    assert not told.keys() & {"Helps", "Hurts", "Not resolved"}
    paper = told["Where it disagrees with the paper"]
    assert "No gain that is resolved here has the opposite sign. Not resolved here" in paper
    assert "of those resolved here 0 of 0" in paper


def test_a_study_of_one_rung_says_so_little(store):
    fill(store, LADDER[:1])
    told = found(designed("ladder", [rung("baseline")]), store)
    assert set(told) == {"", "What else may be in a gain", "Cost"}
    assert told[""].endswith("Top-1 of baseline is 91.00 ± 1.00.")
    assert "1 rung: 3 runs" in told[""]
    assert "trick" not in told["What else may be in a gain"]


def test_refused_diverged_and_missing_runs_are_said_and_no_gain_is_made_of_them(store):
    fill(store, LADDER[:3])
    finish(store, "baseline", 0, record(10.0, status="diverged"))
    for seed in range(3):
        (store.folder(known("zero_gamma"), seed) / "result.json").unlink()
    finish(store, "zero_gamma", 1, record(99.0, status="refused"))
    told = found(stack(), store)
    assert "5 runs of 12 are missing still" in told[""]
    assert "(baseline) to 92.00 ± 0.95 (LR warmup)" in told[""]
    assert told["Not as the others"] == (
        "1 run diverged, and counted with the accuracy then reached: baseline seed 0. "
        "1 run refused by the evidence, and in no number here: zero γ seed 1."
    )
    assert "zero γ" not in told.get("Not tested", "") + told.get("Not resolved", "") + told.get("Hurts", "")
    (store.folder(known("warmup"), 2) / "result.json").unlink()
    finish(store, "warmup", 2, record(99.0, status="refused"))
    assert "paired over 2 seeds" in found(stack(), store)[""]
    fill(store, LADDER[3:])
    told = found(stack(), store)
    assert "No pair of runs tells a gain yet of mixup." in told["Not as the others"]
    assert "mixup" not in told["Where it disagrees with the paper"]


def test_what_is_not_comparable_has_no_gain_here_nor_a_total(store):
    fill(store, LADDER[:1], seen={"order": "x"})
    fill(store, LADDER[1:], seen={"order": "y"})
    told = found(stack(), store)
    assert told["Not as the others"] == (
        "No gain is told of what cannot be compared: LR warmup (not comparable: differs in order)."
    )
    assert told[""].count("the total is not told, for rungs on the way cannot be compared.") == 1
    assert "LR warmup" not in told["Where it disagrees with the paper"]
    assert "Helps" not in told


def test_arms_without_a_common_seed_have_no_total(store):
    for seed, name in ((0, "baseline"), (1, "mixup")):
        finish(store, name, seed, record(90.0 + seed))
    told = found(stack(("mixup",), seeds=(0, 1)), store)
    assert "the total is not told, for no seed has both." in told[""]
    assert told["Not as the others"] == "No pair of runs tells a gain yet of mixup."


def test_many_rungs_are_named_in_part_the_largest_gains_first(store):
    names = [f"t{i}" for i in range(20)]
    scores = list(itertools.accumulate(range(21), lambda total, i: total + i))
    fill(store, [(name, (10.0 + s / 10,)) for name, s in zip(["baseline", *names], scores, strict=True)])
    text = found(stack(names, seeds=(0,)), store)["Not tested"]
    assert text.startswith("t19 +2.00; t18 +1.90; ")
    assert "t8 +0.90; and 8 more." in text


def test_seeds_added_by_looks_leave_the_total_untested(store):
    fill(store, LADDER)
    p = stack(decide={"points": 3.0, "looks": [3]})
    told = found(p, store)
    assert "Seeds were added, at looks planned beforehand, until gains were resolved or known to ± 3." in told[""]
    assert "paired over 3 seeds, not tested, as seeds were added by looks." in told[""]
    assert "verdicts are of group-sequential t-tests. " in told[""]
    assert told["Not resolved"].startswith("mixup +0.10 [-2.42, +2.62], known to ± 3.")
    assert "Seen" not in told["Not resolved"]


# --- as files --------------------------------------------------------------------------------------------------------


def test_it_is_in_the_report_and_the_page_and_goes_where_it_is_told(store, tmp_path, capsys):
    fill(store, LADDER)
    report.remember(stack())
    to = tmp_path / "a" / "b"
    command.run(command.parser().parse_args(["s", "--to", str(to)]))
    assert capsys.readouterr().out.endswith(f"written to {to}/\n")
    assert not (tmp_path / "reports").exists()
    told = (to / "findings.md").read_text()
    assert told.startswith("# s: what was found\n\ns is a ladder of 4 rungs")
    assert "\n\n**Helps.** LR warmup +1.00 \\[+0.75, +1.25\\].\n\n**Hurts.** zero γ " in told
    assert "\n\n    python -m harness.ablate s\n    python -m harness.report s\n    # harness c" in told
    page = Tree((to / "index.html").read_text())
    assert page.texts("h2")[:3] == ["Rungs", "What was found", "Accuracy and gains"]
    assert "Helps. LR warmup +1.00 [+0.75, +1.25]." in page.texts("p")
    command.run(command.parser().parse_args(["s"]))
    assert (tmp_path / "reports" / "s" / "findings.md").read_text() == told


def test_names_stay_text(store, tmp_path):
    fill(store, LADDER)
    p = stack()
    for own, title in zip(p["rungs"][1:], NASTY, strict=True):
        own["title"] = f"+ {title}"
    to = report.render(p, store, tmp_path / "to").folder
    told = (to / "findings.md").read_text()
    assert r"\<script\>alert(1)\</script\> +1.00" in told
    assert r"a \| b \& 50 % \$x\$ \_y\_ \#1" in told
    page = Tree((to / "index.html").read_text())
    assert not page.of("script")
    assert any("<script>alert(1)</script> +1.00" in text for text in page.texts("p"))
