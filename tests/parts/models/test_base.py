"""Stages of a classifier as the base of another network: dilated, frozen, with the weights of their run."""

import copy

import pytest
import torch
from torch import nn

from harness import Problem
from harness.parts.models import FCN, FasterRCNN, ResNet, Timm
from harness.parts.models.base import FrozenNorm, dilate, stages_of
from harness.parts.models.faster_rcnn import boxed
from harness.tasks.detect import Detect
from harness.tasks.segment import Segment
from tests.kit.coloured import Coloured
from tests.kit.tiny import BASELINE

SMALL = ResNet(blocks=(2, 2, 2, 2), bottleneck=False, width=4, variant="B")
MODELS = {
    "A": SMALL.but(variant="A", bottleneck=True),
    "B": SMALL.but(bottleneck=True),
    "C": SMALL.but(variant="C", bottleneck=True),
    "plain": SMALL,
    "small": SMALL.but(small=True),
}


def learned(net, seed=0):
    """`net` with weights and statistics of its own, for evaluation."""
    torch.manual_seed(seed)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net.eval()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("by", [2, 4, 8])
def test_a_dilated_network_gives_what_it_gave_and_what_lies_between(name, by):
    """À trous: every second, fourth or eighth cell is the cell of the network that strides."""
    part = FCN(backbone=MODELS[name])
    whole = 8 if name == "small" else 32
    plain, dilated = (learned(nn.Sequential(*stages_of(part, 3).values())).double() for _ in range(2))
    dilate({f"stage{i}": dilated[i] for i in range(1, 5)}, MODELS[name], whole // by)
    side = 64 if name == "small" else 128
    x = torch.randn(2, 3, side, side, dtype=torch.float64)  # in float32 CPUs round differently
    with torch.no_grad():
        due, seen = plain(x), dilated(x)
    assert seen.shape[2] == side * by // whole
    assert torch.allclose(seen[:, :, ::by, ::by], due, atol=1e-5)
    assert float(seen.std()) > 0


def test_the_pool_of_a_dilated_d_goes_on_at_stride_1():
    """Of the first dilated stage every second cell is the old one; the last row and column are averages of one less."""
    model = SMALL.but(variant="D", blocks=(1, 1, 1))
    plain, dilated = (learned(nn.Sequential(*stages_of(FCN(backbone=model), 3).values())) for _ in range(2))
    dilate({f"stage{i}": dilated[i] for i in range(1, 4)}, model, 8)
    with torch.no_grad():
        due, seen = plain(torch.ones(1, 3, 64, 64) * torch.linspace(0, 1, 64)), None
        seen = dilated(torch.ones(1, 3, 64, 64) * torch.linspace(0, 1, 64))
    assert torch.allclose(seen[:, :, ::2, ::2], due, atol=1e-5)
    pool = dilated[3][0].shortcut.pool
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert pool(x).tolist() == [[[[2.0, 3.0, 3.5], [3.5, 4.5, 5.0]]]]


def test_a_stride_that_no_stages_give_is_refused(tiny):
    part = FCN(backbone=SMALL.but(small=True), output_stride=32)
    with pytest.raises(ValueError, match=r"^model.output_stride=32: stages stride 1, 2, 4, 8$"):
        part.build(3, 2)


@pytest.mark.parametrize(
    "part", [FCN(backbone=BASELINE.but(model=SMALL)), FasterRCNN(backbone=BASELINE)], ids=lambda p: type(p).__name__
)
def test_all_of_a_backbone_but_its_last_layer_is_taken_over(part):
    channels = 3 if isinstance(part, FCN) else 1
    upstream = learned(part.network.build(channels, 10))
    net = learned(part.build(channels, 4), seed=1)
    before = copy.deepcopy(net.state_dict())
    part.adopt(net, upstream)
    due = part.adopted(upstream.state_dict())
    assert len(due) == len(upstream.state_dict()) - 2, "its fc has a weight and a bias"
    live = net.state_dict()
    assert all(torch.equal(live[name], tensor) for name, tensor in due.items())
    assert all(torch.equal(live[name], before[name]) for name in live.keys() - due.keys()), "heads keep what they drew"
    upstream.get_submodule("stem")[0].weight.data.zero_()
    assert any(tensor.any() for name, tensor in live.items() if name.endswith("stem.0.weight")), "a copy"


def test_the_last_stage_of_a_c4_detector_is_its_head():
    part = FasterRCNN(backbone=SMALL)
    names = dict(part.build(3, 2).named_parameters())
    assert part.place("stage4.0.body.0.weight") == "roi.box_head.stage4.0.body.0.weight"
    assert part.place("stage3.0.body.0.weight") == "base.stage3.0.body.0.weight"
    assert {part.place("stage4.0.body.0.weight"), part.place("stem.0.weight")} <= names.keys()
    assert not any(name.startswith("base.stage4") for name in names)


def test_frozen_stages_and_norms_stay_while_others_learn():
    part = FCN(backbone=SMALL, frozen_stages=2, frozen_norms=True)
    net = part.build(3, 2).train()
    before = copy.deepcopy(net.state_dict())
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not part.frozen(name))
    z = net(torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64))
    z.sum().backward()
    still = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    assert {"base.stem.0.weight", "base.stage1.0.body.0.weight", "base.stage4.0.body.1.weight"} <= still
    assert not {"base.stage2.0.body.0.weight", "head.0.weight", "head.1.weight"} & still
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {
        f"{head}.1.{kind}"
        for head in ("head", "aux")
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert sum(isinstance(module, FrozenNorm) for module in net.modules()) == 20


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FCN(backbone=SMALL, frozen_stages=6), r"model.frozen_stages=6: with the stem there are 5"),
        (FCN(backbone=SMALL), r"model=FCN answers each pixel: set task=Segment"),
        (FasterRCNN(backbone=SMALL), r"model=FasterRCNN finds boxes: set task=Detect"),
        (
            FCN(backbone=SMALL.but(blocks=(1,)), output_stride=4),
            r"an auxiliary head needs two stages$",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_the_plan(model, said, tiny):
    with pytest.raises(ValueError, match=said):
        model.check(tiny)


TIMM = Timm(name="resnet18", options=(("layers", (1, 1, 1, 1)), ("channels", (8, 16, 24, 32))))


def test_a_network_of_timms_is_taken_over_and_dilated_by_timm():
    part = FCN(backbone=BASELINE.but(model=TIMM))
    net, upstream = learned(part.build(3, 2)), learned(TIMM.build(3, 10), seed=1)
    part.adopt(net, upstream)
    due = part.adopted(upstream.state_dict())
    assert len(due) == len(upstream.state_dict()) - 2
    x = torch.randn(1, 3, 64, 64)
    assert net(x, torch.zeros(1, 6)).shape == (1, 2, 8, 8)
    with torch.no_grad():
        whole = upstream.forward_features(x)
        assert torch.allclose(net.base(x)[-1][:, :, ::4, ::4], whole, atol=1e-4)


@pytest.mark.parametrize("network", [SMALL, TIMM], ids=["ours", "timm"])
def test_a_pyramid_has_a_scale_of_anchors_a_level(network):
    part = FasterRCNN(backbone=network, pyramid=True, anchors=(8, 16, 32, 64, 128), pooled=3, region_samples=8)
    net = part.build(3, 2).train()
    y = boxed(2, 64, 96)
    z = net(torch.randn(2, 3, 64, 96), y)
    cells = sum(-(-64 // s) * -(-96 // s) for s in (4, 8, 16, 32, 64))
    assert int(z[0, 0]) == 3 * cells
    with pytest.raises(ValueError, match="a pyramid of 5 levels takes a scale for each"):
        part.but(anchors=(8, 16)).build(3, 2)


def test_what_timm_cannot_do_is_said_in_a_line(tiny):
    with pytest.raises(Problem, match=r"^model.backbone: inception_v3 gives no features of output stride 8 in timm "):
        FCN(backbone=Timm(name="inception_v3")).build(3, 2)
    spec = tiny.but(task=Detect(), model=FasterRCNN(backbone=TIMM))
    with pytest.raises(ValueError, match="timm's networks no last stage is told for a head: set model.pyramid=True"):
        spec.model.check(spec)
    alike = Timm(name="resnet18", options=(("layers", (1, 1, 1, 1)), ("channels", (8, 8, 8, 8))))
    with pytest.raises(ValueError, match=r"12 tensors of .* no place here, layer3.0.downsample.0.weight the first"):
        FCN(backbone=alike).check(tiny.but(task=Segment(), data=Coloured()))
