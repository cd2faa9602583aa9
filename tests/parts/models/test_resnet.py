import pytest
import timm
import torch
import torchvision
from torch import nn

from harness.parts.models import (
    RESNET18,
    RESNET34,
    RESNET50,
    RESNET101,
    RESNET152,
    ResNet,
    cost,
)
from tests.kit.networks import is_proved

DEPTHS = {18: RESNET18, 34: RESNET34, 50: RESNET50, 101: RESNET101, 152: RESNET152}


TINY = ResNet(blocks=(1, 1), width=4, small=True)


def randomised(net):
    """Weights and batch statistics such that each of them shows in the logits."""
    generator = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.copy_(torch.empty_like(value).uniform_(0.5, 1.5, generator=generator))
        elif value.is_floating_point():
            spread = 0.2 if value.ndim == 1 else (2 / value[0].numel()) ** 0.5
            value.copy_(torch.empty_like(value).normal_(0, spread, generator=generator))
    return net


def assert_same_function(ours, theirs, size):
    theirs = randomised(theirs)
    own, other = ours.state_dict().values(), theirs.state_dict().values()
    assert [tuple(a.shape) for a in own] == [tuple(b.shape) for b in other]
    for a, b in zip(own, other, strict=True):
        a.copy_(b)
    x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z, expected = ours.double().eval()(x), theirs.double().eval()(x)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the reference tells images apart"
    assert (z - expected).abs().max() <= 1e-6


def test_b_is_torchvisions_resnet50():
    assert_same_function(RESNET50.but(variant="B").build(3, 1000), torchvision.models.resnet50(), 64)


def test_a_is_not_torchvisions_resnet50():
    """What others call ResNet-50 strides in the 3 x 3; the paper's baseline does not."""
    ours, theirs = RESNET50.build(3, 1000), torchvision.models.resnet50()
    with pytest.raises(AssertionError, match="1e-06"):
        assert_same_function(ours, theirs, 64)


def test_d_is_timms_resnet50d():
    # 72 px: the last two stages see odd sides, where rounding of the pooled shortcut shows
    assert_same_function(RESNET50.but(variant="D").build(3, 1000), timm.create_model("resnet50d"), 72)


def test_plain_blocks_are_torchvisions_resnet18():
    assert_same_function(RESNET18.build(3, 1000), torchvision.models.resnet18(), 64)


@pytest.mark.parametrize("depth", DEPTHS)
def test_depths_have_torchvisions_parameters(depth):
    model = DEPTHS[depth]
    convs = 3 if model.bottleneck else 2
    assert sum(model.blocks) * convs + 2 == depth, "convolutions of the blocks, the stem's, and the last layer"
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
    assert cost(model, 3, 1000, 224)[0] == sum(p.numel() for p in theirs.parameters())
    stages = [len(getattr(theirs, f"layer{i}")) for i in (1, 2, 3, 4)]
    assert list(model.blocks) == stages


def test_stems():
    x = torch.randn(2, 3, 16, 16)
    assert TINY.build(3, 10).get_submodule("stem")(x).shape == (2, 4, 16, 16)
    for variant in "ABCD":
        large = TINY.but(variant=variant, small=False).build(3, 10)
        assert large.get_submodule("stem")(x).shape == (2, 4, 4, 4)
        assert large(x).shape == (2, 10)


@pytest.mark.parametrize("side", [7, 8, 9])
@pytest.mark.parametrize("variant", "ABCD")
def test_any_side_fits_both_paths(variant, side):
    assert TINY.but(variant=variant, blocks=(1, 1, 1)).build(1, 5)(torch.randn(2, 1, side, side)).shape == (2, 5)


def where_it_strides(net):
    """(kernel, kind of path) of every layer below the stem that halves the image."""
    return [
        (layer.kernel_size if isinstance(layer.kernel_size, int) else layer.kernel_size[0], "shortcut" in name)
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.AvgPool2d) and "stage" in name and layer.stride in (2, (2, 2))
    ]


def test_where_each_variant_strides():
    strides = {v: where_it_strides(TINY.but(variant=v).build(1, 10)) for v in "ABCD"}
    assert strides == {
        "A": [(1, False), (1, True)],
        "B": [(3, False), (1, True)],
        "C": [(3, False), (1, True)],
        "D": [(3, False), (2, True)],
    }


@pytest.mark.parametrize("small", [False, True])
def test_proof_tells_stems_and_depths_apart(small, tiny):
    """With one stage there is nothing that strides: what is left is the stem, the blocks and the multiply-adds."""
    one = TINY.but(blocks=(1,), small=small)
    assert is_proved(one, one, tiny)
    for other in (one.but(small=not small), one.but(blocks=(2,)), one.but(width=8), one.but(bottleneck=False)):
        assert not is_proved(one, other, tiny)
    assert is_proved(one.but(variant="D"), one, tiny) == small, "a deep stem is none of small images"


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_proof_tells_variants_apart(small, bottleneck, tiny):
    """Each is told from all others, but for those that the docstring says are one network there."""
    model = TINY.but(small=small, bottleneck=bottleneck)
    same = {frozenset(v) for v in "ABCD"}
    if small:
        same |= {frozenset("BC")}
    if not bottleneck:
        same |= {frozenset("AB")}
    if small and not bottleneck:
        same |= {frozenset("AC")}
    for claimed in "ABCD":
        for built in "ABCD":
            told = is_proved(model.but(variant=claimed), model.but(variant=built), tiny)
            assert told == (frozenset((claimed, built)) in same), (claimed, built)
