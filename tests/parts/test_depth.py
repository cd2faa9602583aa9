import pytest
import torch
from torch import nn

from harness import Problem
from harness.parts.depth import LayerRates, by_depth, groups_of
from harness.parts.models import Timm
from harness.tricks.rates_by_group import rates_by_group

RATES = LayerRates(groups=("stem", "stage1", "stage10", "fc"), decay=0.5, frozen_groups=1)


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("stem.0.weight", 0.0),
        ("stage1.0.body.0.weight", 0.25),
        ("stage10.0.body.1.bias", 0.5),
        ("fc.weight", 1.0),
        ("fc.bias", 1.0),
        ("cls_token", 0.0),  # under no group: as what is next to the images
    ],
)
def test_by_hand(name, due):
    assert RATES.factor(name, nn.Identity()) == RATES.reference(name, nn.Identity()) == due
    assert RATES.frozen(name) == (due == 0)


def test_groups_of_a_resnet_and_of_a_transformer(tiny):
    assert groups_of(tiny) == ("stem", "stage1", "stage2", "fc")
    vit = Timm(name="vit_tiny_patch16_224", options=(("img_size", 32), ("patch_size", 8), ("depth", 3)))
    assert groups_of(tiny.but(model=vit)) == ("patch_embed", "blocks.0", "blocks.1", "blocks.2", "norm", "head")


def test_another_networks_groups_are_refused(tiny):
    with pytest.raises(Problem, match="rates.groups are of another network: here they are stem, stage1, stage2, fc"):
        tiny.but(rates=RATES).agree()
    with pytest.raises(Problem, match="of 4 groups one must learn"):
        tiny.but(rates=by_depth(tiny).but(frozen_groups=4)).agree()
    with pytest.raises(Problem, match="rates=GroupRates is there already"):
        by_depth(rates_by_group(tiny))


def test_frozen_weights_stay_to_the_bit_and_the_others_learn(tiny, live):
    spec = tiny.but(rates=by_depth(tiny).but(frozen_groups=2), epochs=1)
    trained, trace = live(spec)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    net = spec.model.build(1, 10)
    for part in spec.init:
        part(net, trace.rng)
    for name, p in trained.model.named_parameters():
        began = net.get_parameter(name)
        assert torch.equal(began, p.contiguous()) == name.startswith(("stem.", "stage1.")), name


def test_a_step_of_each_group_is_its_share(tiny):
    """SGD without momentum: from one gradient, by hand."""
    from harness.parts.grouping import groups, set_rate

    spec = tiny.but(rates=by_depth(tiny).but(decay=0.5))
    net = spec.model.build(1, 10)
    optimizer = torch.optim.SGD(groups(spec, net), lr=1.0, weight_decay=0.0)
    set_rate(optimizer, 0.8)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    optimizer.step()
    for name, p in net.named_parameters():
        share = {"stem": 0.125, "stage1": 0.25, "stage2": 0.5, "fc": 1.0}[name.split(".")[0]]
        assert torch.allclose(before[name] - p, torch.full_like(p, 0.8 * share), atol=1e-6), name
