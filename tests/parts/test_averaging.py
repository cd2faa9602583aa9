import torch
from torch import nn

from harness.parts.averaging import Averaging, floating
from harness.tricks.ema import EMA


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_by_hand():
    """Of 0, 1, 2 at d = 1/2: 0 → 1/2 → 5/4; weights and statistics alike, and the counter of batches not."""
    model = network()
    for tensor in floating(model).values():
        tensor.zero_()
    average = Averaging(EMA(decay=0.5), model)
    for step in range(2):
        for tensor in floating(model).values():
            tensor.add_(1)
        average.update(step, 2, 1)
    assert average.updates == 2
    assert set(average.tensors) == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    assert all(bool((tensor == 1.25).all()) for tensor in average.tensors.values())
    assert all(bool((tensor == 2).all()) for tensor in floating(model).values())


def test_within_the_network_has_the_average_and_all_comes_back():
    model = network()
    average = Averaging(EMA(decay=0.5), model)
    for parameter in model.parameters():
        parameter.data.add_(1)
    own, mean = ({n: t.clone() for n, t in tensors.items()} for tensors in (floating(model), average.tensors))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with average.on():
        assert all(torch.equal(tensor, mean[name]) for name, tensor in floating(model).items())
        assert all(
            torch.equal(p, q) for p, q in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True)
        )
    assert all(torch.equal(tensor, own[name]) for name, tensor in floating(model).items())
    assert all(torch.equal(tensor, mean[name]) for name, tensor in average.tensors.items())


def test_what_is_kept_of_it_comes_back():
    model = network()
    average = Averaging(EMA(decay=0.5), model)
    for parameter in model.parameters():
        parameter.data.add_(1)
    average.update(0, 1, 1)
    again = Averaging(EMA(decay=0.5), network())
    again.restore(average.state())
    assert again.updates == 1
    assert all(torch.equal(tensor, average.tensors[name]) for name, tensor in again.tensors.items())
