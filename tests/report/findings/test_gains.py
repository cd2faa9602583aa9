import itertools

import pytest

from tests.kit.findings import LADDER, fill, found, made, stack
from tests.kit.records import record, rung
from tests.kit.tiny import finish, known


def test_a_ladder_that_branches_has_a_total_for_each_end(store):
    fill(store, LADDER)
    p = stack()
    p["rungs"][3]["gain"] = [3, 1]
    told = found(p, store)
    assert "Top-1 of baseline is 91.00 ± 1.00. Totals over it: zero γ +0.00 points, paired over 3 seeds" in told[""]
    assert "; mixup +0.10 [" in told[""]
    assert "by the rung" in told["Cost"]


def test_leave_one_out_and_add_one_in_their_own_words(store):
    fill(store, [("all", (92.0, 92.1, 91.9)), ("less_w", (91.0, 91.0, 91.0)), ("less_m", (91.0, 93.0, 92.0))])
    rungs = [
        rung("all", on=(0, 1)) | {"title": "all tricks"},
        rung("less_w", [0, 1], (1,)) | {"title": "− LR warmup"},
        rung("less_m", [0, 2], (0,)) | {"title": "− mixup"},
    ]
    told = found(made("leave-one-out", rungs, ("warmup", "mixup")), store)
    assert "s holds 2 tricks together against all but each, 3 rungs: 9 runs" in told[""]
    assert "Top-1 of all tricks is 92.00 ± 0.10. Each rung's gain is in points of top-1 of all tricks over" in told[""]
    assert told["Helps"] == "LR warmup +1.00 [+0.75, +1.25]."
    fill(store, [("all", (92.0, 92.1, 91.9)), ("less_m", (91.0, 93.0, 92.0))], emulated=True)
    finish(store, "less_w", 0, record(91.0, status="diverged"))
    own = found(made("leave-one-out", rungs, ("warmup", "mixup")), store)
    assert "FP16 is emulated in all tricks and without mixup: " in own["What else may be in a gain"]
    assert own["Not as the others"].endswith(": without LR warmup seed 0.")
    assert "LR warmup (paper +0.16, here +1.00" in told["Where it disagrees with the paper"]
    assert "what a trick gives alone may differ" in told["What else may be in a gain"]
    rungs = [
        rung("all") | {"title": "baseline"},
        rung("less_w", [1, 0], (0,)) | {"title": "+ LR warmup"},
        rung("less_m", [2, 0], (1,)) | {"title": "+ mixup"},
    ]
    told = found(made("add-one", rungs, ("warmup", "mixup")), store)
    assert "s holds each of 2 tricks, alone, against the baseline, 3 rungs: 9 runs" in told[""]
    assert told["Hurts"] == "LR warmup -1.00 [-1.25, -0.75]."
    assert "Opposite sign, and resolved here: LR warmup" in told["Where it disagrees with the paper"]
    assert "what several give together is not in it" in told["What else may be in a gain"]


def test_effects_of_rungs_that_are_not_comparable_are_not_told(store):
    rungs = []
    for on in [(), (0,)]:
        rungs.append(rung(f"r{len(on)}", on=on))
        fill(store, [(f"r{len(on)}", (90.0, 91.1 + len(on), 92.0))], seen={"order": f"{on}"})
    told = found(made("shapley", rungs, ("warmup",)), store)
    assert "the total is not told" in told[""]
    assert "cannot be compared: LR warmup (not comparable: differs in order)." in told["Not as the others"]
    assert not told.keys() & {"Helps", "Not resolved", "Not tested", "Where it disagrees with the paper"}


@pytest.mark.parametrize("design", ["shapley", "factorial"])
def test_effects_are_of_tricks(store, design):
    """y = 90 + 2 W - M + noise of ± .1 that is the same in all rungs but the first."""
    rungs = []
    for on in [(), (0,), (1,), (0, 1)]:
        name = "r" + "".join(map(str, on))
        noise = (0.1, -0.1, 0.0) if on else (0.0, 0.1, -0.1)
        fill(store, [(name, [90 + 2 * (0 in on) - (1 in on) + n for n in noise])])
        rungs.append(rung(name, on=on))
    p = made(design, rungs, ("warmup", "mixup"))
    p["tricks"][1]["moves"] = ["epochs", "mix"]
    told = found(p, store)
    assert "Top-1 went from 90.00 ± 0.10 (r) to 91.00 ± 0.10 (r01): the total is +1.00 [" in told[""]
    words = {
        "shapley": "tells the Shapley values of 2 tricks from 4 rungs: ",
        "factorial": "is a factorial of 2 tricks ",
    }
    assert f"s {words[design]}" in told[""]
    assert "after Holm over the tricks, the total tested with them." in told[""]
    assert told["Helps"].startswith("LR warmup +2.00 [")
    assert told["Hurts"].startswith("mixup -1.00 [")
    paper = told["Where it disagrees with the paper"]
    assert "Opposite sign, and resolved here: mixup (paper +0.84, here -1.00" in paper
    assert "Same sign, and resolved here: LR warmup (paper +0.16, here +2.00" in paper
    assert "The length of training is in what these give: mixup." in told["What else may be in a gain"]
    assert told.get("Interactions") == (None if design == "shapley" else "Of 1 none is resolved.")
    for seed in range(3):
        (store.folder(known("r01"), seed) / "result.json").unlink()
    told = found(p, store)
    assert "Top-1 of r is 90.00" in told[""]
    assert not told.keys() & {"Helps", "Hurts", "Where it disagrees with the paper"}, "no seed has all rungs"


def factorial(store, response, fraction=False):
    """What was found of A, B, C in ±1, whose top-1 is response(a, b, c) · (1 + seed/20) + 50; `fraction` has C = AB."""
    rungs = []
    for a, b, c in itertools.product((-1, 1), repeat=3):
        if fraction and c != a * b:
            continue
        name = "r" + "".join("x" if level > 0 else "o" for level in (a, b, c))
        rungs.append(rung(name, on=[j for j, level in enumerate((a, b, c)) if level > 0]))
        fill(store, [(name, [50 + response(a, b, c) * (1 + 0.05 * seed) for seed in range(3)])])
    return found(made("factorial", rungs, "ABC", generators=["AB"] if fraction else []), store)


def test_interactions_that_are_resolved_are_told_the_largest_first(store):
    told = factorial(store, lambda a, b, c: 3 * a * b - 4 * b * c)
    assert told["Interactions"].startswith("Of 3, 2 are resolved: B × C -8.40 [")
    assert "], less together; A × B +6.30 [" in told["Interactions"]
    assert told["Interactions"].endswith("], more together.")


def test_what_an_effect_is_aliased_with_is_told(store):
    told = factorial(store, lambda a, b, c: 3 * a + 2 * b - c, fraction=True)
    assert told["Helps"].startswith("A +6.30 [")
    assert told["Hurts"].startswith("C -2.10 [")
    assert told["Hurts"].endswith("] (aliased with A × B).")
