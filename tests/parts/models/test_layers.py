"""Layers by formulas: against networks as they are built, and against those that are built wrong."""

import pytest
import torch
from torch import nn

from harness.evidence import Trace
from harness.parts.models import FCN, FasterRCNN, ResNet
from harness.parts.models import layers as room
from tests.kit.tiny import BASELINE

NET = ResNet(blocks=(1, 2, 1, 2), bottleneck=False, width=4)
EVERY = [
    NET.but(variant=variant, bottleneck=bottleneck, small=small)
    for variant in "ABCD"
    for bottleneck in (False, True)
    for small in (False, True)
    if not (small and variant == "C")
]


@pytest.mark.parametrize("network", EVERY, ids=lambda n: f"{n.variant}{'b' * n.bottleneck}{'s' * n.small}")
@pytest.mark.parametrize("stride", [4, 8])
def test_those_due_are_those_of_the_network(network, stride):
    for part in (
        FCN(backbone=network, output_stride=stride, dropout=0.2),
        FCN(backbone=network, output_stride=stride, frozen_norms=True),
        FasterRCNN(backbone=network),
        FasterRCNN(backbone=network, pyramid=True, frozen_norms=True, anchors=(8, 16, 32, 64, 128)),
    ):
        with torch.device("meta"):
            live = room.told(part.build(3, 4))
        assert part.due_layers() == live


def test_a_dilated_resnet_50_by_hand():
    """Stages 3 and 4 of a network of stride 8: 1, 2, 2 … and 2, 4, 4, as torchvision and timm have them."""
    due = room.stages(ResNet(blocks=(3, 4, 6, 3), variant="B"), False, 8)
    rates = {name: told[4] for name, told in due.items() if name.endswith("body.3")}
    assert [rates[f"stage3.{i}.body.3"] for i in range(6)] == [1, 2, 2, 2, 2, 2]
    assert [rates[f"stage4.{i}.body.3"] for i in range(3)] == [2, 4, 4]
    assert {rates[name] for name in rates if name.startswith(("stage1", "stage2"))} == {1}
    assert due["stage3.0.shortcut.0"][:3] == ("conv", 1, 1)
    assert due["stage2.0.body.3"][:3] == ("conv", 3, 2)


@pytest.mark.parametrize("name", ["base.stage2.0.body.3", "head.0", "aux.3"])
def test_one_layer_that_does_otherwise_is_told(name):
    part = FCN(backbone=NET, output_stride=8)
    net = part.build(3, 4)
    assert room.layers_check(part.due_layers(), Trace(1, 4, net)).ok
    layer = net.get_submodule(name)
    if isinstance(layer, nn.Dropout):
        layer.p = 0.5
    else:
        layer.dilation = (3, 3)
    check = room.layers_check(part.due_layers(), Trace(1, 4, net))
    assert not check.ok
    assert name in check.seen


def test_frozen_parameters_by_their_names():
    """Stem and stage 1 whole, and every norm of the backbone; no norm of a head."""
    part = FCN(backbone=BASELINE.but(model=NET), frozen_stages=2, frozen_norms=True)
    with torch.device("meta"):
        names = [name for name, _ in part.build(3, 4).named_parameters()]
    still = room.frozen(names, ("stem", "stage1"), True, part.due_layers())
    assert still == {name for name in names if part.frozen(name)}
    assert {"base.stem.0.weight", "base.stage1.0.body.0.weight", "base.stage4.1.body.4.bias"} <= still
    assert not {"base.stage2.0.body.0.weight", "head.1.weight"} & still
    assert room.frozen(names, ("stem",), False, part.due_layers()) == {
        name for name in names if name.startswith("base.stem")
    }
