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
    assert "Top-1 of baseline is 91.00 ± 1.00. In total over it: zero γ +0.00 points over 3 pairs of runs" in told[""]
    assert "; mixup +0.10 [" in told[""]
    assert told["Cost"].count("depending on the rung") == 2


def test_leave_one_out_and_add_one_in_their_own_words(store):
    fill(store, [("all", (92.0, 92.1, 91.9)), ("less_w", (91.0, 91.0, 91.0)), ("less_m", (91.0, 93.0, 92.0))])
    rungs = [
        rung("all", on=(0, 1)) | {"title": "all tricks"},
        rung("less_w", [0, 1], (1,)) | {"title": "− LR warmup"},
        rung("less_m", [0, 2], (0,)) | {"title": "− mixup"},
    ]
    told = found(made("leave-one-out", rungs, ("warmup", "mixup")), store)
    assert "All of 2 tricks together, and without each: 3 rungs: 9 runs" in told[""]
    assert "Top-1 of all tricks is 92.00 ± 0.10. Helps: LR warmup." in told[""]
    assert told["How to read the gains"].startswith("A gain is in points of top-1 of all tricks over")
    assert told["Verdicts"].startswith("LR warmup | +1.00 [+0.75, +1.25] | helps |")
    fill(store, [("all", (92.0, 92.1, 91.9)), ("less_m", (91.0, 93.0, 92.0))], emulated=True)
    finish(store, "less_w", 0, record(91.0, status="diverged"))
    own = found(made("leave-one-out", rungs, ("warmup", "mixup")), store)
    assert "The precision is emulated in all tricks and without mixup: " in own["What else may be in a gain"]
    assert own["Runs set apart"].endswith(": without LR warmup seed 0.")
    assert "LR warmup | +0.16 | +1.00 [+0.75, +1.25] | same sign" in told["Beside the paper"]
    assert "What a trick gives alone may differ" in told["What else may be in a gain"]
    rungs = [
        rung("all") | {"title": "baseline"},
        rung("less_w", [1, 0], (0,)) | {"title": "+ LR warmup"},
        rung("less_m", [2, 0], (1,)) | {"title": "+ mixup"},
    ]
    told = found(made("add-one", rungs, ("warmup", "mixup")), store)
    assert "Each of 2 tricks alone on the baseline: 3 rungs: 9 runs" in told[""]
    assert told["Verdicts"].startswith("LR warmup | -1.00 [-1.25, -0.75] | hurts |")
    assert "Resolved here with the opposite sign: LR warmup." in told["Beside the paper"]
    assert "What several give together is not in it" in told["What else may be in a gain"]


def test_effects_of_rungs_that_are_not_comparable_are_not_told(store):
    rungs = []
    for on in [(), (0,)]:
        rungs.append(rung(f"r{len(on)}", on=on))
        fill(store, [(f"r{len(on)}", (90.0, 91.1 + len(on), 92.0))], seen={"order": f"{on}"})
    told = found(made("shapley", rungs, ("warmup",)), store)
    assert "In total: no number" in told[""]
    assert "no gain: LR warmup (not comparable: differs in order)." in told["Runs set apart"]
    assert not told.keys() & {"Verdicts", "Beside the paper"}


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
    assert "Top-1 went from 90.00 ± 0.10 (r) to 91.00 ± 0.10 (r01). In total: +1.00 [" in told[""]
    words = {
        "shapley": "Shapley values of 2 tricks from 4 rungs: ",
        "factorial": "A factorial of 2 tricks ",
    }
    assert told[""].startswith(words[design])
    assert "after Holm over the tricks and the total." in told["How to read the gains"]
    assert "Helps: LR warmup. Hurts: mixup." in told[""]
    assert told["Verdicts"].startswith("LR warmup | +2.00 [")
    assert " | helps mixup | -1.00 [" in told["Verdicts"]
    paper = told["Beside the paper"]
    assert "Resolved here with the opposite sign: mixup." in paper
    assert "LR warmup | +0.16 | +2.00 [" in paper
    assert "mixup | +0.84 | -1.00 [" in paper
    assert "These gains include another length of training: mixup." in told["What else may be in a gain"]
    assert told.get("Interactions") == (None if design == "shapley" else "None of 1 interaction is resolved.")
    for seed in range(3):
        (store.folder(known("r01"), seed) / "result.json").unlink()
    told = found(p, store)
    assert "Top-1 of r is 90.00" in told[""]
    assert not told.keys() & {"Verdicts", "Beside the paper"}, "no seed has all rungs"


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
    assert told["Interactions"].startswith("2 of 3 interactions are resolved: B × C -8.40 [")
    assert "], less together; A × B +6.30 [" in told["Interactions"]
    assert told["Interactions"].endswith("], more together.")


def test_what_an_effect_is_aliased_with_is_told(store):
    told = factorial(store, lambda a, b, c: 3 * a + 2 * b - c, fraction=True)
    assert "Helps: A (aliased with B × C); B (aliased with A × C). Hurts: C (aliased with A × B)." in told[""]
    assert told["Verdicts"].startswith("A (aliased with B × C) | +6.30 [")
    assert "C (aliased with A × B) | -2.10 [" in told["Verdicts"]
