import numpy as np
import pytest
import scipy.stats

from tests.kit import transfers
from tests.kit.findings import fill as fill_classifiers
from tests.kit.findings import found, stack

FIVE = tuple(transfers.LADDER)[:5]


def told(store, ladder, **more):
    transfers.fill(store, ladder)
    return found(transfers.plan(ladder=ladder, **more), store).get("Backbones", "")


def test_rungs_that_rank_alike_at_every_seed(store):
    text = told(store, {name: transfers.LADDER[name] for name in FIVE})
    assert text == (
        "Over 5 rungs, top-1 of the backbones and mAP rank alike: Kendall's τ = +1.00 [+1.00, +1.00] (p = 0.017), "
        "Spearman's ρ = +1.00 [+1.00, +1.00] (p = 0.017). Means over 3 seeds, each backbone with what stands on it. "
        "Brackets: 95 %, by resampling seeds, for these rungs. p: from all orders of the rungs, as if the rungs had "
        "been drawn at random. Of 3 seeds intervals by resampling are too narrow: of a mean about 75 % cover it."
    )


def test_the_coefficients_are_those_of_the_means(store):
    text = told(store, transfers.LADDER)
    means = np.array([[np.mean(a), np.mean(b)] for a, b in transfers.LADDER.values()]).T
    assert f"Kendall's τ = {scipy.stats.kendalltau(*means).statistic:+.2f} [" in text
    assert f"Spearman's ρ = {scipy.stats.spearmanr(*means).statistic:+.2f} [" in text
    assert f"(p = {scipy.stats.kendalltau(*means, method='exact').pvalue:.2g})" in text


def test_the_opposite_order_is_said_to_be_one(store):
    ladder = {
        name: (transfers.LADDER[name][0], transfers.LADDER[other][1])
        for name, other in zip(FIVE, FIVE[::-1], strict=True)
    }
    assert "Over 5 rungs, top-1 of the backbones and mAP rank in opposite order: Kendall's τ = -1.00" in told(
        store, ladder
    )


@pytest.mark.parametrize(
    ("names", "values", "said"),
    [
        (FIVE[:2], None, "have no order in common that is resolved: Kendall's τ = +1.00 [+1.00, +1.00] (p = 1)"),
        (FIVE[:2], None, "2 rungs cannot give less than p = 1; of 3 seeds "),
        (FIVE[:1], None, "Over 1 rung, top-1 of the backbones and mAP are not ranked: one rung has no order."),
        (FIVE, (50.0, 51.0, 52.0), "are not ranked: one of the two is the same for all rungs."),
    ],
)
def test_what_cannot_be_told_says_so(store, names, values, said):
    text = told(store, {name: (transfers.LADDER[name][0], values or transfers.LADDER[name][1]) for name in names})
    assert said in text


def test_one_seed_has_no_interval_and_a_lost_backbone_is_counted(store):
    text = told(store, {name: transfers.LADDER[name] for name in FIVE}, seeds=(0,))
    assert "in common that is resolved: Kendall's τ = +1.00 (p = 0.017)" in text
    assert "Means over 1 seed" in text
    assert "One seed has no interval." in text
    p = transfers.plan(ladder={name: transfers.LADDER[name] for name in FIVE})
    store.set_aside(p["upstream"][0]["id"], 1)
    text = found(p, store)["Backbones"]
    assert "Means over 2 seeds" in text
    assert text.endswith("1 backbone is not here, or damaged.")


def test_a_study_of_classifiers_says_nothing_of_backbones(store):
    fill_classifiers(store, [("baseline", (90.0, 91.0)), ("a", (91.0, 92.0))])
    assert "Backbones" not in found(stack(("a",), seeds=(0, 1)), store)
