"""Every mutant of `tests/mutants.py` is refused, by a check, and what is not broken is not."""

import pytest

from tests import shipped
from tests.mutants import BROKEN, MUTANTS, Patch, refusal, text

FAMILY = {
    "resnet_b": "resnet_d",
    "resnet_c": "resnet_d",
    "linear_scaling": "the rest",
}  # whose evidence is that of a part


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{mutant.trick}: {mutant.name}" for mutant in MUTANTS])
def test_is_refused_by_its_evidence(mutant):
    status, rows = refusal(mutant.spec, mutant.inject)
    assert status == "refused"
    assert rows


@pytest.mark.parametrize("trick", BROKEN)
def test_is_not_refused_unbroken(trick):
    for spec in dict.fromkeys(spec for _, spec, _ in BROKEN[trick]):
        status, rows = refusal(spec)
        assert rows == []
        assert status in ("finished", "diverged")


def test_every_trick_that_is_shipped_has_mutants():
    assert {FAMILY.get(trick, trick) for trick in shipped.TRICKS} | {"the rest"} == set(BROKEN)
    assert all(len(mutants) >= 4 for mutants in BROKEN.values())
    assert len(MUTANTS) == len({(mutant.trick, mutant.name) for mutant in MUTANTS})
    assert all("does nothing" in mutants[0][0] for trick, mutants in BROKEN.items() if trick != "the rest")


def test_a_mutant_of_a_loop_that_has_changed_is_an_error():
    with Patch.context() as patch, pytest.raises(AssertionError, match="the loop has changed"):
        text("what the loop never says", "")(patch)
