import pytest
import torch
from timm.optim.lookahead import Lookahead as Timm
from torch import nn

from harness.parts.averaging import Averaging
from harness.train import Keeper
from harness.tricks.ema import ema
from harness.tricks.lookahead import Lookahead, lookahead
from tests.mutants.breaking import TINY, traced

SPEC = lookahead(TINY.but(epochs=3), every=2)


class Weights(Keeper):
    """Keeps the weights after each epoch."""

    def __init__(self):
        self.kept = []

    def due(self, epoch_done):
        return epoch_done

    def keep(self, state):
        self.kept.append({name: tensor.clone() for name, tensor in state["model"].items()})


def test_its_way_is_timms():
    """Whose slow weights begin after the first steps: so they are begun before."""
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    average = Averaging(Lookahead(every=3, alpha=0.3), ours)
    base = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    wrapped, own = Timm(base, alpha=0.3, k=3), torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    for parameter in theirs.parameters():
        base.state[parameter]["lookahead_slow_buff"] = parameter.detach().clone()
    for step in range(10):
        x = torch.randn(5, 3)
        for net, optimizer in ((ours, own), (theirs, wrapped)):
            net.zero_grad()
            (net(x) ** 2).sum().backward()
            optimizer.step()
        average.update(step, 10, 1)
        average.hand_back()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_airbenchs_way_grows_shorter():
    """.95⁵·(t/T)³ stays of the slow weights."""
    part = Lookahead(every=5, alpha=1 - 0.95**5, power=3)
    for step in range(40):
        due = 1 - 0.95**5 * ((step + 1) / 40) ** 3 if step % 5 == 4 else 0
        assert part.share(step, 8, 5) == pytest.approx(due)
        assert part.reference(step, 8, 5) == pytest.approx(due)


def test_slow_weights_are_tested_and_training_goes_on_from_them():
    trained, trace = traced(SPEC)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    slow = trace.averages[0]
    assert slow.share, "after the last step"
    assert all(torch.equal(slow.tensors[name], p) for name, p in trained.model.named_parameters())
    assert trained.result["network"] != traced(ema(SPEC.but(average=()), decay=0.5, every=2))[0].result["network"]


def test_all_the_way_is_the_run_without_it():
    plain, whole = traced(SPEC.but(average=()))[0].result, traced(lookahead(SPEC, every=2, alpha=1.0))[0].result
    assert (plain["metrics"], plain["network"]) == (whole["metrics"], whole["network"])
