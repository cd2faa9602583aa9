"""airbench94's network, against what its paper tells and a second writing of its section A in torch's modules."""

import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import Trace
from harness.parts.models import Airbench, cost
from tests.kit.networks import is_proved

SLIM = Airbench(widths=(8, 8))


def published():
    """For 32 px, from the paper: without a name, a loop, or anything adaptive."""

    def conv(before, after):
        return nn.Conv2d(before, after, kernel_size=3, padding="same", bias=False)

    def norm(width):
        made = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
        made.weight.requires_grad = False
        return made

    def group(before, after):
        first = conv(before, after), nn.MaxPool2d(2), norm(after), nn.GELU()
        return nn.Sequential(*first, conv(after, after), norm(after), nn.GELU())

    front = nn.Conv2d(3, 24, kernel_size=2, padding=0, bias=True), nn.GELU()
    groups = group(24, 64), group(64, 256), group(256, 256)
    return nn.Sequential(*front, *groups, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False))


def test_it_costs_what_the_paper_tells():
    """1.97 M parameters; multiply-adds by hand, sides 31, 15, 7 and 3 after the pools."""
    by_hand = 31**2 * 12 * 24 + 9 * (31**2 * 24 * 64 + 15**2 * 64 * 64 + 15**2 * 64 * 256 + 7**2 * 256**2)
    by_hand += 9 * (7**2 * 256**2 + 3**2 * 256**2) + 256 * 10
    assert cost(Airbench(), 3, 10, 32) == (1_971_640 + 2 * (64 + 256 + 256), by_hand)
    net = Airbench().build(3, 10)
    assert sum(p.numel() for n, p in net.named_parameters() if not Airbench().frozen(n)) == 1_971_640


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_published_network(training):
    torch.manual_seed(0)
    ours, theirs = Airbench().build(3, 10), published()
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        other.copy_(one)
    x = torch.randn(4, 3, 32, 32)
    z = ours.train(training)(x)
    torch.testing.assert_close(z, theirs.train(training)(x) / 9)
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_statistics_keep_that_much_at_each_step():
    net = SLIM.but(momentum=0.9).build(1, 10)
    norm = net.get_submodule("block1.norm1")
    seen = []
    norm.register_forward_pre_hook(lambda layer, args: seen.append(args[0].mean((0, 2, 3))))
    net(torch.randn(6, 1, 8, 8))
    torch.testing.assert_close(norm.running_mean, 0.1 * seen[0])


def test_images_that_are_too_small_are_told():
    with pytest.raises(Problem, match=r"^Airbench\(.*\) cannot take images of 8 x 8: "):
        cost(Airbench(), 1, 10, 8)


def test_proof_tells_networks_apart(tiny):
    assert not any(
        is_proved(SLIM, other, tiny)
        for other in (SLIM.but(widths=(8, 9)), SLIM.but(momentum=0.9), SLIM.but(scale=1.0), SLIM.but(widths=(8,)))
    )


@pytest.mark.parametrize(
    ("name", "put"),
    [("act", nn.ReLU()), ("pool", nn.AdaptiveAvgPool2d(1)), ("block1.pool", nn.AvgPool2d(2)), ("times", nn.Identity())],
)
def test_proof_misses_a_layer(name, put, tiny):
    net = SLIM.build(1, 10)
    for p in (p for n, p in net.named_parameters() if SLIM.frozen(n)):
        p.requires_grad_(False)
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    assert [check.ok for check in SLIM.proof(tiny, trace)] == [True] * 4
    net.set_submodule(name, put)
    assert [check.ok for check in SLIM.proof(tiny, trace)] == [False, True, True, True]


def test_a_run_proves_itself_and_its_scales_stay(live, tiny):
    trained, trace = live(tiny.but(model=SLIM))
    assert trained.result["status"] == "finished"
    gammas = [m.weight for m in trace.model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(gammas) == 4
    assert all((gamma == 1).all() for gamma in gammas)
