import json

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.parts.grouping import groups
from harness.parts.optimizers import NAG, SGD, AdamP, AdamW, Lion
from harness.spec import parse, plain
from harness.tricks.fp16 import fp16
from harness.tricks.lamb import lamb
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.muon import Muon, muon, orthogonalised
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.rates_by_group import rates_by_group
from tests.kit.stops import Stops, trained, untimed

SHAPES = [(6, 6), (4, 9), (9, 4), (6, 3, 3, 3), (40, 2, 3, 3)]


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# --- the maths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(30, 30), (20, 70), (70, 20)])
def test_singular_values_go_to_about_1(rows, columns):
    """From .01 of the norm to all of it they end within .68 and 1.13 or so; far smaller ones, below."""
    n = min(rows, columns)
    left, right = (torch.linalg.qr(normal(side, n, seed=side))[0] for side in (rows, columns))
    values = torch.logspace(-1.2, 0, n, dtype=torch.float64)
    found = orthogonalised(left @ torch.diag(values) @ right.T)
    ends = torch.linalg.svdvals(found)
    assert 0.68 < ends.min() < ends.max() < 1.135
    turned = left.T @ found @ right
    assert (turned - torch.diag(torch.diag(turned))).abs().max() < 1e-12, "the singular vectors stay"
    assert torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([1.0, 1e-6], dtype=torch.float64)))).min() < 1e-3


def test_what_is_orthogonal_stays_so():
    """All singular values of Q of n columns are 1/√n of its norm, and go the same way: Q by a number is left."""
    q = torch.linalg.qr(normal(12, 5))[0]
    value, (a, b, c) = 5**-0.5, (3.4445, -4.7750, 2.0315)
    for _ in range(5):
        value = a * value + b * value**3 + c * value**5
    torch.testing.assert_close(orthogonalised(3 * q), value * q)
    assert 0.68 < value < 1.13
    assert not orthogonalised(torch.zeros(3, 4)).any(), "and of nothing comes nothing"


def test_one_step_by_hand():
    """[3, 0; 0, 4] is .6 and .8 of its norm: s(3.4445 - 4.775 s² + 2.0315 s⁴)."""
    found = orthogonalised(torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64), steps=1)
    torch.testing.assert_close(torch.diag(found), torch.tensor([1.19326944, 0.97648192], dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_as_torchs_and_timms_in_bfloat16(shape):
    import timm.optim.muon

    g = normal(*shape).float()
    with torch.no_grad():
        theirs = timm.optim.muon.zeropower_via_newtonschulz(g, 5, [(3.4445, -4.7750, 2.0315)])
    assert (orthogonalised(g) - theirs.float()).abs().max() < 0.05
    weights = [nn.Parameter(torch.ones(shape)) for _ in range(2)]
    ours = Muon(lr=0.1).build([{"params": weights[:1], "weight_decay": 0.5}], 256)
    torchs = torch.optim.Muon(weights[1:], lr=0.1, weight_decay=0.5)
    for seed in range(3):
        for weight, optimizer in zip(weights, (ours, torchs), strict=True):
            weight.grad = normal(*shape, seed=seed).float()
            optimizer.step()
    far = (weights[1] - 1).detach()
    assert (weights[0] - weights[1]).abs().max() < 0.05 * far.abs().max()


# --- the optimizer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_as_published(nesterov):
    """By the SVD of numpy, in float64: matrices, filters, and filters in channels_last."""
    part = Muon(lr=0.1, momentum=0.8, nesterov=nesterov)
    weights = [nn.Parameter(normal(*shape)) for shape in SHAPES]
    weights.append(nn.Parameter(normal(6, 3, 3, 3).contiguous(memory_format=torch.channels_last)))
    optimizer = part.build([{"params": weights, "weight_decay": 0.2}], 256)
    walked, speeds, kept = [w.detach().numpy().copy() for w in weights], [0.0] * 6, [{} for _ in weights]
    for seed in range(4):
        for i, weight in enumerate(weights):
            weight.grad = normal(*weight.shape, seed=seed).contiguous(memory_format=layout(weight))
            g = weight.grad.numpy()
            due = part.reference(walked[i], g, 0.1, 0.2, kept[i])
            speeds[i] = 0.8 * speeds[i] + g
            u = (g + 0.8 * speeds[i] if nesterov else speeds[i]).reshape(len(g), -1)
            left, s, right = np.linalg.svd(u, full_matrices=False)
            s = s / np.linalg.norm(u)
            for _ in range(5):
                s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
            scale = max(1.0, u.shape[0] / u.shape[1]) ** 0.5
            walked[i] = walked[i] * (1 - 0.1 * 0.2) - 0.1 * scale * (left * s @ right).reshape(g.shape)
            np.testing.assert_allclose(due, walked[i], rtol=1e-6, atol=1e-9)
        optimizer.step()
        for weight, w in zip(weights, walked, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-7, atol=1e-10)


def layout(weight):
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def test_hidden_matrices_and_nothing_else(tiny):
    net, part = tiny.model.but(squeeze=0.5).build(1, 10), Muon()
    others = part.rules(net)
    assert others == part.rules_again(net)
    hidden = {name for name, _ in net.named_parameters()} - others.keys()
    filters = [name for name, p in net.named_parameters() if p.ndim == 4]
    assert hidden == {*filters[1:]}, "the first is the stem's; fc, norms and biases have fewer dimensions, or are last"


def test_depthwise_filters_go_by_the_inner_rule():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.Linear(8, 2))
    part = Muon()
    assert (
        part.rules(net).keys() == part.rules_again(net).keys() == {n for n, _ in net.named_parameters()} - {"2.weight"}
    )


def test_a_network_of_first_and_last_layers_alone_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2))
    assert Muon().rules(net).keys() == dict(net.named_parameters()).keys()
    with pytest.raises(Problem, match=r"^muon: the network has no weights between its first and its last layer: leave"):
        Muon().build([{"params": [*net.parameters()], "weight_decay": 0.0, "rule": "NAG"}], 256)


def test_the_inner_rule_has_its_own_rate_and_those_of_groups_are_shares_of_it(tiny):
    spec = rates_by_group(muon(tiny.but(optimizer=NAG(lr=0.3))), conv=2.0, linear=4.0, norms=0.5)
    assert spec.optimizer.inner.lr == 0.3
    net = tiny.model.build(1, 10)
    names = {id(p): name for name, p in net.named_parameters()}
    optimizer = spec.optimizer.build(groups(spec, net), spec.batch_size)
    rates = {names[id(p)]: group["factor"] for group in optimizer.param_groups for p in group["params"]}
    assert rates["fc.weight"] == pytest.approx(15 * 4)
    assert rates["stem.0.weight"] == pytest.approx(15 * 2)
    assert {rates[name] for name, p in net.named_parameters() if p.ndim == 4 and name != "stem.0.weight"} == {2.0}


# --- in a training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        lambda spec: spec.but(decay=spec.decay.but(weight=0.1)),
        lambda spec: no_bias_decay(rates_by_group(spec.but(optimizer=AdamW()))),
        lambda spec: fp16(spec.but(optimizer=SGD(), microbatch=150)),
    ],
    ids=["nag", "adamw by groups", "sgd in fp16"],
)
def test_proves_itself(more, tiny, live):
    spec = muon(more(tiny))
    spec.agree()
    done, trace = live(spec)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []
    assert done.result["status"] == "finished"
    assert max(gaps["steps"] for gaps in trace.auditor.found) < 2e-3
    assert max(gaps["state"] for gaps in trace.auditor.found) < 1e-4


def test_another_optimizer_fails_its_proof(tiny, live):
    spec = muon(tiny)
    _, trace = live(tiny)
    failed = {check.what for check in spec.optimizer.proof(spec, trace) if not check.ok}
    assert {"weights that are made orthogonal", "inner optimizer and its settings"} <= failed


@pytest.mark.parametrize("inner", [NAG(), AdamW()], ids=str)
def test_stopped_and_gone_on_is_as_if_never_stopped(inner, tiny):
    spec = muon(tiny.but(epochs=2, optimizer=inner))
    whole, keeper = trained(spec), Stops([1])
    for at in (1, None):
        with pytest.raises(KeyboardInterrupt):
            trained(spec, keeper=keeper)
        keeper.asked, keeper.at = 0, {at and 3}
    done = trained(spec, keeper=keeper)
    assert untimed(done.result) == untimed(whole.result)
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


# --- the trick ------------------------------------------------------------------------------------------------------


def test_what_was_there_becomes_the_inner_rule(tiny):
    plain_rate = tiny.but(optimizer=NAG(lr=0.3, per=None))
    assert muon(plain_rate).optimizer == Muon(inner=NAG(lr=0.3, per=None))
    assert muon(linear_scaling(plain_rate)) == linear_scaling(muon(plain_rate)), "a rate that is scaled stays so"
    assert muon(muon(plain_rate, lr=0.1)) == muon(plain_rate)
    for other in (AdamP(), Lion()):
        with pytest.raises(Problem, match=rf"^muon: optimizer={type(other).__name__} is there already"):
            muon(tiny.but(optimizer=other))
    with pytest.raises(Problem, match=r"^lamb: optimizer=Muon is there already"):
        lamb(muon(tiny))


def test_inner_rules_that_do_not_go_are_refused(tiny):
    with pytest.raises(Problem, match=r"^optimizer\.inner=Muon: take SGD"):
        tiny.but(optimizer=Muon(inner=Muon())).agree()
    with pytest.raises(Problem, match=r"^optimizer\.inner\.per=256: leave it out"):
        tiny.but(optimizer=Muon(inner=NAG())).agree()
    made = muon(tiny)
    assert parse(json.loads(json.dumps(plain(made)))) == made
