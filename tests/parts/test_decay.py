import pytest
import torch

from harness import Problem
from harness.evidence import Trace
from harness.parts.decay import DecayAll
from harness.parts.optimizers import NAG


def traced(tiny, decay):
    net = tiny.model.build(1, 10)
    groups = decay.groups(net)
    return net, Trace(1, 10, model=net, optimizer=NAG().build(groups, 256))


def test_every_parameter_is_decayed_once(tiny):
    net = tiny.model.build(1, 10)
    groups = DecayAll(weight=5e-4).groups(net)
    assert [group["weight_decay"] for group in groups] == [5e-4]
    assert sorted(map(id, groups[0]["params"])) == sorted(map(id, net.parameters()))


def test_decay_shrinks_by_the_rate_times_the_weight(tiny):
    """With no gradient, one step of NAG takes η(1 + μ)·wd of each weight: 0.1 · 1.9 · 0.01."""
    net, trace = traced(tiny, DecayAll(weight=0.01))
    before = [p.detach().clone() for p in net.parameters()]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    trace.optimizer.step()
    for old, new in zip(before, net.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (1 - 0.1 * 1.9 * 0.01))


def test_proof(tiny):
    decay = DecayAll(weight=1e-4)
    net, trace = traced(tiny, decay)
    assert all(check.ok for check in decay.proof(tiny, trace))
    bias = net.get_submodule("fc").bias
    rest = [p for p in net.parameters() if p is not bias]
    groups = [{"params": rest, "weight_decay": 1e-4}, {"params": [bias], "weight_decay": 0.0}]
    spared = Trace(1, 10, model=net, optimizer=NAG().build(groups, 256))
    assert not all(check.ok for check in decay.proof(tiny, spared))


def test_no_decay_at_all_is_what_it_says(tiny):
    decay = DecayAll(weight=0)
    _, trace = traced(tiny, decay)
    assert all(check.ok for check in decay.proof(tiny, trace))


def test_betas_have_a_decay_of_their_own(tiny):
    """By hand: one step without a gradient takes .1 · 1.9 · .02 of each β, and half as much of all else."""
    decay = DecayAll(weight=0.01, betas=0.02)
    net, trace = traced(tiny, decay)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.ones_like(p))
            p.grad = torch.zeros_like(p)
    trace.optimizer.step()
    betas = {n for n in before if n.endswith(".bias") and before[n.removesuffix("bias") + "weight"].dim() == 1}
    assert len(betas) > 4
    assert "fc.bias" not in betas
    for name, p in net.named_parameters():
        due = 1 - 0.1 * 1.9 * (0.02 if name in betas else 0.01)
        torch.testing.assert_close(p.detach(), torch.full_like(p, due))
    assert all(check.ok for check in decay.proof(tiny, trace))
    assert not all(check.ok for check in DecayAll(weight=0.01).proof(tiny, trace))
    assert not all(check.ok for check in decay.proof(tiny, traced(tiny, DecayAll(weight=0.01))[1]))
    layers = dict(net.named_modules())
    again = {n: decay.reference(n, layers[n.rpartition(".")[0]]) for n in before}
    assert again == {n: 0.02 if n in betas else 0.01 for n in before}


def test_betas_that_decay_like_all_else_are_refused(tiny):
    with pytest.raises(Problem, match=r"^decay.betas=0.01 is decay.weight: leave it out"):
        tiny.but(decay=DecayAll(weight=0.01, betas=0.01)).agree()
