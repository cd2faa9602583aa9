from types import SimpleNamespace

import pytest
import torch

from harness.parts.grouping import HeadRates, groups, set_rate
from harness.parts.models import FasterRCNN, ResNet
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.rates_by_group import rates_by_group


def test_without_rates_they_are_those_of_decay(tiny):
    model = tiny.model.build(1, 10)
    made, plain = groups(tiny, model), tiny.decay.groups(model)
    assert [[id(p) for p in group["params"]] for group in made] == [[id(p) for p in g["params"]] for g in plain]
    assert all("factor" not in group for group in made)


def test_each_parameter_has_its_decay_and_its_factor(tiny):
    spec = rates_by_group(no_bias_decay(tiny), linear=10.0, biases=2.0, norms=0.5)
    model = spec.model.build(1, 10)
    found = {id(p): (g["weight_decay"], g["factor"]) for g in groups(spec, model) for p in g["params"]}
    due = {name: found[id(p)] for name, p in model.named_parameters()}
    assert len(due) == len(found)
    assert due["fc.weight"] == (1e-4, 10.0)
    assert due["fc.bias"] == (0.0, 2.0)
    assert due["stem.0.weight"] == (1e-4, 1.0)
    assert due["stem.1.weight"] == due["stem.1.bias"] == (0.0, 0.5)


@pytest.mark.parametrize("rate", [0.1, 0.0])
def test_the_rate_of_a_group_is_times_its_factor(rate):
    optimizer = SimpleNamespace(param_groups=[{"factor": 2.0}, {}])
    set_rate(optimizer, rate)
    assert [group["lr"] for group in optimizer.param_groups] == [2 * rate, rate]


def test_a_step_moves_biases_twice_as_far(tiny, live):
    """One step of plain SGD from the same gradients."""
    from harness.parts.optimizers import SGD
    from harness.train import build

    plain = tiny.but(optimizer=SGD(momentum=0.0, lr=0.01, per=None), batch_size=597, epochs=1)
    start = dict(build(plain, 0, torch.device("cpu")).named_parameters())
    one, two = (dict(live(spec)[0].model.named_parameters()) for spec in (plain, rates_by_group(plain)))
    torch.testing.assert_close(two["fc.bias"] - start["fc.bias"], 2 * (one["fc.bias"] - start["fc.bias"]))
    torch.testing.assert_close(two["fc.weight"], one["fc.weight"])


def test_heads_learn_at_a_rate_of_their_own():
    part = HeadRates(backbone=0.5, heads=10.0)
    net = FasterRCNN(backbone=ResNet(blocks=(1, 1), bottleneck=False, width=4)).build(3, 2)
    names = [name for name, _ in net.named_parameters()]
    by = {name: part.factor(name, net) for name in names}
    assert by == {name: part.reference(name, net) for name in names}
    assert by["base.stem.0.weight"] == by["roi.box_head.stage2.0.body.0.weight"] == 0.5
    assert by["rpn.head.bbox_pred.weight"] == by["roi.box_predictor.cls_score.bias"] == 10.0
    assert {*by.values()} == {0.5, 10.0}


def test_rates_of_heads_are_for_networks_on_a_backbone(tiny):
    with pytest.raises(ValueError, match=r"^rates=HeadRates is of networks on a backbone: take rates_by_group$"):
        HeadRates().check(tiny)
