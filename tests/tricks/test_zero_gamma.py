import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models import DENSENET201, INCEPTION_V3, MOBILENET, ResNet, Timm
from harness.rng import streams
from harness.spec import Model, declares, stack
from harness.study import Study, plan
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.zero_gamma import ZeroGamma, residual, zero_gamma

MODEL = ResNet(blocks=(1, 2), width=4, small=True)


def started(model, *inits):
    net = model.build(1, 10)
    for init in inits:
        init(net, streams(0))
    return net


def zeros(net):
    """Names of the batch norms whose γ is 0 throughout."""
    norms = {name: m for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all((m.weight == 0).all() or (m.weight == 1).all() for m in norms.values())
    return {name for name, m in norms.items() if (m.weight == 0).all()}


@pytest.mark.parametrize(("bottleneck", "last"), [(True, "body.7"), (False, "body.4")])
@pytest.mark.parametrize("variant", "ABCD")
def test_last_norm_of_each_block_and_no_other(bottleneck, last, variant):
    net = started(MODEL.but(bottleneck=bottleneck, variant=variant), Xavier(), ZeroGamma())
    assert zeros(net) == {f"stage1.0.{last}", f"stage2.0.{last}", f"stage2.1.{last}"}


@pytest.mark.parametrize("bottleneck", [True, False])
def test_blocks_start_as_their_shortcut(bottleneck):
    net = started(MODEL.but(bottleneck=bottleneck), Xavier(), ZeroGamma())
    x = torch.randn(3, 1, 8, 8)
    for name, stage in net.named_children():
        for block in stage if name.startswith("stage") else []:
            expected = block.shortcut(x).relu()
            x = block(x)
            assert torch.equal(x, expected)
            assert x.std() > 0
        x = x if name.startswith("stage") else stage(x)


def test_other_weights_stay_as_they_were(tiny):
    with_, without = started(MODEL, Xavier(), ZeroGamma()), started(MODEL, Xavier())
    changed = {
        name.rpartition(".")[0]
        for (name, a), (_, b) in zip(with_.named_parameters(), without.named_parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert changed == zeros(with_)


def test_comes_after_the_weights_and_once(tiny):
    assert zero_gamma(tiny).init == (*tiny.init, ZeroGamma())
    assert zero_gamma(tiny).but(init=tiny.init) == tiny


@pytest.mark.parametrize(("inits", "ok"), [((ZeroGamma(),), True), ((ZeroGamma(), Xavier()), False), ((), False)])
def test_proof_reads_what_was_there_before_the_first_step(inits, ok, tiny):
    """γ of 0 that a later initialisation takes back is caught."""
    net = started(MODEL, *inits)
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    for p in net.parameters():
        p.data.fill_(0)
    assert all(check.ok for check in ZeroGamma().proof(tiny, trace)) == ok


def test_proof_catches_too_many(tiny):
    net = started(MODEL, ZeroGamma())
    net.get_submodule("stem")[1].weight.data.zero_()
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    assert not all(check.ok for check in ZeroGamma().proof(tiny, trace))


# --- timm's ---------------------------------------------------------------------------------------------------------

BLOCKS = {  # name: (its residual blocks, the batch norms that end them)
    "test_resnet": (["layer1.0", "layer2.0", "layer3.0", "layer4.0"], ["bn2", "bn2", "bn3", "bn2"]),
    "legacy_seresnet18": ([f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)], ["bn2"] * 8),
    "mobilenetv2_050": (
        [f"blocks.{i}" for i in ("1.1", "2.1", "2.2", "3.1", "3.2", "3.3", "4.1", "4.2", "5.1", "5.2")],
        ["bn3"] * 10,
    ),
}
WITHOUT = (DENSENET201, INCEPTION_V3, MOBILENET)
without = pytest.mark.parametrize("model", WITHOUT, ids=lambda model: model.name)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_timm_start_as_their_shortcut(name):
    """Where the block adds its input, or what its `downsample` makes of it, nothing else is left."""
    net = started(Timm(name=name), Xavier(), ZeroGamma()).eval()
    blocks, ends = BLOCKS[name]
    assert zeros(net) == {f"{block}.{end}" for block, end in zip(blocks, ends, strict=True)}
    seen = []

    def compare(block, args, out):
        (x,) = args
        down = getattr(block, "downsample", None)
        shortcut = x if down is None else down(x)
        seen.append(torch.equal(out, shortcut if name == "mobilenetv2_050" else shortcut.relu()) and out.std() > 0)

    for block in blocks:
        net.get_submodule(block).register_forward_hook(compare)
    net(torch.randn(2, 1, 64, 64))
    assert seen == [True] * len(blocks)


@pytest.mark.parametrize("name", ["resnext50_32x4d", "legacy_seresnet50", "legacy_seresnext50_32x4d"])
def test_all_blocks_of_table_1_are_known(name):
    assert residual(Timm(name=name), 3) == (16, 16)


@pytest.mark.parametrize("variant", "AD")
def test_blocks_are_told_by_the_additions_of_a_forward(variant):
    """A ResNet's, which are not counted, are as many as would be."""

    class Other(Model):
        def build(self, channels, classes):
            return MODEL.but(variant=variant).build(channels, classes)

    assert residual(Other(), 1) == residual(MODEL, 1) == (3, 3)


@without
def test_without_residual_blocks_it_changes_nothing(model, tiny):
    spec = tiny.but(model=model)
    assert residual(model, 1) == (0, 0)
    assert zero_gamma(spec) == spec


@without
def test_alone_on_such_a_network_it_is_refused_and_in_a_stack_it_runs(model, tiny):
    @declares("init", "decay")
    def efficient(spec):
        return stack(spec, (zero_gamma, no_bias_decay))

    spec = tiny.but(model=model)
    with pytest.raises(Problem, match="zero_gamma changes nothing"):
        plan(Study("s", "", spec, (no_bias_decay, zero_gamma), (0,)))
    (_, rung) = plan(Study("s", "", spec, (efficient,), (0,))).rungs
    assert rung.spec == no_bias_decay(spec)


def test_a_specification_that_names_it_in_vain_is_refused(tiny):
    with pytest.raises(Problem, match="densenet201.* has no residual blocks: leave ZeroGamma out of init"):
        tiny.but(model=DENSENET201).having("init", ZeroGamma()).agree()
    zero_gamma(tiny.but(model=Timm(name="test_resnet"))).agree()


@pytest.mark.parametrize(
    ("name", "additions"), [("regnety_002", 13), ("skresnet18", 8), ("test_convnext", 9), ("ghostnet_100", 16)]
)
def test_blocks_that_it_does_not_know_are_a_problem(name, additions, tiny):
    """Not silently none: that would be a network said to have no residual blocks."""
    with pytest.raises(Problem, match=f"knows 0 of the {additions} residual blocks of Timm.*{name}"):
        zero_gamma(tiny.but(model=Timm(name=name))).agree()


@pytest.mark.parametrize(
    ("zeroed", "ok"),
    [
        ("layer1.0.bn2 layer2.0.bn2 layer3.0.bn3 layer4.0.bn2", True),
        ("", False),
        ("layer1.0.bn2 layer2.0.bn2 layer4.0.bn2", False),
        ("layer1.0.bn2 layer2.0.bn2 layer3.0.bn2 layer4.0.bn2", False),
        ("layer1.0.bn2 layer2.0.bn2 layer3.0.bn3 layer4.0.bn2 layer4.0.downsample.2", False),
        ("layer1.0.bn2 layer2.0.bn2 layer3.0.bn3 layer4.0.bn2 bn1", False),
    ],
)
def test_proof_on_timms_blocks(zeroed, ok, tiny):
    net = started(Timm(name="test_resnet"), Xavier())
    for name in zeroed.split():
        net.get_submodule(name).weight.data.zero_()
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 32, 32))
    assert all(check.ok for check in ZeroGamma().proof(tiny, trace)) == ok
