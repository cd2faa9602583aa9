import math

import pytest
import torch
from torch import nn

from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models import RESNET18, ResNet
from harness.rng import streams
from harness.tricks.zero_gamma import ZeroGamma

MODEL = ResNet(blocks=(1, 2), width=8, small=True)


def initial(model, seed=0):
    net = model.build(3, 10)
    for p in net.parameters():
        p.data.fill_(7)  # so that whatever is left untouched shows
    Xavier()(net, streams(seed))
    return net


def layers(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def test_weights_are_uniform_up_to_a():
    """a = sqrt(6 / (d_in + d_out)), the kernel's area in each: a 3 x 3 from 64 to 64 channels has a = 0.0722."""
    conv = nn.Sequential(nn.Conv2d(64, 64, 3))
    Xavier()(conv, streams(0))
    weight = conv[0].weight.detach()
    assert weight.abs().max() <= math.sqrt(6 / (2 * 64 * 9))
    assert weight.abs().max() > 0.999 * math.sqrt(6 / (2 * 64 * 9))
    assert weight.var().item() == pytest.approx(6 / (2 * 64 * 9) / 3, rel=0.02)
    for layer in layers(initial(MODEL)):
        area = layer.weight[0, 0].numel()
        a = math.sqrt(6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * area))
        assert 0.8 * a < layer.weight.abs().max() <= a
        assert abs(layer.weight.mean()) < a / 4


def test_biases_and_norms_start_neutral():
    net = initial(MODEL)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 1 + 3 * 3 + 2
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)
    assert (net.get_submodule("fc").bias == 0).all()


def test_nothing_is_left_untouched():
    assert not any((p == 7).any() for p in initial(MODEL).parameters())


def test_no_two_layers_start_alike():
    seen = {tuple(layer.weight.detach().flatten()[:8].sign().tolist()) for layer in layers(initial(RESNET18))}
    assert len(seen) > 15, "20 convolutions and a linear layer, eight signs of each"


@pytest.mark.parametrize("variant", "BCD")
@pytest.mark.parametrize("small", [True, False])
def test_variants_start_alike_where_shapes_agree(variant, small):
    """Below the stem all four have the same layers, in the same order and of the same shapes."""
    model = MODEL.but(small=small)
    base, other = layers(initial(model)), layers(initial(model.but(variant=variant)))
    stem = 1 if small or variant == "B" else 3
    pairs = list(zip(base[1 if stem == 3 else 0 :], other[stem if stem == 3 else 0 :], strict=True))
    assert len(pairs) == len(base) - (stem == 3)
    assert [i for i, (a, b) in enumerate(pairs) if not torch.equal(a.weight, b.weight)] == []


def test_seeds_differ():
    pairs = zip(layers(initial(MODEL, 0)), layers(initial(MODEL, 1)), strict=True)
    assert not any(torch.equal(a.weight, b.weight) for a, b in pairs)
    again = zip(layers(initial(MODEL, 0)), layers(initial(MODEL, 0)), strict=True)
    assert all(torch.equal(a.weight, b.weight) for a, b in again)


def shown(net):
    """The trace of a network that answered once, and whose weights then went elsewhere."""
    trace = Trace(1, 10, model=net)
    net(torch.randn(2, 3, 8, 8))
    for p in net.parameters():
        p.data.fill_(9)
    return trace


@pytest.mark.parametrize("times", [0.5, 0.9, 1, 1.01, 2**0.5])
def test_proof_knows_the_bound(times, tiny):
    """Seen before step 1, whatever came after; and γ of 0 leaves the weights alone."""
    net = initial(MODEL)
    ZeroGamma()(net, streams(0))
    for layer in layers(net):
        layer.weight.data *= times
    assert all(check.ok for check in Xavier().proof(tiny, shown(net))) == (times == 1)


def test_proof_tells_torchs_own_weights_and_a_bias(tiny):
    assert [check.ok for check in Xavier().proof(tiny, shown(MODEL.build(3, 10)))].count(False) >= 2
    net = initial(MODEL)
    net.get_submodule("fc").bias.data[3] = 1e-6
    assert [check.ok for check in Xavier().proof(tiny, shown(net))] == [True, True, False]


def test_true_draws_pass_for_many_seeds(tiny):
    """Also in a layer of just 100 weights."""
    for seed in range(200):
        net = nn.Sequential(nn.Conv2d(3, 1, 2, padding=1), nn.Flatten(), nn.Linear(81, 10), nn.Linear(10, 10))
        Xavier()(net, streams(seed))
        assert all(check.ok for check in Xavier().proof(tiny, shown(net)))
