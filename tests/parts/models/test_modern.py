"""The fields of a ResNet that lead to ResNet-RS, Assembled-CNN and ConvNeXt."""

import json
from itertools import combinations

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from harness import Problem
from harness.parts.models import CONVNEXT_T, FCN, RESNET50, ResNet
from harness.parts.models.modern import logits, rates_of
from harness.parts.models.pieces import BlurPool, DropBlock, DropPath, SelectiveKernel
from harness.spec import parse, plain
from harness.tricks.fp16 import fp16
from harness.tricks.sam import sam
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma
from tests.kit.networks import is_proved
from tests.kit.stops import Stops, trained, untimed
from tests.parts.models.test_resnet import assert_same_function, randomised

TINY = ResNet(blocks=(1, 2), width=8, small=True)
FIELDS = {
    "drop_path": 0.5,
    "dropout": 0.5,
    "drop_block": 0.5,
    "squeeze": 0.25,
    "selective": True,
    "blur": 3,
    "activation": "gelu",
    "norm": "layer",
    "patchify": 2,
    "kernel": 5,
    "depthwise": True,
    "inverted": True,
    "spatial_first": True,
    "fewer_activations": True,
    "fewer_norms": True,
    "separate": True,
    "layer_scale": 0.1,
}
every_field = pytest.mark.parametrize("name", FIELDS)
B = RESNET50.but(variant="B")
RUNGS = {  # ConvNeXt's Table 10 in order: what each sets, and its G multiply-adds; layer norms' own are counted there
    "stage ratio": ({"blocks": (3, 3, 9, 3)}, 4.53),
    "patchify stem": ({"patchify": 4}, 4.42),
    "depthwise conv": ({"depthwise": True}, 2.35),
    "width": ({"width": 96}, 5.27),
    "inverted bottleneck": ({"inverted": True}, 4.64),
    "depthwise moved up": ({"spatial_first": True}, 4.07),
    "kernel 5": ({"kernel": 5}, 4.10),
    "kernel 11": ({"kernel": 11}, 4.29),
    "kernel 7": ({"kernel": 7}, 4.15),
    "GELU": ({"activation": "gelu"}, 4.15),
    "fewer activations": ({"fewer_activations": True}, 4.15),
    "fewer norms": ({"fewer_norms": True}, 4.15),
    "layer norm": ({"norm": "layer"}, 4.15),
    "separate downsampling": ({"separate": True, "layer_scale": 1e-6}, 4.46),  # torchvision's number
}


def filled(net):
    """The weights of a network that was built without any: such that each shows in the logits."""
    return randomised(net.to_empty(device="cpu"))


def test_the_last_rung_is_torchvisions_convnext_tiny():
    """Weights carried over: a scale comes last in our blocks and first in theirs, a 1 x 1 is a linear layer there."""
    with torch.device("meta"):
        ours, theirs = CONVNEXT_T.build(3, 1000), torchvision.models.convnext_tiny()
    theirs = filled(theirs).eval()
    found, held = [], []
    for name, value in theirs.state_dict().items():
        held += [value] * name.endswith("layer_scale")
        found += [] if name.endswith("layer_scale") else [value]
        if name.endswith("block.5.bias"):
            found.append(held.pop())
    ours = ours.to_empty(device="cpu").eval()
    own = ours.state_dict()
    assert len(own) == len(found)
    for to, value in zip(own.values(), found, strict=True):
        to.copy_(value.reshape(to.shape))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z, expected = ours(x), theirs(x)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the reference tells images apart"
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    shape = torchvision.models.convnext_tiny
    assert [m.p for m in shape(stochastic_depth_prob=0.1).modules() if hasattr(m, "p") and hasattr(m, "mode")] == (
        pytest.approx(rates_of(CONVNEXT_T.but(drop_path=0.1)))
    )


def test_rungs_cost_what_convnexts_table_says():
    model = B
    for name, (changes, published) in RUNGS.items():
        model, total = model.but(**changes), 0

        def count(layer, args, out):
            nonlocal total
            total += out.numel() * layer.weight[0].numel()

        with torch.device("meta"):
            net = model.build(3, 1000).eval()
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.register_forward_hook(count)
            net(torch.zeros(1, 3, 224, 224))
        assert total / 1e9 == pytest.approx(published, abs=0.006), name
    assert model == CONVNEXT_T


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({"blur": 3}, "resnetblur50"), ({"squeeze": 1 / 16}, "seresnet50")],
    ids=lambda value: str(value),
)
def test_is_timms(ours, theirs):
    """In little: timm's own classes, one block a stage. Odd sides, where edges show."""
    options = {"layers": (1, 1, 1, 1), "zero_init_last": False}
    net = timm.create_model(theirs, num_classes=10, **options)
    assert_same_function(B.but(blocks=(1, 1, 1, 1), **ours).build(3, 10), net, 72)


@pytest.mark.parametrize(("size", "side"), [(3, 8), (7, 8), (7, 5)])
def test_drop_block_is_timms_by_the_same_draws(size, side, monkeypatch):
    """Whose draws are of middles, and ours of corners. Of maps that are smaller all is left out at once."""
    from timm.layers.drop import drop_block_2d

    torch.manual_seed(0)
    part, x = DropBlock(0.4, size), torch.randn(3, 4, side, side)
    part.progress = 0.5
    torch.manual_seed(1)
    ours, short = part(x), min(size, side)
    torch.manual_seed(1)
    draws, chances = torch.rand(3, 4, side - short + 1, side - short + 1), []

    def drawn(noise, chance):
        chances.append(chance)
        before = short // 2
        return noise.copy_(nn.functional.pad((draws < chance).float(), [before, short - 1 - before] * 2))

    monkeypatch.setattr(torch.Tensor, "bernoulli_", drawn)
    torch.testing.assert_close(ours, drop_block_2d(x, 0.2, size, couple_channels=False))
    assert chances == [pytest.approx(0.2 * side**2 / short**2 / (side - short + 1) ** 2)]
    assert 0 < (ours == 0).float().mean() < 1
    assert torch.equal(part.eval()(x), x)


def test_the_rate_of_drop_block_rises_in_a_line_in_the_last_two_stages():
    model = B.but(blocks=(1, 2, 1), width=4, small=True, drop_block=0.2)
    net = model.build(3, 2)
    rates = {name: m.rate for name, m in net.named_modules() if isinstance(m, DropBlock)}
    last, before = ({r for n, r in rates.items() if n.startswith(f"stage{stage}.")} for stage in (3, 2))
    assert (last, before, len(rates)) == ({0.2}, {0.2 * 0.25}, 4 + 2 * 4)
    for step in (0, 3, 9):
        model.tell(net, step, 12)
        assert {net.get_submodule(name).progress for name in rates} == {step / 12}
        assert model.told(step, 12) == {"progress": torch.tensor(step / 12, dtype=torch.float64)}
    assert TINY.told(3, 12) == {}
    with torch.no_grad():
        once = DropBlock(0.2, 3)
        once.progress = 1.0
        gone = (once(torch.ones(200, 4, 14, 14)) == 0).float().mean()
    assert gone == pytest.approx(0.2, abs=0.03), "fewer by what overlaps"


def test_a_size_alone_is_no_drop_block(tiny):
    with pytest.raises(
        Problem, match=r"^model\.drop_block_size is of DropBlock: set model\.drop_block, or leave it out$"
    ):
        tiny.but(model=tiny.model.but(drop_block_size=3)).agree()


@pytest.mark.parametrize("stride", [1, 2])
def test_selective_kernels_are_timms(stride):
    ours = SelectiveKernel(8, 16, 3, stride, 1, nn.BatchNorm2d, lambda: nn.ReLU(), False)
    theirs = timm.layers.SelectiveKernel(8, 16, stride=stride, rd_channels=32, split_input=False)
    theirs = randomised(theirs)
    own = dict(ours.named_parameters())
    for to, value in zip(own.values(), (p.data for p in theirs.parameters()), strict=True):
        to.data.copy_(value.reshape(to.shape))
    x = torch.randn(3, 8, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_dropped_paths_are_torchvisions(rate):
    """At the same draws, in training and out of it."""
    ours, theirs, x = DropPath(rate), torchvision.ops.StochasticDepth(rate, "row"), torch.randn(64, 3, 2, 2)
    for training in (True, False):
        found = []
        for part in (ours, theirs):
            torch.manual_seed(0)
            found.append(part.train(training)(x))
        assert torch.equal(*found)
        assert torch.equal(found[0], x) != training
    dropped = (theirs.train()(x) == 0).flatten(1).all(1).double().mean()
    assert dropped == pytest.approx(rate, abs=0.2)


@pytest.mark.parametrize(("blocks", "rate"), [((3, 4, 6, 3), 0.1), ((2, 1), 0.4)])
def test_rates_rise_as_timms(blocks, rate):
    model = B.but(blocks=blocks, drop_path=rate)
    due = [float(r) for r in np.linspace(0, rate, sum(blocks))]
    live = [m.rate for m in model.but(width=4).build(3, 2).modules() if type(m).__name__ == "DropPath"]
    assert live == pytest.approx(due)
    assert rates_of(model) == pytest.approx(due)
    net = timm.create_model("resnet50", layers=blocks, channels=(8,) * len(blocks), drop_path_rate=rate)
    found = [m.drop_path.drop_prob if m.drop_path else 0.0 for m in net.modules() if hasattr(m, "drop_path")]
    assert live == pytest.approx(found)
    (alone,) = rates_of(B.but(blocks=(1,), drop_path=rate))
    assert alone == rate, "a single block is the last"


@pytest.mark.parametrize("size", [3, 5, 7])
def test_blur_is_timms(size):
    x = torch.randn(2, 5, 11, 8)
    torch.testing.assert_close(BlurPool(size)(x), timm.layers.BlurPool2d(5, size, 2)(x))


# --- second opinions -------------------------------------------------------------------------------------------------


def compared(model, training):
    """The greatest gaps of logits and gradients between a network and its reference, at the same draws.

    Logits are the same to the bit where layer norm, which the reference writes out, is not there: elsewhere a number
    that a ReLU gets is on the other side of 0 now and then, and an audit of a long run refused it.
    """
    net = model.build(3, 5)
    generator = torch.Generator().manual_seed(0)
    for name, p in net.named_parameters():
        spread = 0.3 if p.ndim == 1 else (2 / p[0].numel()) ** 0.5
        p.data.normal_(1.0 * (p.ndim == 1 and name.endswith("weight")), spread, generator=generator)
    net.train(training)
    x = torch.randn(6, 3, 12, 12, generator=generator)
    weights = {n: t.detach().clone().requires_grad_(t.is_floating_point()) for n, t in net.named_parameters()}
    weights |= {n: t.clone() for n, t in net.named_buffers()}
    torch.manual_seed(7)
    z = net(x)
    torch.manual_seed(7)
    again = logits(model, weights, x, training, nn.functional.conv2d, nn.functional.linear)
    other = nn.functional.one_hot(torch.arange(6) % 5, 5).float()
    (z * other).sum().backward()
    (again * other).sum().backward()
    scale = max(float(p.grad.abs().max()) for p in net.parameters())
    off = max(float((p.grad - weights[n].grad).abs().max()) for n, p in net.named_parameters())
    assert model.norm or torch.equal(z, again)
    return float((z - again).detach().abs().max()) / float(z.detach().abs().max()), off / scale


PAIRS = [dict.fromkeys(names) for names in combinations(FIELDS, 2)]
STACKS = [dict.fromkeys(set(FIELDS) - {"blur"}), *PAIRS[::9], *({name: None} for name in FIELDS)]


@pytest.mark.parametrize("names", STACKS, ids=lambda names: " ".join(sorted(names))[:40])
def test_the_reference_computes_what_the_network_does(names):
    model = TINY.but(**{name: FIELDS[name] for name in names})
    for training in (True, False):
        z, gradient = compared(model, training)
        assert z < 1e-5
        assert gradient < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"small": False, "variant": "D", "blur": 3, "activation": "silu"},
        {"small": False, "variant": "B", "norm": "layer", "blur": 5},
        {
            "bottleneck": False,
            "selective": True,
            "kernel": 5,
            "blur": 3,
            "fewer_norms": True,
            "fewer_activations": True,
        },
        {"bottleneck": False, "variant": "D", "separate": True, "squeeze": 1.0},
    ],
    ids=str,
)
def test_likewise_of_other_stems_and_blocks(changes):
    for training in (True, False):
        z, gradient = compared(TINY.but(**changes), training)
        assert z < 1e-5
        assert gradient < 1e-4


@pytest.mark.parametrize("variant", "ABD")
def test_without_a_field_it_is_the_reference_of_before(variant):
    model = TINY.but(variant=variant)
    net = randomised(model.build(3, 5)).train()
    weights, x = {**dict(net.named_parameters()), **dict(net.named_buffers())}, torch.randn(4, 3, 9, 9)
    held = {n: t.detach().clone() for n, t in weights.items()}
    functional = nn.functional.conv2d, nn.functional.linear
    assert torch.allclose(model.reference(weights, x, True, *functional), logits(model, held, x, True, *functional))


# --- values ----------------------------------------------------------------------------------------------------------


@every_field
def test_proof_tells_it(name, tiny):
    claimed = TINY.but(blocks=(1, 1), **{name: FIELDS[name]})
    assert is_proved(claimed, claimed, tiny)
    assert not is_proved(claimed, TINY.but(blocks=(1, 1)), tiny)


@every_field
def test_absent_it_is_nowhere(name):
    assert name not in plain(TINY)
    model = TINY.but(**{name: FIELDS[name]})
    assert parse(json.loads(json.dumps(plain(model)))) == model
    assert model.but(**{name: None}) == TINY


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bottleneck": False, "depthwise": True}, "model.depthwise is about bottlenecks"),
        ({"bottleneck": False, "inverted": True}, "model.inverted is about bottlenecks"),
        ({"separate": True, "blur": 3}, "model.blur has no stride to blur before"),
        (
            {"variant": "C", "small": False, "patchify": 4},
            "ResNet-C is about the stem of large images, which model.patch",
        ),
    ],
)
def test_what_would_do_nothing_is_refused(changes, said, tiny):
    with pytest.raises(Problem, match=said):
        tiny.but(model=TINY.but(**changes)).agree()


@pytest.mark.parametrize(
    ("name", "value"), [("kernel", 3), ("kernel", 4), ("blur", 4), ("drop_path", 0.0), ("depthwise", False)]
)
def test_odd_values_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        TINY.but(**{name: value})


def test_ranks_that_are_one_and_draws_of_each_do_not_go_together(tiny):
    spec = tiny.but(model=TINY.but(drop_path=0.1), ranks=2, sync_norms=True)
    with pytest.raises(
        Problem, match=r"^model.drop_path draws on each rank by itself, and sync_norms takes all as one"
    ):
        spec.agree()


def test_a_segmenter_stands_on_none_of_them(tiny):
    with pytest.raises(ValueError, match=r"model\.backbone: .* leave blur, squeeze out"):
        FCN(backbone=TINY.but(blur=3, squeeze=0.25)).check(tiny)


# --- in a training ---------------------------------------------------------------------------------------------------

WHOLE = CONVNEXT_T.but(blocks=(1, 1), width=8, patchify=2, layer_scale=0.1, drop_path=0.3, dropout=0.2, squeeze=0.25)


@pytest.mark.parametrize("more", [fp16, sam, lambda spec: spec.but(microbatch=149)], ids=["fp16", "sam", "passes"])
def test_all_at_once_prove_themselves(more, tiny, live):
    done, _ = live(more(tiny.but(model=WHOLE)))
    assert [row for row in done.result["evidence"] if not row["ok"]] == []


def test_stopped_within_an_epoch_and_gone_on_is_as_if_never_stopped(tiny):
    """What is left out is drawn anew at each batch, from the seed: nothing of it needs keeping."""
    spec = tiny.but(model=WHOLE, batch_size=149, epochs=2)
    whole, keeper = trained(spec), Stops([1])
    with pytest.raises(KeyboardInterrupt):
        trained(spec, keeper=keeper)
    keeper.asked, keeper.at = 0, set()
    done = trained(spec, keeper=keeper)
    assert untimed(done.result) == untimed(whole.result)
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_zero_gamma_is_refused_where_no_norm_ends_a_block(tiny):
    for changes in ({"fewer_norms": True}, {"norm": "layer"}):
        with pytest.raises(Problem, match="zero γ knows 0 of the 2 residual blocks of ResNet"):
            zero_gamma(tiny.but(model=tiny.model.but(**changes))).agree()
    zero_gamma(tiny.but(model=tiny.model.but(squeeze=0.25, layer_scale=0.1))).agree()


def test_zero_gamma_starts_blocks_as_their_shortcut(tiny):
    """Behind the last norm an excitation, a scale and a dropped path leave 0 as it is."""
    net = TINY.but(squeeze=0.25, layer_scale=0.1, drop_path=0.5).build(3, 5)
    ZeroGamma()(net, None)
    block, x = net.stage2[1], torch.randn(2, 64, 4, 4)
    assert torch.equal(block(x), block.shortcut(x).relu())
