import torch

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
