import itertools
import math

import scipy.optimize
import scipy.stats

from harness import report
from harness.report import __main__ as command
from harness.report import frames
from harness.report.looks import SCRIPT
from tests.kit.findings import LADDER, fill, found, paper, stack
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
    least = told["Verdicts"].split(" | ")
    assert told == {
        "": "A ladder of 4 rungs: 12 runs, 3 seeds for each rung, 2 to 3 epochs, on a. Trained on 10 images of 10 "
        "classes, tested on 10. The first rung's network has 1,000 parameters and takes 1.5 MFLOPs (multiply-adds) "
        "for an image. Top-1 went from 91.00 ± 1.00 (baseline) to 91.10 ± 1.15 (mixup). In total: +0.10 "
        "[-2.42, +2.62] points over 3 pairs of runs (not resolved). Helps: LR warmup. Hurts: zero γ. Not resolved: "
        "mixup.",
        "Verdicts": f"LR warmup | +1.00 [+0.75, +1.25] | helps | {least[3].split()[0]} zero γ | -1.00 [-1.25, -0.75] "
        f"| hurts | {least[6].split()[0]} mixup | +0.10 [-2.42, +2.62] | not resolved | 5.75",
        "How to read the gains": "A gain is in points of top-1 over the rung that it is built on, paired by seed. "
        "Brackets are 95 % intervals, each for its own row. Verdicts are of paired t-tests after Holm over 3 gains and "
        "the total. So an interval may leave out 0 though its gain is not resolved. The smallest resolvable gain is "
        "what a row would resolve with probability .8, given the spread of its own seeds.",
        "Beside the paper": "He et al. (2019, Tables 4 to 6) have numbers for 3 of these gains. Each "
        "is of one run, without a spread, on top of the tricks before it in their order. Their data differ from these, "
        "so only signs and order are compared. Resolved here with the opposite sign: zero γ. A gain that is not "
        "resolved here neither confirms nor refutes the paper's. "
        "Top-1: 2 of 3 gains have the paper's sign, and 1 of the 2 that are resolved here. 3 of the paper's 3 are "
        "above 0, so a table of gains alone would agree on 3. Top-1, order of the 3 gains: Spearman's ρ = 0.00, "
        "Kendall's τ = 0.00. A random order has a |ρ| at least this large with p = 1 (exact; with 3 gains p is at "
        "least 0.3). Gains that share a rung share its noise, so they say less than as many independent ones. "
        "LR warmup | +0.16 | +1.00 [+0.75, +1.25] | same sign zero γ | +0.16 | -1.00 [-1.25, -0.75] | opposite "
        "mixup | +0.84 | +0.10 [-2.42, +2.62] | not resolved",
        "What else may be in a gain": "These gains include another length of training: mixup (3 epochs against 2). "
        "Settings that no trick changes are the baseline's. They were not tuned for each rung. Each gain is on top of "
        "the rungs below it. In another order it may differ. All numbers are of one split into training and test "
        "images.",
        "Cost": "An epoch of mixup takes 0.5 s, one of baseline 0.5 s (× 1.00). These are medians by the clock, on a "
        "machine that may have been busy. An image takes 1.5 MFLOPs in mixup, and 1.5 MFLOPs in baseline (× 1.00). "
        "All 12 runs took 12 s of training.",
    }


def test_the_total_is_tested_after_holm_with_the_rungs_and_is_the_rungs_own_where_that_is_the_same(store):
    """p of the total .026 alone; as one of three it is above .05."""
    scores = [("baseline", (70.0, 71, 72)), ("a", (70.5, 70.7, 72.4)), ("b", (71.0, 72.5, 73.8))]
    fill(store, scores)
    total, a, b = (scipy.stats.ttest_1samp(x, 0).pvalue for x in ([1.0, 1.5, 1.8], [0.5, -0.3, 0.4], [0.5, 1.8, 1.4]))
    assert 0.05 / 3 < total < min(0.05, a, b)
    assert "+1.43 [+0.43, +2.44] points over 3 pairs of runs (not resolved)." in found(stack(("a", "b")), store)[""]
    fill(store, [("b", (71.0, 72.5, 73.4))])  # and of two rungs, whose gain is the total, it is the row's own
    p = stack(("b",))
    verdict = frames.rungs(p, frames.runs(p, store))["verdict"].iloc[1]
    assert verdict == "helps"
    assert "+1.30 [" in found(p, store)[""]
    assert found(p, store)[""].count("over 3 pairs of runs (helps).") == 1


def test_a_total_that_is_a_rungs_gain_is_no_test_more(store):
    """The other's p is .011: resolved as the least of four, which it would not be of five."""
    fill(store, [("baseline", (70.0, 70, 70)), ("a", (69.0, 71.0, 70.1)), ("b", (71.0, 68.0, 70.2))])
    fill(store, [("c", (70.4459, 70.5459, 70.6459))])
    assert 0.05 / 5 < scipy.stats.ttest_1samp([0.4459, 0.5459, 0.6459], 0).pvalue < 0.05 / 4
    p = stack(("a", "b", "c"))
    p["rungs"][2]["gain"] = [2, 0]
    assert "; c +0.55 [+0.30, +0.79] points over 3 pairs of runs (helps)." in found(p, store)[""]
    assert "In total over it: a +0.03 [" in found(p, store)[""]
    assert "after Holm over 3 gains and the totals." in found(p, store)["How to read the gains"]
    assert " points over 3 pairs of runs (not resolved (MDE " in found(p, store)[""]


# --- runs and rungs that are not as the others -----------------------------------------------------------------------


def test_one_seed_has_no_interval_no_verdict_and_confirms_nothing(store):
    fill(store, [(name, values[:1]) for name, values in LADDER])
    told = found(stack(seeds=(0,)), store)
    assert "12 runs" not in told[""]
    assert ": 4 runs, 1 seed for each rung, 2 to 3 epochs" in told[""]
    assert "Top-1 went from 90.00 (baseline) to 91.00 (mixup). In total: +1.00 points over 1 pair of runs. " in told[""]
    assert told[""].endswith("Not tested (one pair of seeds gives no verdict): LR warmup; zero γ; mixup.")
    assert told["Verdicts"] == "LR warmup | +1.00 | – zero γ | -1.00 | – mixup | +1.00 | –"
    assert "Holm" not in told["How to read the gains"], "no test was made"
    assert "No gain that is resolved here has the opposite sign. A gain that is not resolved" in paper(told)
    assert " gains have the paper's sign, none resolved." in paper(told)


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
    assert "5 of 12 runs are still missing" in told[""]
    assert "(baseline) to 92.00 ± 0.95 (LR warmup)." in told[""]
    assert told["Runs set apart"] == (
        "1 run diverged, counted with the accuracy reached by then: baseline seed 0. "
        "1 run refused by its evidence, and in no number here: zero γ seed 1."
    )
    assert "zero γ" not in told[""] + told["Verdicts"]
    (store.folder(known("warmup"), 2) / "result.json").unlink()
    finish(store, "warmup", 2, record(99.0, status="refused"))
    assert "over 2 pairs of runs" in found(stack(), store)[""]
    fill(store, LADDER[3:])
    told = found(stack(), store)
    assert "No seed has both runs yet for mixup." in told["Runs set apart"]
    assert "mixup" not in paper(told)


def test_what_is_not_comparable_has_no_gain_here_nor_a_total(store):
    fill(store, LADDER[:1], seen={"order": "x"})
    fill(store, LADDER[1:], seen={"order": "y"})
    told = found(stack(), store)
    assert told["Runs set apart"] == (
        "These cannot be compared, and have no gain: LR warmup (not comparable: differs in order)."
    )
    assert told[""].count("In total: no number, because rungs on the way cannot be compared.") == 1
    assert "LR warmup" not in paper(told) + told["Verdicts"]
    assert "Helps" not in told[""]


def test_arms_without_a_common_seed_have_no_total(store):
    for seed, name in ((0, "baseline"), (1, "mixup")):
        finish(store, name, seed, record(90.0 + seed))
    told = found(stack(("mixup",), seeds=(0, 1)), store)
    assert "In total: no number, because no seed has both." in told[""]
    assert told["Runs set apart"] == "No seed has both runs yet for mixup."


def test_many_rungs_are_named_in_part_the_largest_gains_first(store):
    names = [f"t{i}" for i in range(20)]
    scores = list(itertools.accumulate(range(21), lambda total, i: total + i))
    fill(store, [(name, (10.0 + s / 10,)) for name, s in zip(["baseline", *names], scores, strict=True)])
    told = found(stack(names, seeds=(0,)), store)
    assert told[""].endswith(": t19; t18; t17; t16; t15; t14; t13; t12; t11; t10; t9; t8; and 8 more.")
    assert told["Verdicts"].startswith("t19 | +2.00 | – t18 | +1.90 | –")
    assert told["Verdicts"].endswith("t0 | +0.10 | –"), "the table has them all"


def test_seeds_added_by_looks_leave_the_total_untested(store):
    fill(store, LADDER)
    p = stack(decide={"points": 3.0, "looks": [3]})
    told = found(p, store)
    assert "Seeds were added, at looks planned beforehand, until gains were resolved or known to ± 3." in told[""]
    assert "over 3 pairs of runs (not tested, because seeds were added by looks)." in told[""]
    assert "Verdicts are of group-sequential t-tests." in told["How to read the gains"]
    assert told["Verdicts"].endswith("mixup | +0.10 [-2.42, +2.62] | known to ± 3")
    assert "resolvable" not in told["How to read the gains"]


# --- as files --------------------------------------------------------------------------------------------------------


def test_it_is_in_the_report_and_the_page_and_goes_where_it_is_told(store, tmp_path, capsys):
    fill(store, LADDER)
    report.remember(stack())
    to = tmp_path / "a" / "b"
    command.run(command.parser().parse_args(["s", "--to", str(to)]))
    assert capsys.readouterr().out.endswith(f"written to {to}/\n")
    assert not (tmp_path / "reports").exists()
    told = (to / "findings.md").read_text()
    assert told.startswith("# s, 10 images, 2 epochs: what was found\n\n- A ladder of 4 rungs")
    assert "\n- Helps: LR warmup.\n- Hurts: zero γ.\n" in told
    assert "| LR warmup | +1.00 \\[+0.75, +1.25\\] | helps " in told
    assert "\n\n    python -m harness.ablate s\n    python -m harness.report s\n    # harness c" in told
    page = Tree((to / "index.html").read_text())
    assert page.texts("h2")[:3] == ["Rungs", "What was found", "What each rung adds"]
    assert {"Helps: LR warmup.", "Hurts: zero γ."} <= set(page.texts("li"))
    assert "How to read the gains" not in page.texts("h3"), "the page has notes below its table"
    command.run(command.parser().parse_args(["s"]))
    assert (tmp_path / "reports" / "s" / "findings.md").read_text() == told


def test_names_stay_text(store, tmp_path):
    fill(store, LADDER)
    p = stack()
    for own, title in zip(p["rungs"][1:], NASTY, strict=True):
        own["title"] = f"+ {title}"
    to = report.render(p, store, tmp_path / "to").folder
    told = (to / "findings.md").read_text()
    assert r"\<script\>alert(1)\</script\>" in told
    assert "<script>" not in told
    assert r"a \| b \& 50 % \$x\$ \_y\_ \#1" in told
    page = Tree((to / "index.html").read_text())
    assert [text for text, _ in page.of("script")] == [SCRIPT]
    assert "Helps: <script>alert(1)</script>." in page.texts("li")
