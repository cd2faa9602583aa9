"""That a right step has no gap, and that each single fault is the gap that it should be."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from harness import evidence
from harness.evidence.replay import judged, opinion, valued
from harness.parts.models import Dense, ResNet
from harness.spec import Loss
from harness.tasks.classify import CrossEntropy
from harness.tricks.distillation import Distill
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.sam import sam
from tests import mutants
from tests.kit.audits import RIGHT, everything, over, with_spec
from tests.mutants.breaking import traced

CPU = torch.device("cpu")


# --- the loss -------------------------------------------------------------------------------------------------------


def test_cross_entropy_against_scipy():
    rng = np.random.default_rng(0)
    y, z = rng.dirichlet(np.ones(7), size=5), 30 * rng.normal(size=(5, 7))
    loss, slope = valued(CrossEntropy(), y, z)
    assert loss == pytest.approx(-(y * log_softmax(z, axis=1)).sum(1).mean(), rel=1e-12)
    z = torch.from_numpy(z).requires_grad_()
    nn.functional.cross_entropy(z, torch.from_numpy(2 * y)).backward()
    np.testing.assert_allclose(
        valued(CrossEntropy(), 2 * y, z.detach().numpy())[1], z.grad.numpy(), rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(2 * slope, z.grad.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.4])
def test_smoothed_targets_are_torchs_at_another_epsilon(eps):
    """torch spreads ε over all K classes, Eq. 4 over the other K - 1: the same at ε·K/(K - 1)."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(6, 7)), rng.integers(0, 7, size=6)
    ours = valued(CrossEntropy(), Smoothing(smoothing=eps).reference(np.eye(7)[labels]), z)[0]
    theirs = nn.functional.cross_entropy(*map(torch.from_numpy, (z, labels)), label_smoothing=eps * 7 / 6)
    assert ours == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_step_has_no_gap(name, tiny, audits):
    spec = RIGHT[name](tiny.but(epochs=4))
    trace, steps = audits(spec)
    assert [step.number for step in steps] == [gaps["step"] for gaps in trace.auditor.found] == list(range(8))
    assert trace.auditor.errors == []
    kind = spec.precision.kind
    for gaps in trace.auditor.found:
        assert over(gaps, kind, by=0.1 if kind == "float32" else 0.3) == set(), gaps
        assert {"images", "targets", "slopes", "loss", "logits", "gradients", "statistics", "steps", "state"} <= set(
            gaps
        )
        assert (gaps["unrounded"] == 0) == (kind in ("float16", "bfloat16"))
        assert gaps["scale"] == (65536.0 if kind == "float16" else 1.0)


def test_a_right_step_is_judged_alike_again(tiny, audits):
    """Also within a forward without gradients, and in another state of torch's generator."""
    trace, steps = audits(everything(tiny.but(epochs=4)))
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    trace = copy.copy(trace)
    trace.auditor = copy.copy(trace.auditor)
    trace.auditor.found, trace.auditor.waiting = [], [steps[3]]
    with torch.no_grad():
        trace.auditor.judged()
    assert torch.equal(torch.random.get_rng_state(), state), "the random numbers of others stay as they were"
    assert trace.auditor.errors == []
    assert {k: v for k, v in trace.auditor.found[0].items() if k != "step"} == pytest.approx(
        judged(trace.auditor.replay, steps[3]), rel=1e-6, nan_ok=True
    )


# --- a step with one fault ------------------------------------------------------------------------------------------


def with_one(named, name, change):
    """`named`, but for one of its tensors."""
    return {**named, name: change(named[name].clone())}


def shifted(tensor):
    return tensor + 0.3 * tensor.abs().max()


LAYER = "stage2.0.body.3.weight"


MEAN = "stage2.0.body.1.running_mean"


def of_state(held, key):
    return {**held, LAYER: {**held[LAYER], key: shifted(held[LAYER][key])}}


FAULTS = {  # how a step is falsified; the gaps that are above their limits
    "weights after it": (lambda s: {"after": with_one(s.after, LAYER, shifted)}, {"steps"}),
    "weights that did not move": (lambda s: {"after": s.weights}, {"steps", "statistics"}),
    "weights before it": (
        lambda s: {"weights": with_one(s.weights, LAYER, shifted)},
        {"logits", "gradients", "steps", "statistics"},
    ),
    "a gradient": (
        lambda s: {"gradients": with_one(s.gradients, LAYER, lambda g: 1.5 * g)},
        {"gradients", "steps", "state"},
    ),
    "a gradient that is not there": (
        lambda s: {"gradients": {**s.gradients, LAYER: None}},
        {"gradients", "missing", "steps"},
    ),
    "state before it": (lambda s: {"kept": of_state(s.kept, "momentum_buffer")}, {"steps", "state"}),
    "state after it": (lambda s: {"left": of_state(s.left, "momentum_buffer")}, {"state"}),
    "a label": (lambda s: {"labels": s.labels.index_fill(0, torch.tensor([5]), 11)}, {"labels"}),
    "targets": (lambda s: {"fed": s.fed.flip(1)}, {"targets"}),
    "targets of two images changed over": (lambda s: {"fed": s.fed[torch.tensor([*range(1, 298), 0])]}, {"targets"}),
    "one image": (
        lambda s: {"inputs": [torch.cat([x.flip(3)[:1], x[1:]]) for x in s.inputs]},
        {"images", "logits", "gradients", "statistics"},
    ),
    "logits": (lambda s: {"logits": [1.1 * z for z in s.logits]}, {"logits", "loss", "slopes"}),
    "the gradient by the logits": (lambda s: {"slopes": [1.05 * z for z in s.slopes]}, {"slopes", "gradients"}),
    "the loss": (lambda s: {"loss": 1.001 * s.loss}, {"loss"}),
    "a running mean": (lambda s: {"after": with_one(s.after, MEAN, shifted)}, {"statistics"}),
    "a frozen parameter": (lambda s: {"frozen": 1}, {"frozen"}),
    "a module asleep": (lambda s: {"asleep": 1}, {"asleep"}),
    "a pass too many": (lambda s: {"inputs": [*s.inputs[0].split(200)]}, {"passes"}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [1, 5])
def test_one_fault_is_told_by_its_own_gaps(fault, at, tiny, audits):
    trace, steps = audits(tiny.but(epochs=4, decay=tiny.decay.but(weight=0.0)))  # else the state is of weights, too
    change, due = FAULTS[fault]
    gaps = judged(trace.auditor.replay, replace(steps[at], **change(steps[at])))
    assert over(gaps) == due, gaps


def test_what_float32_cannot_tell_of_images_that_are_fitted_is_no_gap(tiny, audits):
    """A run of 10,768 steps on digits was refused: at p = 0.99999 float32 has two digits of the gradient p - 1."""
    trace, steps = audits(tiny.but(epochs=4, decay=tiny.decay.but(weight=0.0)))
    step = steps[3]
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=step.fed.shape)).float()
    z = (14 * step.fed + noise).requires_grad_()
    loss = nn.functional.cross_entropy(z, step.fed)
    loss.backward()
    due = valued(CrossEntropy(), step.fed.double().numpy(), z.detach().double().numpy())[1]
    assert np.linalg.norm(z.grad.numpy() - due) / np.linalg.norm(due) > 1e-3
    sure = replace(step, logits=[z.detach()], slopes=[z.grad], loss=loss.item())
    assert {"slopes", "loss"} & over(judged(trace.auditor.replay, sure)) == set()
    for other in (1.5 * z.grad, 0 * z.grad, z.grad.roll(1, 0)):
        assert "slopes" in over(judged(trace.auditor.replay, replace(sure, slopes=[other])))


CLIMBS = {
    "elsewhere": (lambda s: {"aways": [with_one(s.aways[0], LAYER, shifted)]}, {"climb", "gradients"}),
    "down": (
        lambda s: {"aways": [{n: 2 * s.weights[n] - w for n, w in s.aways[0].items()}]},
        {"climb", "gradients"},
    ),
    "nowhere": (lambda s: {"aways": [s.weights]}, {"climb", "gradients"}),
    "no forward there": (lambda s: {"aways": []}, {"climb", "gradients"}),
    "a gradient of where it was": (lambda s: {"gradients": there(s)}, {"gradients", "steps", "state"}),
}


def there(step):
    """What SAM of no radius goes by, near enough: another gradient than that of elsewhere."""
    return {n: g + 0.02 * g.norm() * torch.ones_like(g) for n, g in step.gradients.items()}


@pytest.mark.parametrize("fault", CLIMBS)
def test_a_climb_that_went_wrong_is_told(fault, tiny, audits):
    trace, steps = audits(sam(tiny.but(epochs=4)))
    change, due = CLIMBS[fault]
    assert over(judged(trace.auditor.replay, replace(steps[3], **change(steps[3])))) == due


def test_a_step_of_another_number_is_none_of_its(tiny, audits):
    """Other images, other labels, and, where the schedule cuts, another rate."""
    trace, steps = audits(tiny.but(epochs=4))
    assert {"labels", "targets", "images"} <= over(judged(trace.auditor.replay, replace(steps[1], number=2)))


OTHERS = {  # a run held against another specification; the gaps that tell
    "decay": (lambda s: s, lambda s: s.but(decay=s.decay.but(weight=0.05)), {"steps", "state"}),
    "rate": (lambda s: s, lambda s: s.but(optimizer=s.optimizer.but(lr=0.11)), {"steps"}),
    "momentum": (lambda s: s, lambda s: s.but(optimizer=s.optimizer.but(momentum=0.8)), {"steps", "state"}),
    "smoothing": (lambda s: s, label_smoothing, {"targets", "loss", "slopes"}),
    "mixup": (lambda s: mixup(s, epochs=1), lambda s: s.but(mix=(s.mix[0].but(alpha=0.3),)), {"images", "targets"}),
    "rho": (sam, lambda s: sam(s, rho=0.5), {"climb"}),
    "no sam": (lambda s: s, sam, {"climb"}),
    "sam": (sam, lambda s: s.but(ascent=()), {"climb"}),
    "temperature": (
        lambda s: s.but(teacher=(Distill(spec=s),)),
        lambda s: s.but(teacher=(s.teacher[0].but(temperature=10.0),)),
        {"loss", "slopes"},
    ),
    "no half": (lambda s: s, fp16, {"slopes"}),
    "half": (fp16, lambda s: s.but(precision=mutants.TINY.precision), {"slopes"}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_steps_of_another_specification_are_told(name, tiny, audits):
    ran, said, due = OTHERS[name]
    spec = ran(tiny.but(epochs=4))
    trace, steps = audits(spec)
    found = over(judged(with_spec(trace, said(spec)), steps[3]))
    if name in ("no half",):
        assert judged(with_spec(trace, said(spec)), steps[3])["scale"] == 1, "FP16's own evidence wants 65,536"
    else:
        assert due <= found


# --- float16, emulated ----------------------------------------------------------------------------------------------


def test_half_by_hand():
    """Weights and outputs are numpy's float16, and so are their gradients."""
    rng = np.random.default_rng(0)
    x, w, b, slope = (rng.normal(size=s).astype(np.float32) for s in [(3, 64), (10, 64), (10,), (3, 10)])
    weights = {n: torch.from_numpy(a).requires_grad_() for n, a in (("1.weight", w), ("1.bias", b))}
    z = opinion(Dense(hidden=(), size=8), 1, 10, CPU)(weights, (torch.from_numpy(x).view(3, 1, 8, 8),), True, "float16")

    def half(a):
        return a.astype(np.float16).astype(np.float32)

    np.testing.assert_allclose(z.detach().numpy(), half(x @ half(w).T + b), rtol=1e-3, atol=1e-3)
    assert evidence.held_by(z, "float16")
    z.backward(torch.from_numpy(slope))
    np.testing.assert_allclose(weights["1.weight"].grad.numpy(), half(half(slope).T @ x), rtol=2e-3, atol=2e-3)
    assert evidence.held_by(weights["1.weight"].grad, "float16")
    plain = opinion(Dense(hidden=(), size=8), 1, 10, CPU)(weights, (torch.ones(3, 1, 8, 8) / 3,), True, "")
    assert not evidence.held_by(plain, "float16")


@pytest.mark.parametrize("rounded", ["", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "model", [Dense(hidden=(8,), size=8), ResNet(blocks=(1, 1), width=4, small=True)], ids=["dense", "resnet"]
)
def test_a_network_without_a_reference_is_called_on_the_weights_given(model, rounded):
    """As one with a reference is, to the rounding: two ways to the same logits and statistics."""

    class Unsaid:
        fresh = staticmethod(model.build)

    net, x = model.build(1, 10), torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    live = dict((*net.named_parameters(), *net.named_buffers()))
    answers, weights = [], [{n: t.detach().clone() for n, t in live.items()} for _ in range(2)]
    for kind, own in zip((model, Unsaid()), weights, strict=True):
        answers.append(opinion(kind, 1, 10, CPU)(own, (x,), True, rounded))
    gap = {"": 0, "float16": 1e-2, "bfloat16": 8e-2}[rounded]
    torch.testing.assert_close(*answers, rtol=gap or 1e-4, atol=gap or 1e-5)
    for name in live:
        if weights[0][name].is_floating_point():
            torch.testing.assert_close(weights[0][name], weights[1][name], rtol=gap or 1e-2, atol=gap or 1e-3)


class Blurred(Loss):
    """A user's, without a reference, with a table of its own in float32."""

    def __call__(self, z, y):
        return nn.functional.cross_entropy(z, y @ (0.9 * torch.eye(10) + 0.01))


def test_a_loss_without_a_reference_is_asked_again_as_it_is_run(tiny):
    _, trace = traced(tiny.but(loss=Blurred(), epochs=1))
    assert trace.auditor.errors == []
    assert max(gaps["slopes"] for gaps in trace.auditor.found) < 1e-3
