import pytest
import torch
from torch import nn

from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models import ResNet
from harness.rng import streams
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma

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
