from itertools import combinations, permutations

import numpy as np
import pytest

from harness.evidence import prove
from harness.parts.augment import Flip
from harness.parts.imgaug_policy import GROUPS, ImgAug
from harness.spec import stack
from harness.study import Study, plan, trick_name, trick_title
from harness.tricks.imgaug_policy import IMGAUG_GROUPS, imgaug_policy
from tests.kit.coloured import Coloured


@pytest.fixture
def coloured(tiny):
    return tiny.but(data=Coloured(), batch_size=24, augment=())


def test_the_groups_add_up_to_the_policy_in_any_order(coloured):
    whole = imgaug_policy(coloured)
    assert whole.augment == (ImgAug(),)
    for order in ([*IMGAUG_GROUPS], [*IMGAUG_GROUPS][::-1], *(np.random.default_rng(s).permutation(7) for s in (0, 1))):
        tricks = [trick if callable(trick) else IMGAUG_GROUPS[trick] for trick in order]
        assert stack(coloured, tricks).id == whole.id
    assert [trick_name(trick) for trick in IMGAUG_GROUPS] == [f"imgaug_{group}" for group in GROUPS]
    assert len({trick_title(trick) for trick in (imgaug_policy, *IMGAUG_GROUPS)}) == 8


@pytest.mark.parametrize("trick", IMGAUG_GROUPS)
def test_each_adds_its_group_alone_and_once(trick, coloured):
    once = trick(coloured)
    assert once.augment == (ImgAug(groups=(trick_name(trick).removeprefix("imgaug_"),)),)
    assert trick(once) == once
    assert coloured.augment == ()
    assert trick(imgaug_policy(coloured)) == imgaug_policy(coloured) == imgaug_policy(once)


def test_each_two_commute(coloured):
    for one, other in combinations((imgaug_policy, *IMGAUG_GROUPS), 2):
        assert one(other(coloured)).id == other(one(coloured)).id
    ids = {stack(coloured, pair).id for pair in permutations(IMGAUG_GROUPS, 2)}
    assert len(ids) == 7 * 6 / 2


def test_other_augmentation_stays_where_it_is(coloured):
    flipped = coloured.but(augment=(Flip(),))
    assert stack(flipped, IMGAUG_GROUPS).augment == (Flip(), ImgAug())
    assert imgaug_policy(coloured.but(augment=(ImgAug(groups=("noise",)), Flip()))).augment == (ImgAug(), Flip())


def test_leave_one_out_has_a_rung_for_each_group(coloured):
    made = plan(Study("monkeys", "", coloured, IMGAUG_GROUPS, (0,)), design="leave-one-out")
    held = [set(rung.spec.augment[0].groups) if rung.spec.augment else set() for rung in made.rungs]
    assert sorted(len(groups) for groups in held if groups) == [6] * 7 + [7]
    assert {frozenset(set(GROUPS) - groups) for groups in held if len(groups) == 6} == {frozenset([g]) for g in GROUPS}
    assert {rung.name for rung in made.rungs} >= {f"without_imgaug_{group}" for group in GROUPS}


def test_its_evidence_names_operations_that_are_missing(coloured, live):
    spec = imgaug_policy(coloured.but(epochs=1))
    trained, trace = live(spec)
    assert trained.result["status"] == "finished"
    rows = [row for row in prove(spec, trace) if row["part"] == "ImgAug"]
    assert [row["ok"] for row in rows] == [True] * 8, "a print of each group, and the names"
    assert "PiecewiseAffine" in rows[-1]["seen"]
