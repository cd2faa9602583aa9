"""Networks against torchvision, timm, the paper's Tables 1 and 5 and hand arithmetic."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import Problem, train
from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models.timm import _expected_outline
from harness.parts.models import (
    DENSENET201,
    INCEPTION_V3,
    MOBILENET,
    RESNET18,
    RESNET34,
    RESNET50,
    RESNET101,
    RESNET152,
    RESNEXT50,
    SE_RESNET50,
    SE_RESNEXT50,
    Dense,
    ResNet,
    Timm,
    cost,
    dropping,
)
from harness.rng import streams
from harness.spec import parse, plain
from harness.tricks.no_bias_decay import DecayWeights

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


@pytest.mark.parametrize(("variant", "gmacs"), [("A", 3.8), ("B", 4.1), ("C", 4.3), ("D", 4.3)])
def test_cost_of_variants_as_table_5_prints(variant, gmacs):
    params, macs = cost(RESNET50.but(variant=variant), 3, 1000, 224)
    assert 25.5e6 < params < 25.6e6
    assert macs / 1e9 == pytest.approx(gmacs, abs=0.06)  # the paper cuts 3.86 to 3.8


def test_cost_by_hand():
    plain = ResNet(blocks=(1,), bottleneck=False, width=2, small=True)  # on 1 x 4 x 4, three classes
    stem, block, fc = (2 * 1 * 9, 2 * 2), 2 * (2 * 2 * 9 + 2 * 2), 2 * 3 + 3
    assert cost(plain, 1, 3, 4) == (sum(stem) + block + fc, 16 * (2 * 1 * 9) + 16 * 2 * (2 * 2 * 9) + 2 * 3)

    bottleneck = ResNet(blocks=(1, 1), width=2, small=True)  # 4 x 4, and 2 x 2 after the second block's first 1 x 1
    convs = [1 * 2 * 9 * 16]  # the stem
    convs += [2 * 2 * 16, 2 * 2 * 9 * 16, 2 * 8 * 16, 2 * 8 * 16]  # 2 → 2 → 2 → 8, shortcut 2 → 8
    convs += [8 * 4 * 4, 4 * 4 * 9 * 4, 4 * 16 * 4, 8 * 16 * 4]  # 8 → 4 → 4 → 16 on 2 x 2, shortcut 8 → 16
    assert cost(bottleneck, 1, 3, 4)[1] == sum(convs) + 16 * 3
    in_3x3 = 8 * 4 * 16 - 8 * 4 * 4  # B: the first 1 x 1 still sees 4 x 4
    assert cost(bottleneck.but(variant="B"), 1, 3, 4)[1] == sum(convs) + 16 * 3 + in_3x3


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


def is_proved(claimed, built, tiny):
    trace = Trace(1, 10, model=built.build(1, 10))
    trace.model(torch.zeros(2, 1, 8, 8))
    return all(check.ok for check in claimed.proof(tiny, trace))


@pytest.mark.parametrize("small", [False, True])
def test_proof_tells_stems_and_depths_apart(small, tiny):
    """With one stage there is nothing that strides: what is left is the stem, the blocks and the multiply-adds."""
    one = TINY.but(blocks=(1,), small=small)
    assert is_proved(one, one, tiny)
    for other in (one.but(small=not small), one.but(blocks=(2,)), one.but(width=8), one.but(bottleneck=False)):
        assert not is_proved(one, other, tiny)
    assert is_proved(one.but(variant="D"), one, tiny) == small, "a deep stem is none of small images"


def test_multiply_adds_of_the_first_forward_are_torchs(live, tiny):
    """torch counts each as two."""
    _, trace = live(tiny)
    with FlopCounterMode(display=False) as counter:
        tiny.model.build(1, 10)(torch.zeros(1, 1, 8, 8).expand(2, -1, -1, -1))
    assert sum(trace.macs.values()) == counter.get_total_flops() / 2 / 2


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


# --- dense -----------------------------------------------------------------------------------------------------------


def test_a_dense_network_has_the_published_parameters():
    """Keras' summary of 784-784-10, as a table of the optimizers' report prints it."""
    layers = [m for m in Dense().build(1, 10) if isinstance(m, nn.Linear)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == [615_440, 7_850]
    assert cost(Dense(), 1, 10, 28) == (615_440 + 7_850, 784 * 784 + 784 * 10)


def test_a_dense_network_is_what_numpy_computes():
    torch.manual_seed(0)
    net = Dense(hidden=(5, 4), size=3).build(2, 3)
    x = np.random.default_rng(0).normal(size=(7, 2, 3, 3)).astype(np.float32)
    row = x.reshape(7, 18)
    for i in (1, 3, 5):
        row = row @ net[i].weight.detach().numpy().T + net[i].bias.detach().numpy()
        row = np.maximum(row, 0) if i < 5 else row
    assert (row < 0).any()
    given = torch.from_numpy(x).to(memory_format=torch.channels_last)  # as the loop serves them
    assert net(given).detach().numpy() == pytest.approx(row, abs=1e-5)


def test_a_dense_network_takes_images_of_its_size_alone():
    with pytest.raises(Problem, match=r"^Dense\(.*size=28\) cannot take images of 8 x 8: ") as problem:
        cost(Dense(), 1, 10, 8)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 16)], ids=str)
def test_proof_tells_dense_networks_apart(hidden, tiny):
    claimed = Dense(hidden=hidden, size=8)
    assert is_proved(claimed, claimed, tiny)
    others = [claimed.but(hidden=(*hidden, 8)), claimed.but(hidden=hidden[:-1]), claimed.but(hidden=(*hidden[1:], 15))]
    assert not any(is_proved(claimed, other, tiny) for other in others if other != claimed)


@pytest.mark.parametrize("put", [nn.Identity(), nn.Tanh()], ids=str)
def test_proof_misses_a_relu(put, tiny):
    model = Dense(hidden=(16,), size=8)
    net = model.build(1, 10)
    net[2] = put
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    assert [check.ok for check in model.proof(tiny, trace)] == [False, True]


def test_a_run_of_a_dense_network_proves_itself(live, tiny):
    trained, _ = live(tiny.but(model=Dense(hidden=(16,), size=8), epochs=1))
    rows = [row["ok"] for row in trained.result["evidence"] if row["part"] == "Dense"]
    assert rows == [True, True]
    assert trained.result["status"] == "finished"


# --- timm's ---------------------------------------------------------------------------------------------------------

TABLE_1 = {  # model: (px, parameters, multiply-adds, what is printed of them in G, and how far from that they may be)
    RESNEXT50: (224, 25_028_904, 4_230_479_872, 4.2, 0.05),
    SE_RESNET50: (224, 28_088_024, 3_860_488_192, 3.9, 0.05),
    SE_RESNEXT50: (224, 27_559_896, 4_232_994_816, 4.3, 0.07),  # 1.6 % below: SE's layers take 3 M more, not 100 M
    DENSENET201: (224, 20_013_928, 4_291_365_888, 4.3, 0.05),
    INCEPTION_V3: (299, 23_834_568, 5_713_216_096, 5.7, 0.05),  # torchvision's number; the paper prints none
    MOBILENET: (224, 4_231_976, 568_740_352, 0.569, 0.0005),  # "569 million" and 4.2 M in Howard et al. 2017
}
every_model = pytest.mark.parametrize("model", TABLE_1, ids=lambda model: model.name)
SMALL = Timm(name="test_resnet")


def on_meta(model, classes=1000):
    with torch.device("meta"):
        return model.build(3, classes)


@every_model
def test_costs_are_those_of_table_1(model):
    size, params, macs, printed, off = TABLE_1[model]
    assert cost(model, 3, 1000, size) == (params, macs), "timm has changed what the name means"
    assert macs / 1e9 == pytest.approx(printed, abs=off)


@pytest.mark.parametrize("model", [RESNEXT50, SE_RESNEXT50, MOBILENET], ids=lambda model: model.name)
def test_costs_of_grouped_convolutions_are_torchs(model):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        timm.create_model(model.name, num_classes=10).eval()(torch.zeros(1, 3, 64, 64))
    assert cost(model, 3, 10, 64)[1] == counter.get_total_flops() / 2


def test_the_legacy_se_resnet_is_its_authors():
    """The stride in the first 1 x 1, where timm's newer network is a ResNet-B."""
    legacy, newer = (on_meta(Timm(name=name)) for name in ("legacy_seresnet50", "seresnet50"))
    assert [legacy.layer2[0].conv1.stride, legacy.layer2[0].conv2.stride] == [(2, 2), (1, 1)]
    assert [newer.layer2[0].conv1.stride, newer.layer2[0].conv2.stride] == [(1, 1), (2, 2)]
    assert on_meta(INCEPTION_V3).AuxLogits is None


def test_another_channel_and_number_of_classes():
    assert SMALL.build(1, 7)(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("near", [("resnext50_32x4", "resnext50_32x4d"), ("mobilnetv1_100", "mobilenetv1_100")])
def test_an_unknown_name_gives_near_ones(near):
    wrong, right = near
    for ask in (Timm(name=wrong).identity, lambda: Timm(name=wrong).build(3, 10)):
        with pytest.raises(Problem, match=f"^model.name: timm .* has no '{wrong}'; near it are .*{right}") as problem:
            ask()
        assert "\n" not in str(problem.value)
    with pytest.raises(Problem, match="list_models"):
        Timm(name="xyzzy").identity()


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "hf-hub:timm/resnet50", ""])
def test_a_name_that_brings_weights_is_refused(name):
    with pytest.raises(ValueError, match="pattern"):
        Timm(name=name)


@pytest.mark.parametrize(("model", "size"), [(INCEPTION_V3, 32), (Timm(name="vit_tiny_patch16_224"), 64)], ids=str)
def test_images_that_do_not_fit_are_a_problem(model, size):
    with pytest.raises(Problem, match=f"{model.name}.* cannot take images of {size} x {size}: ") as problem:
        cost(model, 3, 10, size)
    assert "\n" not in str(problem.value)


def test_options_change_the_architecture_and_are_of_its_identity():
    whole, small = Timm(name="seresnet50"), Timm(name="seresnet50", options=(("layers", (1, 1, 1, 1)),))
    assert parse(json.loads(json.dumps(plain(small)))) == small
    assert small.identity() != whole.identity()
    assert "options" not in plain(whole)
    blocks = [m for m in small.build(3, 10).modules() if type(m).__name__ == "Bottleneck"]
    assert len(blocks) == 4
    with pytest.raises(Problem, match=r"model.options=\{'depth': 3\} of 'seresnet50': timm says .*depth"):
        Timm(name="seresnet50", options=(("depth", 3),)).build(3, 10)
    with pytest.raises(Problem, match="cannot take images .*layer3"):
        cost(Timm(name="seresnet50", options=(("layers", (1, 1)),)), 3, 10, 64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((("drop_rate", 0.3),), "drop_rate is none of the architecture"),
        ((("zero_init_last", True),), "zero_init_last is none"),
        ((("layers", (1, 1)), ("layers", (2, 2))), "layers is there twice"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Timm(name="test_resnet", options=options)


def test_timm_is_imported_where_one_is_built():
    code = "import sys; from harness import study; study.plan(study.load('digits')); print('timm' in sys.modules)"
    here = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here)
    assert done.stdout.strip() == "False"


def alike(net):
    """Whether forwards in training give the same logits; ten, as a small rate may drop nothing in one."""
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        first = net(x)
        return all(torch.equal(first, net(x)) for _ in range(10))


@pytest.mark.parametrize("name", ["legacy_seresnet18", "rexnet_100", "repghostnet_050", "fasternet_t2", "test_resnet"])
def test_nothing_is_dropped(name):
    """Dropout by a layer, dropout by a function, and paths; and what has none stays as it was."""
    theirs, ours = timm.create_model(name, num_classes=10), Timm(name=name).build(3, 10)
    assert alike(ours)
    assert not list(dropping(ours))
    assert alike(theirs) == (name == "test_resnet")


@every_model
def test_nothing_is_dropped_in_table_1(model):
    assert not list(dropping(on_meta(model)))


def test_timms_zero_gamma_is_off():
    def zeroed(net):
        return sum((m.weight == 0).all().item() for m in net.modules() if isinstance(m, nn.BatchNorm2d))

    assert zeroed(timm.create_model("test_resnet")) == 4
    assert zeroed(SMALL.build(3, 10)) == 0


@every_model
def test_xavier_reaches_every_parameter(model):
    """It sets conv, linear and batch norm layers; Table 1 has no parameters elsewhere."""
    net = on_meta(model)
    reached = {
        id(p) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d) for p in m.parameters()
    }
    assert {id(p) for p in net.parameters()} == reached


def test_xavier_leaves_nothing_of_timms():
    net = SMALL.build(3, 10)
    for p in net.parameters():
        p.data.fill_(7)
    Xavier()(net, streams(0))
    assert not any((p == 7).any() for p in net.parameters())


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
def test_every_parameter_is_of_the_seed(name, tiny):
    """Those that Xavier does not reach too: an embedding, a scale."""
    spec = tiny.but(model=Timm(name=name))

    def start(seed, before):
        torch.manual_seed(before)
        return list(train.build(spec, seed, torch.device("cpu")).parameters())

    one, same, other = start(0, 1), start(0, 2), start(1, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1)


@every_model
def test_no_bias_decay_spares_all_but_weights(model):
    """Told by their shapes, as others do it: a weight has at least two sides, a bias, γ and β have one."""
    net = on_meta(model)
    decayed, spared = DecayWeights(weight=1e-4).groups(net)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0)
    assert {id(p) for p in decayed["params"]} == {id(p) for p in net.parameters() if p.ndim > 1}
    assert {id(p) for p in spared["params"]} == {id(p) for p in net.parameters() if p.ndim == 1}


def test_the_id_is_of_what_was_built(monkeypatch, tiny):
    spec = tiny.but(model=SMALL)
    assert spec.id != tiny.but(model=Timm(name="test_efficientnet")).id
    assert parse(plain(spec)) == spec
    assert "built" not in plain(SMALL)
    create, before = timm.create_model, SMALL.identity()
    assert before == SMALL.identity()

    def next_release(change):
        def made(*args, **kwargs):
            net = create(*args, **kwargs)
            change(net)
            return net

        monkeypatch.setattr(timm, "create_model", made)
        _expected_outline.cache_clear()
        return SMALL.identity()

    def strided(net):
        net.layer3[0].conv1.stride, net.layer3[0].conv2.stride = (2, 2), (1, 1)

    def renamed(net):
        net.head, net.fc = net.fc, nn.Identity()

    try:
        assert next_release(lambda net: None) == before
        assert next_release(lambda net: net.fc.weight.data.zero_()) == before, "what is drawn is of `init`"
        assert next_release(strided) != before
        assert next_release(renamed) != before
        assert next_release(lambda net: setattr(net, "fc", nn.Linear(net.fc.in_features, 999))) != before
    finally:
        _expected_outline.cache_clear()


def test_a_run_of_timms_network_proves_itself(live, tiny):
    trained, _ = live(tiny.but(model=SMALL, epochs=1))
    rows = [row for row in trained.result["evidence"] if row["part"] == "Timm"]
    assert len(rows) == 3
    assert trained.result["status"] == "finished"


def other_stride(net):
    net.layer3[0].conv1.stride, net.layer3[0].conv2.stride = (2, 2), (1, 1)


def dropout(net):
    net.drop_rate = 0.2


@pytest.mark.parametrize(
    ("claimed", "built", "change"),
    [
        ("test_resnet", "test_efficientnet", None),
        ("legacy_seresnet18", "resnet18", None),
        ("resnet18", "legacy_seresnet18", None),
        ("test_resnet", "test_resnet", other_stride),
        ("test_resnet", "test_resnet", dropout),
    ],
)
def test_proof_tells_a_swapped_network(claimed, built, change, tiny):
    def proved(net):
        trace = Trace(1, 10, model=net)
        net(torch.zeros(2, 1, 8, 8))
        return all(check.ok for check in Timm(name=claimed).proof(tiny, trace))

    net = Timm(name=built).build(1, 10)
    if change:
        assert proved(net)
        net = Timm(name=built).build(1, 10)
        change(net)
    assert not proved(net)
