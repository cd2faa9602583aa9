import json

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import Trace
from harness.evidence.moved import moved
from harness.parts.data import Digits
from harness.parts.optimizers import NAG, SGD, Adam, AdamP, AdamW, Expectigrad, Lamb, Lion
from harness.spec import parse, plain
from harness.tricks.fp16 import HalfRunner, fp16
from tests.kit.stops import Stops, trained, untimed

CPU = torch.device("cpu")
OPTIMIZERS = (
    *(NAG(), SGD(), SGD(momentum=0.0)),
    *(Adam(), AdamW(), AdamP(), AdamP(nesterov=True), Expectigrad(), Expectigrad(beta=0.0)),
    *(Lamb(), Lion()),
)
ALL = [part.but(lr=0.01, per=None) for part in OPTIMIZERS]
every_optimizer = pytest.mark.parametrize("part", ALL, ids=str)


@pytest.mark.parametrize(("batch_size", "rate"), [(256, 0.1), (1024, 0.4), (32, 0.0125), (1, 0.000390625)])
def test_rate_grows_with_the_batch(batch_size, rate):
    for kind in (NAG, Adam):
        assert kind(lr=0.1, per=256).rate(batch_size) == pytest.approx(rate, rel=1e-12)
    assert NAG() == NAG(lr=0.1, per=256)


def test_rate_as_given():
    assert NAG(lr=0.3, per=None).rate(1024) == 0.3
    assert Adam().rate(1024) == AdamW().rate(32) == AdamP().rate(1) == Expectigrad().rate(7) == 1e-3


# --- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", [NAG, SGD])
def test_steps_by_hand(kind, momentum):
    """v ← μv + g + wd·w; w ← w - ηv, or looking ahead w - η(g + wd·w + μv): on two groups of different decay."""
    start, rng = np.array([1.0, -2.0, 3.0]), np.random.default_rng(0)
    weights = [nn.Parameter(torch.tensor(start)) for _ in range(2)]
    groups = [{"params": [weights[0]], "weight_decay": 0.01}, {"params": [weights[1]], "weight_decay": 0.0}]
    optimizer = kind(lr=0.1, momentum=momentum).build(groups, batch_size=512)
    for decay, weight in zip((0.01, 0.0), weights, strict=True):
        w, v = start.copy(), np.zeros(3)
        for _ in range(5):
            g = rng.normal(size=3)
            optimizer.zero_grad()
            weight.grad = torch.tensor(g)
            optimizer.step()
            g = g + decay * w
            v = momentum * v + g
            w = w - 0.2 * (g + momentum * v if kind is NAG else v)
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


@pytest.mark.parametrize(
    ("part", "after"),
    [
        # from 2 and -1, by gradients (3, 0.5), (-1, 0) and (0, 2), at a rate of 0.1 and a decay of 0.1; Expectigrad's
        # second weight has two gradients in three steps: the mean of 0.25 and 4
        (Adam(), [(1.9, -1.1), (1.9 - 0.1 * 0.207 / 0.19 / (10.88586 / 1.999) ** 0.5, None)]),
        (AdamW(), [(1.88, -1.09), (1.88 * 0.99 - 0.1 * 0.17 / 0.19 / (9.991 / 1.999) ** 0.5, None)]),
        # Adam's quotients, 1 and 1, with a tenth of the weights: (1.2, 0.9), 1.5 long, made as long as they, √5
        (Lamb(), [(2 - 0.08 * 5**0.5, -1 - 0.06 * 5**0.5)]),
        # u of the second step: 0.9 · 0.03 - 0.1, and 0.9 · 0.005
        (Lion(), [(1.88, -1.09), (1.88 * 0.99 + 0.1, -1.09 * 0.99 - 0.1)]),
        (Expectigrad(), [(1.9, -1.1), (1.9 - 0.1 / 0.19 * (0.09 - 0.1 / 5**0.5), -1.1 - 0.1 / 0.19 * 0.09)]),
        (Expectigrad(beta=0.0), [(1.9, -1.1), (1.9 + 0.1 / 5**0.5, -1.1), (None, -1.1 - 0.2 / 2.125**0.5)]),
    ],
    ids=str,
)
def test_first_steps_by_hand(part, after):
    weight = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimizer = part.but(lr=0.1).build([{"params": [weight], "weight_decay": 0.1}], 256)
    for gradient, wanted in zip([(3.0, 0.5), (-1.0, 0.0), (0.0, 2.0)], after, strict=False):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        for seen, value in zip(weight.tolist(), wanted, strict=True):
            assert value is None or seen == pytest.approx(value, rel=1e-6)


def gradients(weight, kind, rng):
    """Random, some of them 0; or with no part along the weights in any channel; or with none along the whole."""
    w, g = weight.detach().double().numpy(), rng.normal(size=weight.shape)
    if kind == "any":
        g *= rng.random(size=g.shape) < 0.7  # some are 0, as behind a ReLU
    rows = {"any": None, "channels": len(w), "layer": 1}[kind] if w.ndim > 1 else None
    if rows:
        a, b = w.reshape(rows, -1), g.reshape(rows, -1)
        g = (b - a * (a * b).sum(1, keepdims=True) / (a * a).sum(1, keepdims=True)).reshape(w.shape)
    return torch.from_numpy(g).to(weight.dtype)


LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@every_optimizer
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_library_steps_as_published(part, layout):
    """`build` against `reference`, two tellings of one algorithm, in float64: vector, matrix, filters."""
    rng = np.random.default_rng(0)
    weights = [nn.Parameter(torch.from_numpy(rng.normal(size=shape))) for shape in [(7,), (5, 4), (6, 3, 3, 2)]]
    weights.append(nn.Parameter(torch.from_numpy(rng.normal(size=(4, 3, 3, 3))).contiguous(memory_format=layout)))
    decays = (0.1, 0.1, 0.0, 0.1)
    optimizer = part.build([{"params": [w], "weight_decay": d} for w, d in zip(weights, decays, strict=True)], 256)
    walked, kept = [w.detach().numpy().copy() for w in weights], [{} for _ in weights]
    for kind in ("channels", "any", "layer", "layer", "any", "channels"):
        for i, weight in enumerate(weights):
            g = gradients(weight, kind, rng)
            walked[i] = part.reference(walked[i], g.numpy(), 0.01, decays[i], kept[i])
            weight.grad = g.contiguous(memory_format=layout) if i == 3 else g
        optimizer.step()
        for weight, w in zip(weights, walked, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-7, atol=1e-10)


def one_step(part, weight, gradient, decay=0.0):
    """What a step takes from `weight`, in numpy."""
    parameter = nn.Parameter(weight.clone())
    optimizer = part.build([{"params": [parameter], "weight_decay": decay}], 256)
    parameter.grad = gradient
    optimizer.step()
    return (weight - parameter.detach()).numpy()


def test_adamp_leaves_the_length_of_scale_invariant_weights(tiny):
    """A step along the tangent (algorithm 2, line 5), where Adam's is partly along the weights; a tenth of decay."""
    rng, part = np.random.default_rng(0), AdamP(lr=0.01)
    w = torch.from_numpy(rng.normal(size=(4, 3, 3, 3)))
    by_channel, whole, neither = (gradients(w, kind, rng) for kind in ("channels", "layer", "any"))
    step = one_step(part, w, by_channel)
    np.testing.assert_allclose((step * w.numpy()).reshape(4, -1).sum(1), 0, atol=1e-8)
    assert np.abs((one_step(Adam(lr=0.01), w, by_channel) * w.numpy()).reshape(4, -1).sum(1)).min() > 1e-3
    step = one_step(part, w, whole)
    assert np.abs((step * w.numpy()).sum()) < 1e-8
    assert np.abs((step * w.numpy()).reshape(4, -1).sum(1)).max() > 1e-3, "each channel may turn to another length"
    np.testing.assert_allclose(one_step(part, w, neither), one_step(AdamW(lr=0.01), w, neither), atol=1e-12)
    shrunk = one_step(part, w, whole, decay=0.5) - step
    np.testing.assert_allclose(shrunk, 0.1 * 0.01 * 0.5 * w.numpy(), atol=1e-12)
    bias = torch.from_numpy(rng.normal(size=50))
    tangent = torch.from_numpy(rng.normal(size=50))
    tangent -= bias * (bias @ tangent) / (bias @ bias)
    np.testing.assert_allclose(one_step(part, bias, tangent), one_step(AdamW(lr=0.01), bias, tangent), atol=1e-12)


def test_expectigrad_goes_down_where_adam_goes_up():
    """Reddi et al. 2018, theorem 1: gradients 3, -1, -1, 3, … are 1/3 on average, so a minimum lies below."""
    places = {}
    for part in (Adam(lr=0.01, betas=(0.0, 0.1)), Expectigrad(lr=0.01)):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = part.build([{"params": [weight], "weight_decay": 0.0}], 256)
        for step in range(300):
            weight.grad = torch.full_like(weight, -1.0 if step % 3 else 3.0)
            optimizer.step()
        places[type(part)] = weight.item()
    assert places[Expectigrad] < -0.3 < 0.3 < places[Adam]


@every_optimizer
def test_steps_of_a_scaled_loss_skip_those_that_overflow(part):
    """The first of them, so that no state may come of it, and one in the middle; master weights in channels_last."""
    rng = np.random.default_rng(0)
    weight = nn.Parameter(torch.from_numpy(rng.normal(size=(4, 3, 3, 3))).float())
    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    optimizer, runner = part.build([{"params": [weight], "weight_decay": 0.05}], 256), HalfRunner(CPU)
    walked, kept = weight.detach().double().numpy(), {}
    for i, kind in enumerate(("layer", "channels", "any", "channels", "layer", "any")):
        g = gradients(weight, kind, rng)
        runner.backward((weight * (g / 0 if i in (0, 3) else g)).sum())
        runner.step(optimizer)
        if i not in (0, 3):
            walked = part.reference(walked, g.double().numpy(), 0.01, 0.05, kept)
        np.testing.assert_allclose(weight.detach().numpy(), walked, rtol=2e-5, atol=2e-6)
    assert runner.scaler.get_scale() == 65536 / 4


# --- in a training --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny(tiny):
    """Of few images: nearly all of this file's time is theirs."""
    return tiny.but(data=Digits(limit=198, limit_test=100), batch_size=99)


def using(tiny, part, decay=0.1):
    return tiny.but(
        optimizer=part, epochs=4, decay=tiny.decay.but(weight=0 if isinstance(part, Expectigrad) else decay)
    )


@every_optimizer
@pytest.mark.parametrize("more", [lambda spec: spec, lambda spec: fp16(spec.but(microbatch=50))], ids=["", "fp16"])
def test_proves_itself(part, more, tiny, live):
    spec = more(using(tiny, part))
    spec.agree()
    done, trace = live(spec)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []
    assert done.result["status"] == "finished"
    assert len(trace.auditor.found) == 8
    assert max(gaps["steps"] for gaps in trace.auditor.found) < 2e-3
    assert max(gaps["state"] for gaps in trace.auditor.found) < 1e-4


def gap(part, spec, trace, steps):
    """How far the audited steps are from those of `part`, whatever the live optimizer is called."""
    other = spec.but(optimizer=part)
    return max(moved(other, trace, step, step.gradients)["steps"] for step in steps if step.number or not part.held)


@every_optimizer
def test_no_other_could_have_taken_its_steps(part, tiny, audits):
    """By the weights alone, whatever the live optimizer is called and says of itself; at a rate that they share."""
    spec = using(tiny, part)
    trace, steps = audits(spec)
    assert gap(part, spec, trace, steps) < 2e-3
    others = [other for other in ALL if set(other.held.values()) <= set(part.held.values())]
    for other in others:
        assert (gap(other, spec, trace, steps) > 1e-2) == (other != part), other
    if isinstance(part, Adam | AdamW | AdamP | Lamb):
        for betas in ((0.8, 0.999), (0.9, 0.9), (0.999, 0.9)):
            assert gap(part.but(betas=betas), spec, trace, steps) > 1e-2
    if isinstance(part, AdamP):
        assert gap(part.but(delta=1e-9), spec, trace, steps) > 1e-2
        assert gap(part.but(wd_ratio=1.0), spec, trace, steps) > 1e-2


@every_optimizer
def test_settings_are_those_of_the_live_groups(part, tiny, live):
    spec = using(tiny, part)
    _, trace = live(spec)
    for name, value in part.form()[1].items():
        (group,) = trace.optimizer.param_groups
        group[name] = not value if isinstance(value, bool) else (0.5, 0.5) if isinstance(value, tuple) else value + 0.5
        failed = [check.what for check in part.proof(spec, trace) if not check.ok]
        group[name] = value
        assert failed == ["optimizer and its settings"]
    for other in ALL:
        if type(other) is not type(part):
            assert not all(check.ok for check in other.proof(spec, trace))
    assert all(check.ok for check in part.proof(spec, trace))


@pytest.mark.parametrize(
    ("part", "precision"), [*((part, lambda spec: spec) for part in ALL[1:]), (Adam(lr=0.01), fp16)]
)
def test_stopped_and_gone_on_is_as_if_never_stopped(part, precision, tiny):
    """After the first batch, and within the second epoch."""
    spec = precision(using(tiny, part).but(epochs=2))
    whole, keeper = trained(spec), Stops([1])
    for at in (1, None):
        with pytest.raises(KeyboardInterrupt):
            trained(spec, keeper=keeper)
        keeper.asked, keeper.at = 0, {at and 3}
    done = trained(spec, keeper=keeper)
    assert untimed(done.result) == untimed(whole.result)
    assert done.result["evidence"] == whole.result["evidence"]
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@every_optimizer
def test_state_is_where_the_parameters_are(part, monkeypatch):
    """On `meta`, where a tensor made elsewhere shows. torch's counts of steps are on the CPU where it has no kernel."""
    monkeypatch.setattr(torch.Tensor, "item", lambda self: 1.0)
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: True)
    weight = nn.Parameter(torch.empty(4, 3, 3, 3, device="meta").contiguous(memory_format=torch.channels_last))
    optimizer = part.build([{"params": [weight], "weight_decay": 0.1}], 256)
    weight.grad = torch.empty_like(weight)
    optimizer.step()
    state = {name: value for name, value in optimizer.state[weight].items() if name != "step" and value is not None}
    assert len(state) == len([value for value in state.values() if value.shape == weight.shape])
    assert all(value.device == weight.device for value in state.values())
    assert all(value.stride() == weight.stride() for value in state.values()), "in the layout of the weights"
    has_state = getattr(part, "momentum", 1) > 0
    assert bool(state) == has_state


# --- values ---------------------------------------------------------------------------------------------------------


@every_optimizer
def test_json_brings_back_the_same(part):
    assert parse(json.loads(json.dumps(plain(part)))) == part
    assert parse(json.loads(json.dumps(plain(type(part)())))) == type(part)()


def test_what_they_share_is_no_kind_of_its_own():
    for name in ("Stepper", "Momentum", "Moments"):
        with pytest.raises(Problem, match=f"unknown kind '{name}'"):
            parse({"kind": name})
    assert len({json.dumps(plain(part)) for part in ALL}) == len(ALL)


def test_decay_that_would_be_ignored_is_refused(tiny):
    spec = tiny.but(optimizer=Expectigrad())
    with pytest.raises(Problem, match=r"^Expectigrad has no weight decay: set decay\.weight to 0, not 0\.0001$"):
        spec.agree()
    spec.but(decay=spec.decay.but(weight=0.0)).agree()


# --- evidence -------------------------------------------------------------------------------------------------------


def test_a_diverged_run_need_not_have_reached_its_peak(tiny):
    trace = Trace(1, 10)
    trace.optimizer = NAG().build([{"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}], 256)
    trace.lr = [0.01, 0.02]
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [False, True, True]
    trace.diverged = True
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [True, True, True]
    trace.lr = [0.2]
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [False, True, True]


@pytest.mark.parametrize(
    "part", [NAG(), Adam(), AdamW(), AdamP(), Lamb(), Lion(), Expectigrad()], ids=lambda part: type(part).__name__
)
def test_buffers_are_the_numbers_that_it_keeps_for_each_of_a_parameter(part):
    weight = torch.nn.Parameter(torch.ones(20, 30))
    optimizer = part.build([{"params": [weight], "weight_decay": 0.0}], 32)
    weight.grad = torch.full_like(weight, 0.1)
    optimizer.step()
    state = optimizer.state[weight].values()
    assert sum(t.numel() for t in state if torch.is_tensor(t)) == pytest.approx(part.buffers * 600, abs=3)
