import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models import CONVNEXT_T, Airbench, Dense, ResNet
from harness.rng import streams
from harness.spec import Init
from harness.tricks.dirac import Dirac, dirac, identity_, partial_identities
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma

SLIM = Airbench(widths=(8, 12))


@pytest.mark.parametrize("shape", [(4, 4, 3, 3), (7, 4, 3, 3), (6, 2, 1, 1), (5, 3, 3, 5)])
def test_is_torchs(shape):
    """What airbench's code calls on every convolution."""
    ours = torch.randn(shape)
    due = ours.clone()
    torch.nn.init.dirac_(due[: due.size(1)])
    assert torch.equal(identity_(ours), due)


def test_the_first_filters_give_their_channels():
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    identity_(conv.weight)
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(conv(x)[:, :3], x)


@pytest.mark.parametrize(
    ("model", "due"),
    [
        (Airbench(widths=(24, 30)), ["block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2"]),
        (Airbench(widths=(6,)), ["block1.conv2"]),  # 24 channels to 6 are too many
        (ResNet(blocks=(1,), bottleneck=False, width=4, small=True), ["stage1.0.body.0", "stage1.0.body.3"]),
        (
            ResNet(blocks=(1,), width=4, small=True),
            [f"stage1.0.{n}" for n in ("body.0", "body.3", "body.6", "shortcut.0")],
        ),
        (CONVNEXT_T.but(blocks=(1, 1), width=4), ["stage1.0.body.3", "stage2.0.body.3"]),  # no depthwise, no 2 x 2
    ],
    ids=repr,
)
def test_which_convolutions_begin_so(model, due):
    assert list(partial_identities(model.build(3, 10))) == due


def test_other_weights_are_as_they_were_drawn():
    plain, made = SLIM.build(3, 10), SLIM.build(3, 10)
    for net, parts in ((plain, (Xavier(),)), (made, (Xavier(), Dirac()))):
        for part in parts:
            part(net, streams(0))
    moved = {n for (n, a), b in zip(plain.named_parameters(), made.parameters(), strict=True) if not torch.equal(a, b)}
    assert (
        moved
        == Dirac().over(made)
        == {f"block{i}.conv{j}.weight" for i in (1, 2) for j in (1, 2)} - {"block1.conv1.weight"}
    )
    old, new = (net.get_parameter("block2.conv1.weight") for net in (plain, made))
    assert torch.equal(old[8:], new[8:])
    reference = Dirac().reference({n: p.shape for n, p in made.named_parameters()}, made, streams(0))
    assert reference.keys() == moved
    told = reference["block2.conv1.weight"]
    assert np.isnan(told[8:]).all()
    assert np.array_equal(told[:8], new[:8].detach().numpy())


def test_comes_after_what_draws_and_before_others_whichever_was_first(tiny):
    assert dirac(tiny).init == (*tiny.init, Dirac())
    assert dirac(zero_gamma(tiny)) == zero_gamma(dirac(tiny)) == tiny.but(init=(*tiny.init, Dirac(), ZeroGamma()))


class Kept(Init):
    """As of a file."""

    loads = True

    def __call__(self, model, rng): ...


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": Dense(size=8)}, r"^Dense\(.*\) has no convolution after the first with as many filters"),
        ({"model": ResNet(blocks=(1,), width=4, inverted=True, depthwise=True, norm="layer")}, None),
        ({"init": (Xavier(), Kept())}, "^init=Dirac sets weights that a file has"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(change, said, tiny):
    spec = dirac(tiny.but(**change))
    if said is None:
        spec.agree()
        return
    with pytest.raises(Problem, match=said):
        spec.agree()


def test_proof_reads_what_was_there_before_the_first_step(tiny):
    for parts, ok in (((Xavier(), Dirac()), True), ((Xavier(),), False)):
        net = SLIM.build(1, 10)
        for part in parts:
            part(net, streams(0))
        trace = Trace(1, 10, model=net)
        net(torch.zeros(2, 1, 8, 8))
        assert all(check.ok for check in Dirac().proof(tiny, trace)) == ok
