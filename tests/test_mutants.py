"""Of each part one mutant of `tests/mutants` is refused, by a check, and what is not broken is not; of every kind some.

`python -m tests.mutants` tries all of them, which takes minutes.
"""

import numpy as np
import pytest

from harness.evidence import audited
from harness.rng import streams
from tests.kit import shipped
from tests.mutants import BROKEN, KINDS, MUTANTS, Patch, breaking, edited, modern, refusal, text
from tests.mutants.rates import meets, refused

FAMILY = {
    "resnet_b": "resnet_d",
    "resnet_c": "resnet_d",
    "linear_scaling": "the rest",
    **dict.fromkeys(modern.RUNGS, "ConvNeXt"),
}  # whose evidence is that of a part
OF_PART = {part: [m for m in MUTANTS if m.part == part] for part in {m.part for m in MUTANTS}}


def chosen(place, mutants):
    """The first of one kind: of the next part it is of the next kind."""
    kinds = sorted({mutant.kind for mutant in mutants})
    return next(mutant for mutant in mutants if mutant.kind == kinds[place % len(kinds)])


EACH = [chosen(place, mutants) for place, (_, mutants) in enumerate(sorted(OF_PART.items()))]

WHOLE = dict.fromkeys((mutant.spec, mutant.seed) for mutant in EACH if mutant.inject is not breaking.nothing)
UNBROKEN = list(WHOLE)[::6]  # the command tries all, and each trick and optimizer has a test that it is not refused


def named(mutant):
    return f"{mutant.part}: {mutant.kind}: {mutant.name}"


@pytest.mark.parametrize("mutant", EACH, ids=named)
def test_is_refused_by_its_evidence(mutant):
    status, rows = refusal(mutant.spec, mutant.inject, mutant.seed)
    assert status == "refused"
    assert rows


@pytest.mark.parametrize(("spec", "seed"), UNBROKEN, ids=lambda value: getattr(value, "id", value))
def test_is_not_refused_unbroken(spec, seed):
    status, rows = refusal(spec, seed=seed)
    assert rows == []
    assert status in ("finished", "diverged")


def test_every_trick_that_is_shipped_has_mutants():
    assert {FAMILY.get(trick, trick) for trick in shipped.TRICKS} | {"the rest", "several mixers"} == set(BROKEN)
    assert all(len(mutants) >= 4 for mutants in BROKEN.values())
    assert len(MUTANTS) == len({named(mutant) for mutant in MUTANTS})
    assert all("does nothing" in mutants[0][0] for trick, mutants in BROKEN.items() if trick != "the rest")
    assert set(shipped.TRICKS) <= {mutant.part for mutant in MUTANTS}
    assert {mutant.kind for mutant in MUTANTS} == {mutant.kind for mutant in EACH} == set(KINDS)


def test_a_mutant_of_code_that_has_changed_is_an_error():
    with Patch.context() as patch, pytest.raises(AssertionError, match="the loop has changed"):
        text("what the loop never says", "")(patch)
    with Patch.context() as patch, pytest.raises(AssertionError, match="refusal has changed"):
        edited(breaking, "refusal", "what it never says", "")(patch)


def test_every_mutant_fits_the_code_that_it_breaks():
    """Those that the tests do not train too."""
    for mutant in MUTANTS:
        with Patch.context() as patch:
            mutant.inject(patch)


@pytest.mark.parametrize("one_in", [7, 50])
def test_a_deviation_is_met_as_often_as_the_formula_says(one_in):
    audits = np.mean([len(audited(streams(seed), 100, 10)) for seed in range(200)])
    met = np.mean([meets(seed, 10, 10, one_in) for seed in range(200)])
    assert met == pytest.approx(1 - (1 - 1 / one_in) ** audits, abs=0.1)


def test_a_run_is_refused_where_a_deviation_is_met():
    seen = [(meets(seed, 10, 10, 16), refused(seed, 16)) for seed in range(6)]
    assert all(met == was_refused for met, was_refused in seen)
    assert {met for met, _ in seen} == {True, False}, "there is one of each"
