import pytest
from torch import nn

from harness.tricks.norm_bias_rate import norm_bias_rate
from harness.tricks.rates_by_group import GroupRates, rates_by_group

RATES = GroupRates(conv=2.0, linear=3.0, biases=5.0, norms=7.0)


@pytest.mark.parametrize(
    ("name", "layer", "due"),
    [
        ("a.weight", nn.Conv2d(1, 1, 1), 2.0),
        ("a.weight", nn.Linear(1, 1), 3.0),
        ("a.bias", nn.Conv2d(1, 1, 1), 5.0),
        ("a.bias", nn.Linear(1, 1), 5.0),
        ("a.weight", nn.BatchNorm2d(1), 7.0),
        ("a.bias", nn.BatchNorm2d(1), 7.0),
        ("a.bias", nn.LayerNorm(1), 7.0),
    ],
    ids=str,
)
def test_by_hand(name, layer, due):
    assert RATES.factor(name, layer) == RATES.reference(name, layer) == due


def test_the_betas_of_norms_may_have_a_rate_of_their_own():
    rates = RATES.but(betas=64.0)
    for layer in (nn.BatchNorm2d(1), nn.LayerNorm(1)):
        assert rates.factor("a.bias", layer) == rates.reference("a.bias", layer) == 64.0
        assert rates.factor("a.weight", layer) == rates.reference("a.weight", layer) == 7.0
    assert rates.factor("a.bias", nn.Linear(1, 1)) == 5.0


def test_the_rates_that_are_told_are_those_before_the_factors(tiny, live):
    (plain, _), (grouped, trace) = live(tiny), live(rates_by_group(tiny, biases=4.0))
    assert [row for row in grouped.result["evidence"] if not row["ok"]] == []
    assert grouped.result["rates"] == plain.result["rates"]
    assert {group["factor"] for group in trace.optimizer.param_groups} == {1.0, 4.0}


def test_64_times_on_betas_alone(tiny, live):
    trained, trace = live(norm_bias_rate(tiny.but(epochs=1)))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    fast = sum(len(group["params"]) for group in trace.optimizer.param_groups if group["factor"] == 64.0)
    assert fast == sum(isinstance(layer, nn.BatchNorm2d) for layer in trace.model.modules())


def test_a_factor_is_above_0():
    with pytest.raises(ValueError, match="biases"):
        GroupRates(biases=0.0)


def test_timms_own_convolutions_are_convolutions():
    from timm.layers import Conv2dSame

    layer = Conv2dSame(1, 1, 3)
    assert RATES.factor("a.weight", layer) == RATES.reference("a.weight", layer) == 2.0


class Frozen(GroupRates):
    """Biases stay as they are."""

    def factor(self, name, layer):
        return 0.0 if name.endswith("bias") else 1.0

    def reference(self, name, layer):
        return 0.0 if name.endswith("bias") else 1.0

    def proof(self, spec, trace):
        return ()


def test_a_factor_of_0_freezes(tiny, live):
    trained, trace = live(tiny.but(rates=Frozen(), epochs=1))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trace.lr[0] > 0
