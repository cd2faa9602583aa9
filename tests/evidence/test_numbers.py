import copy

import pytest
import torch
from torch import nn

from harness.evidence.numbers import same, weighed, worst
from harness.evidence.tested import apart


def test_one_number_of_all_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    whole = weighed(net)
    assert weighed(copy.deepcopy(net)) == whole
    for _, tensor in (*net.named_parameters(), *net.named_buffers()):
        if tensor.is_floating_point():
            kept = tensor.detach().clone()
            tensor.data.view(-1)[0] += 1e-3
            assert not same(weighed(net), whole)
            tensor.data.copy_(kept)
    assert weighed(net) == whole
    assert weighed(nn.Identity()) == 0.0
    a, b = net[1].weight.data, net[1].bias.data
    a.fill_(2.0)
    one = weighed(net)
    net[1].weight.data, net[1].bias.data = b, a
    assert not same(weighed(net), one), "two that changed places"


def test_numbers_that_are_the_same():
    nan, inf = float("nan"), float("inf")
    assert [same(1.0, 1.0), same(nan, nan), same(1.0, 1 + 1e-14), same(inf, inf)] == [True] * 4
    assert [same(1.0, 1 + 1e-9), same(1.0, nan), same(nan, 1.0), same(inf, 1.0)] == [False] * 4
    assert [apart(1.5, 1.0), apart(150, 100), apart(nan, nan), apart(nan, 1.0), apart(1.0, nan)] == [
        0.5,
        0.5,
        0,
        inf,
        inf,
    ]


def test_worst_gap_of_a_gradient():
    due = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([1e-9])}
    assert worst(due, {"a": torch.tensor([3.0, 4.5]), "b": torch.tensor([1e-9])}) == pytest.approx(0.1)
    assert worst(due, {"a": due["a"], "b": torch.tensor([2e-9])}) < 1e-6, "but noise beside the others"
    assert worst(due, {"a": due["a"]}) == float("inf")
    assert worst({"a": torch.tensor([float("inf"), 4.0])}, {"a": torch.tensor([float("inf"), 5.0])}) == 0.25
