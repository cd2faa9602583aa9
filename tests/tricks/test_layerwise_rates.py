from harness.tricks.layerwise_rates import layerwise_rates


def test_shares_fall_from_the_head_down(tiny):
    rates = layerwise_rates(tiny, decay=0.5).rates
    names = ("fc.weight", "stage2.0.body.0.weight", "stage1.0.body.0.weight", "stem.0.weight")
    assert [rates.factor(name, None) for name in names] == [1, 0.5, 0.25, 0.125]
