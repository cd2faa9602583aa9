import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import Problem, train
from harness.evidence import Trace
from harness.parts.init import Xavier
from harness.parts.models import (
    DENSENET201,
    INCEPTION_V3,
    MOBILENET,
    RESNEXT50,
    SE_RESNET50,
    SE_RESNEXT50,
    Timm,
    cost,
    dropping,
)
from harness.parts.models.timm import _expected_outline
from harness.rng import streams
from harness.spec import parse, plain
from harness.tricks.no_bias_decay import DecayWeights

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
DROPS = ("drop_path_rate", "drop_rate")


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
    here = Path(__file__).parents[3]
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


@pytest.mark.parametrize(
    "rates", [{"drop_path_rate": 0.3}, {"drop_rate": 0.4}, {"drop_path_rate": 0.3, "drop_rate": 0.4}]
)
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "rexnet_100"])
def test_what_is_asked_is_dropped_as_timm_does(name, rates):
    """The same weights and draws; and of a name that drops by itself nothing else. Nothing in evaluation."""
    off = {"drop_rate": 0.0} if name == "rexnet_100" else {}
    size = {"img_size": 64} if name == "test_vit" else {}
    theirs = timm.create_model(name, num_classes=5, **{**off, **size, **rates})
    ours = Timm(name=name, options=tuple(size.items()), **rates).build(3, 5)
    for m in theirs.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_parameters()  # γ = 0 would leave no path to drop
    ours.load_state_dict(theirs.state_dict())
    x, found = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)), []
    for net in (ours, theirs):
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(net.train()(x))
    assert torch.equal(*found)
    assert not alike(ours)
    with torch.no_grad():
        assert torch.equal(ours.eval()(x), ours(x))


@pytest.mark.parametrize("rates", [{"drop_path_rate": 0.3}, {"drop_rate": 0.4}])
def test_what_is_asked_is_proven_from_the_live_network(rates, live, tiny):
    spec = tiny.but(model=SMALL.but(**rates), epochs=1)
    trained, trace = live(spec)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    (name,) = rates
    on = [(module, attribute) for module, attribute in dropping(trace.model)]
    for module, attribute in (on[0], on[-1]):
        rate = getattr(module, attribute)
        setattr(module, attribute, 0.0)
        assert not all(check.ok for check in spec.model.proof(spec, trace)), "one is off"
        setattr(module, attribute, rate)
    assert all(check.ok for check in spec.model.proof(spec, trace))
    for other in (SMALL, SMALL.but(**{name: 0.1}), SMALL.but(**rates, **{({*DROPS} - {name}).pop(): 0.2})):
        assert not all(check.ok for check in other.proof(spec, trace))


def test_what_drops_is_of_the_id(tiny):
    assert "drop_rate" not in plain(SMALL)
    ids = {tiny.but(model=SMALL.but(**rates)).id for rates in ({}, *({name: 0.2} for name in DROPS))}
    assert len(ids) == 3
    model = SMALL.but(drop_rate=0.2)
    assert parse(json.loads(json.dumps(plain(model)))) == model


def test_what_drops_nothing_is_refused(tiny, monkeypatch):
    with pytest.raises(Problem, match=r"legacy_seresnet18.*: timm says TypeError: .*drop_path_rate"):
        tiny.but(model=Timm(name="legacy_seresnet18", drop_path_rate=0.1)).agree()
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, drop_rate=0.0, **named: create(*a, **named))  # it is swallowed
    with pytest.raises(
        Problem, match=r"^model\.drop_rate=0\.15: timm's test_resnet drops nothing by it: leave it out$"
    ):
        tiny.but(model=SMALL.but(drop_rate=0.15)).agree()
    monkeypatch.undo()
    with pytest.raises(
        Problem, match=r"^model\.drop_rate draws on each rank by itself, and sync_norms takes all as one"
    ):
        tiny.but(model=SMALL.but(drop_rate=0.1), ranks=2, sync_norms=True).agree()


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
