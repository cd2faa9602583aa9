from harness.tricks.freeze import freeze
from harness.tricks.layerwise_rates import layerwise_rates


def test_the_first_groups_stay_and_the_rest_keep_their_shares(tiny):
    rates = freeze(layerwise_rates(tiny, decay=0.5), groups=2).rates
    names = ("stem.0.weight", "stage1.0.body.0.weight", "stage2.0.body.0.weight", "fc.weight")
    assert [rates.factor(name, None) for name in names] == [0, 0, 0.5, 1]
