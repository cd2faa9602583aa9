"""A ResNet's field `big_little`: stages of two branches."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import Problem
from harness.parts.models import FCN, RESNET50, FasterRCNN, ResNet, cost
from harness.parts.models.modern import blocks_of, made_of, walked
from harness.parts.models.pieces import BigLittle
from harness.spec import plain, stack
from harness.tricks.fp16 import fp16
from harness.tricks.no_bias_decay import DecayWeights, no_bias_decay
from harness.tricks.zero_gamma import ZeroGamma, last_norms, zero_gamma
from tests.kit.networks import is_proved
from tests.kit.stops import Stops, trained, untimed
from tests.parts.models.test_modern import FIELDS, compared

TINY = ResNet(blocks=(3, 2, 1), width=8, small=True, big_little=(2, 4))
LARGE = TINY.but(small=False)
B = RESNET50.but(variant="B", big_little=(2, 4))
TOGETHER = [name for name in FIELDS if name not in ("separate", "patchify")]


# --- what it is made of ----------------------------------------------------------------------------------------------


def test_cost_by_hand():
    """Two stages of plain blocks: 2 channels, 1 in little; 4 channels. On 1 x 8 x 8, three classes."""
    model = ResNet(blocks=(2, 1), bottleneck=False, width=2, small=True, big_little=(2, 4))
    stem = [2 * 1 * 9]
    big = [2 * 2 * 9, 2 * 2 * 9, 2 * 2]  # two convolutions and the shortcut, on 4 x 4
    little = [1 * 2 * 9, 1 * 1 * 9, 1 * 2, 2 * 1]  # likewise from 2 to 1 channels, and back to 2, on 8 x 8
    merge = [2 * 2 * 9, 2 * 2 * 9]  # on 8 x 8: the stage before the last strides no more
    last = [4 * 2 * 9, 4 * 4 * 9, 4 * 2]  # on 4 x 4
    norms = 2 * (2 + 3 * 2 + 3 * 1 + 2 + 2 * 2 + 3 * 4)
    weights = sum(map(sum, (stem, big, little, merge, last)))
    macs = 64 * sum(map(sum, (stem, little, merge))) + 16 * sum(map(sum, (big, last)))
    assert cost(model, 1, 3, 8) == (weights + norms + 4 * 3 + 3, macs + 4 * 3)

    whole = model.but(small=False)  # of 16 x 16: 8 x 8 after the 7 x 7, and 4 x 4 after the pool's place
    pool = {4: [2 * 2 * 9, 1 * 1 * 9, 1 * 2, 2 * 2], 8: [1 * 2 * 9]}  # big, the rest of little, merge; little's first
    stem, norms = [2 * 49], norms + 2 * (2 + 1 + 1 + 2 + 2)
    weights = weights - 18 + sum(stem) + sum(map(sum, pool.values()))
    macs = 64 * (sum(stem) + sum(pool[8])) + 16 * sum(pool[4]) + (macs - 64 * 18) // 4
    assert cost(whole, 1, 3, 16) == (weights + norms + 4 * 3 + 3, macs + 4 * 3)


def test_resnet50_has_what_the_authors_has_and_two_convolutions_more():
    """26.69 M and 2.85 G: their merging blocks that stride pool their shortcut, ours have a 1 x 1 there too."""
    params, macs = cost(B, 3, 1000, 224)
    shortcuts = [256 * 256, 512 * 512]
    params -= sum(shortcuts) + 2 * (256 + 512)
    macs -= shortcuts[0] * 28**2 + shortcuts[1] * 14**2
    assert params / 1e6 == pytest.approx(26.69, abs=0.005)
    assert macs / 1e9 == pytest.approx(2.85, abs=0.01)


@pytest.mark.parametrize("model", [TINY, LARGE, LARGE.but(variant="D", selective=True, squeeze=0.25)], ids=str)
def test_multiply_adds_are_torchs(model):
    """Beside those of a product, of which torch counts none."""
    with FlopCounterMode(display=False) as counter:
        model.build(3, 10).eval()(torch.zeros(1, 3, 40, 40))
    assert cost(model, 3, 10, 40)[1] == counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("blocks", "beta", "due"),
    [
        ((1, 1, 1), 4, (1, 1)),
        ((3, 4, 6, 3), 4, (1, 1, 1)),
        ((4, 8, 23, 3), 4, (1, 1, 4)),
        ((5, 12, 30, 3), 2, (1, 5, 14)),
    ],
)
def test_blocks_of_each_branch(blocks, beta, due):
    with torch.device("meta"):
        net = B.but(blocks=blocks, width=8, big_little=(2, beta)).build(3, 2)
    for stage, (count, few) in enumerate(zip(blocks, due, strict=False), 1):
        own = net.get_submodule(f"stage{stage}")
        assert [name for name, _ in own.big.named_children()] == [*map(str, range(max(1, count - 1))), "up"]
        assert [name for name, _ in own.little.named_children()] == [*map(str, range(few)), "out"]
    assert len(net.get_submodule(f"stage{len(blocks)}")) == blocks[-1]


def test_the_last_of_several_big_blocks_ends_without_activation():
    """As in both papers' code: the sum has one."""
    net = LARGE.build(3, 2)
    ends = [[type(m.act) for m in stage.big if hasattr(m, "act")] for stage in (net.stage1, net.stage2)]
    assert ends == [[nn.ReLU, nn.Identity], [nn.ReLU]]


@pytest.mark.parametrize("side", [64, 72, 41])
def test_strides_are_an_ordinary_resnets_at_the_last_stage(side):
    """And each stage before the last but one gives half the sides."""
    for model in (TINY.but(blocks=(2, 2, 2, 1)), LARGE.but(blocks=(2, 2, 2, 1), variant="D")):
        found = []
        for each in (model, model.but(big_little=None)):
            net = each.build(3, 2).eval()
            x, sides = torch.zeros(1, 3, side, side), []
            for name, layer in net.named_children():
                if name == "stem" or name.startswith("stage"):
                    x = layer(x)
                    sides.append(x.shape[-1])
            found.append(sides)
        ours, plain_ = found
        assert ours == [plain_[0], plain_[2], plain_[3], plain_[3], plain_[4]]


def test_big_is_doubled_by_its_nearest_and_cut():
    class Fixed(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x):
            return self.value

    few = torch.arange(12.0).reshape(1, 1, 3, 4)
    big = nn.Sequential(Fixed(few), LARGE.build(3, 2).stage1.big.up)
    seen = BigLittle(big, Fixed(torch.full((1, 1, 5, 7), -3.0)), nn.ReLU(), nn.Identity())(few)
    due = np.repeat(np.repeat(few.numpy(), 2, axis=2), 2, axis=3)[:, :, :5, :7] - 3
    assert np.array_equal(seen.numpy(), due.clip(0))


def test_a_little_block_drops_out_as_big_at_its_place():
    model = TINY.but(blocks=(4, 2, 2), big_little=(2, 1), drop_path=0.7)
    rates = {name: m.rate for name, m in model.build(3, 2).named_modules() if type(m).__name__ == "DropPath"}
    due = {f"stage1.{way}.{i}": 0.1 * i for way in ("big", "little") for i in range(3)} | {"stage1.merge": 0.3}
    due |= {"stage2.big.0": 0.4, "stage2.little.0": 0.4, "stage2.merge": 0.5, "stage3.0": 0.6, "stage3.1": 0.7}
    assert rates == pytest.approx({f"{name}.body.drop": rate for name, rate in due.items()})
    assert [place.name for place in blocks_of(model)] == [name.removesuffix(".body.drop") for name in rates]


# --- a second opinion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, *TOGETHER])
def test_the_reference_computes_what_the_network_does(name):
    """To the bit, where layer norm is not there; sides are odd, at 3 of 12 px, where the stem strides."""
    more = {name: FIELDS[name]} if name else {}
    for model, training in product((TINY.but(**more), LARGE.but(**more)), (True, False)):
        z, gradient = compared(model, training)
        assert z < 1e-5
        assert gradient < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "D", "blur": 3, "selective": True, "drop_block": 0.5, "drop_path": 0.5, "small": False},
        {"variant": "C", "activation": "silu", "small": False, "big_little": (4, 1)},
        {"variant": "B", "bottleneck": False, "squeeze": 0.25, "blocks": (5, 1), "big_little": (1, 2)},
    ],
    ids=str,
)
def test_likewise_of_several_fields(changes):
    for training in (True, False):
        z, gradient = compared(TINY.but(**changes), training)
        assert z < 1e-5
        assert gradient < 1e-4


# --- proofs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, *TOGETHER])
def test_the_proof_knows_it_with_each_other_field(name, tiny):
    for model in (TINY, LARGE.but(variant="D"), LARGE.but(bottleneck=False)):
        if name in ("depthwise", "inverted", "spatial_first") and not model.bottleneck:
            continue
        claimed = model.but(**({name: FIELDS[name]} if name else {}))
        live = made_of(claimed.build(1, 10))
        assert {what: live[what] for what in walked(claimed)} == walked(claimed)


def broken(change):
    """A network of `TINY` that is not quite that, claimed to be."""

    class Broken(ResNet):
        def build(self, channels, classes):
            net = super().build(channels, classes)
            change(net)
            return net

    return Broken(**dict(TINY))


def set_in(name, layer):
    def change(net):
        parent, _, own = name.rpartition(".")
        setattr(net.get_submodule(parent), own, layer)

    return change


class Zeros(nn.Module):
    """No branch, of the shape that it would have."""

    def forward(self, x):
        return torch.zeros(len(x), 32, *x.shape[2:])


def test_proof_tells_it(tiny):
    assert is_proved(TINY, TINY, tiny)
    assert is_proved(TINY, broken(lambda net: None), tiny)
    for other in ({"big_little": None}, {"big_little": (4, 4)}, {"big_little": (2, 1)}, {"blocks": (2, 2, 1)}):
        assert not is_proved(TINY, TINY.but(**other), tiny), other
        assert not is_proved(TINY.but(**other), TINY, tiny), other


@pytest.mark.parametrize(
    "change",
    [
        set_in("stage1.little", Zeros()),
        set_in("stage1.big", Zeros()),
        set_in("stage1.merge", nn.Identity()),
        set_in("stage1.big.up", nn.Upsample(scale_factor=2, mode="bilinear")),
        set_in("stage1.big.up", nn.UpsamplingBilinear2d(scale_factor=2)),
        set_in("stage1.act", nn.Identity()),
        set_in("stage1.big.1.act", nn.ReLU()),
        set_in("stage2.big.0.act", nn.Identity()),
        set_in("stage1.little.out.1", nn.Identity()),
        lambda net: net.stage1.big.add_module("2", net.stage1.big[1]),
    ],
    ids=[
        *("no little", "no big", "no merge", "bilinear", "bilinear to the corners", "no activation of the sum"),
        *("an activation of big", "none of its only block", "no norm of little", "a block twice"),
    ],
)
def test_proof_catches_another_structure(change, tiny):
    built = broken(change)
    live = made_of(built.build(1, 10))
    assert any(live[what] != due for what, due in walked(TINY).items())


@pytest.mark.parametrize("part", ["big", "little"])
def test_proof_catches_a_pool_of_one_branch(part):
    net = LARGE.build(1, 10)
    kept = {"big": net.stem.pool.big, "little": net.stem.pool.little}[part]
    net.stem.pool = nn.Sequential(kept, nn.ReLU(), net.stem.pool.merge)
    live = made_of(net)
    assert {what for what, due in walked(LARGE).items() if live[what] != due} == {"stem", "big and little branches"}


# --- values ----------------------------------------------------------------------------------------------------------


def test_absent_it_is_nowhere():
    assert "big_little" not in plain(RESNET50)
    assert "big_little" in plain(TINY)
    assert TINY.more == ("big_little",)
    assert RESNET50.count == 16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"separate": True}, r"model\.separate is of networks without model\.big_little: leave one out$"),
        ({"patchify": 4}, r"model\.patchify is of networks without model\.big_little: leave one out$"),
        ({"blocks": (3,)}, r"parts stages before the last: set model\.blocks, or leave it out$"),
        ({"big_little": (3, 4)}, r"big_little: 3 does not divide model\.width=8: take an α that does$"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, said, tiny):
    with pytest.raises(Problem, match=said):
        tiny.but(model=TINY.but(**changes)).agree()


@pytest.mark.parametrize("value", [(0, 4), (2,), 2])
def test_odd_values_are_refused(value):
    with pytest.raises(ValueError, match="big_little"):
        TINY.but(big_little=value)


@pytest.mark.parametrize("kind", [FCN, FasterRCNN])
def test_a_detector_or_a_segmenter_stands_on_none(kind, tiny):
    with pytest.raises(ValueError, match=r"model\.backbone: .* stands on a plain ResNet: leave big_little out"):
        kind(backbone=TINY).check(tiny)


# --- in a training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bottleneck", [True, False])
def test_zero_gamma_is_about_every_block_of_both_branches(bottleneck, tiny):
    model = LARGE.but(bottleneck=bottleneck)
    net = model.build(3, 2)
    ZeroGamma()(net, None)
    last = "body.7" if bottleneck else "body.4"
    assert set(last_norms(net)) == {f"{place.name}.{last}" for place in blocks_of(model)}
    block, x = net.stage1.little[0], torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), block.shortcut(x).relu())
    zero_gamma(tiny.but(model=model)).agree()


def test_no_bias_decay_spares_norms_of_both_branches():
    net = LARGE.build(3, 2)
    decayed, spared = DecayWeights(weight=0.1).groups(net)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])


WHOLE = LARGE.but(variant="D", selective=True, drop_block=0.2, drop_block_size=2, drop_path=0.3, blocks=(2, 2, 1))


@pytest.mark.parametrize(
    "more", [lambda spec: spec, fp16, lambda spec: spec.but(microbatch=149)], ids=["plain", "fp16", "passes"]
)
def test_a_run_proves_itself(more, tiny, live):
    spec = more(stack(tiny.but(model=WHOLE), (zero_gamma, no_bias_decay)))
    done, _ = live(spec)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []
    assert "big and little branches of the built network" in {row["what"] for row in done.result["evidence"]}


def test_stopped_within_an_epoch_and_gone_on_is_as_if_never_stopped(tiny):
    spec = tiny.but(model=WHOLE, batch_size=149, epochs=2)
    whole, keeper = trained(spec), Stops([1])
    with pytest.raises(KeyboardInterrupt):
        trained(spec, keeper=keeper)
    keeper.asked, keeper.at = 0, set()
    done = trained(spec, keeper=keeper)
    assert untimed(done.result) == untimed(whole.result)
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
