import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.evidence.moved import strayed
from harness.evidence.numbers import array, copies, distance, greatest, of_statistics, same, weighed, worst
from harness.evidence.tested import apart
from harness.parts.models import RESNET50


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


def test_means_are_in_units_of_the_deviation_where_that_is_more():
    def gap(mean, variance, off, kind="running_mean"):
        due = {"n.running_mean": np.array([0.0, mean]), "n.running_var": np.array([variance, 0.0])}
        return of_statistics({**due, f"n.{kind}": due[f"n.{kind}"] + off}, due)

    assert gap(1e-9, 4.0, 1e-7) == pytest.approx(5e-8), "a mean of nothing, off by float32's last bit"
    assert gap(0.5, 4.0, 0.1) == pytest.approx(0.05)
    assert gap(8.0, 4.0, 0.1) == pytest.approx(0.1 / 8)
    assert gap(1.0, 4.0, 0.1, "running_var") == pytest.approx(0.025)
    assert gap(1.0, 4.0, np.nan) == np.inf
    assert of_statistics({"mean": np.array([1.0])}, {"mean": np.array([2.0])}) == 0.5, "a buffer of another kind"
    assert of_statistics({}, {}) == 0.0


def test_means_of_nothing_are_no_gap_between_two_writings_of_a_network():
    """Between a norm and a 1 x 1 nothing is active: all means behind it are 0, but for the last bits."""
    model = RESNET50.but(blocks=(1, 1), width=16, small=True, spatial_first=True, fewer_activations=True)
    torch.manual_seed(0)
    net = model.build(3, 5).to(memory_format=torch.channels_last).train()
    due, x = copies(net), torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    net(x)
    model.reference(due, x, True, nn.functional.conv2d, nn.functional.linear)
    two = [{n: of[n].numpy() for n, b in net.named_buffers() if b.is_floating_point()} for of in (copies(net), due)]
    assert max(np.abs(two[1]["stage1.0.body.4.running_mean"])) < 1e-7
    assert of_statistics(*two) < 1e-6
    off = {**two[0], "stage1.0.body.4.running_mean": two[0]["stage1.0.body.4.running_mean"] + 0.01}
    assert of_statistics(off, two[1]) > 1e-3


NONE = [[], [math.nan], [math.inf], [math.nan, -math.inf]]


@pytest.mark.parametrize("odd", NONE)
@pytest.mark.parametrize("numbers", [[], [1.0, -3.0], [-2.0, 0.5, 2.0], [-1e300]])
def test_the_greatest_of_numbers_leaves_out_what_is_none(numbers, odd):
    for values in (numbers + odd, odd + numbers):
        assert greatest(np.array(values)) == max(map(abs, numbers), default=0)


@np.errstate(all="ignore")  # as audits have it
@pytest.mark.parametrize("odd", NONE[1:])
def test_a_gap_beside_what_is_no_number_is_that_of_the_numbers(odd):
    due, seen = np.array([4.0, -2.0, *odd]), np.array([4.0, -3.0, *odd])
    assert distance(seen, due) == 0.25
    assert distance(np.array([4.0, -2.0, *(0.0 for _ in odd)]), due) == math.inf
    assert distance(seen[:-1], due) == math.inf


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_an_array_is_in_float64(dtype):
    tensor = torch.tensor([[0.1, 3.0], [-1e3, 0.0]]).to(dtype)
    made = array(tensor.requires_grad_(tensor.is_floating_point()).t())
    assert made.dtype == np.float64
    assert made.tolist() == tensor.detach().t().double().tolist()


def test_gradients_apart_by_what_float32_holds_are_told_apart():
    """Of large numbers too, whose squares float32 cannot hold, and beside others that are none."""
    due = {"a": torch.full((1000,), 1e30), "b": torch.tensor([math.inf, 3.0, 4.0])}
    seen = {"a": due["a"] * 1.001, "b": torch.tensor([1.0, 3.0, math.nan])}
    assert worst(due, seen | {"b": due["b"]}) == pytest.approx(0.001, rel=1e-4)
    assert worst({"b": due["b"]}, {"b": seen["b"]}) == 0
    assert worst({"b": due["b"]}, {"b": torch.tensor([math.inf, 3.5, 4.0])}) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("before", "after", "due", "gap"),
    [
        ([0.0, 1.0], [0.5, 1.0], [0.5, 1.0], 0.0),
        ([0.0, 1.0], [0.4, 1.0], [0.5, 1.0], 0.2),
        ([0.0, 1e4], [0.495, 1e4], [0.5, 1e4], 0.0),  # within what float32 says of the others
        ([0.0, 1.0], [math.inf, 1.0], [math.inf, 1.0], 0.0),
        ([0.0, 1.0], [math.nan, 1.5], [math.nan, 2.0], 0.5),
        ([math.nan, 1.0], [math.nan, 9.0], [math.nan, 2.0], 0.0),
    ],
)
@np.errstate(all="ignore")
def test_how_far_weights_are_from_where_they_are_due(before, after, due, gap):
    assert strayed(*map(np.array, (before, after, due))) == pytest.approx(gap, abs=1e-5)
