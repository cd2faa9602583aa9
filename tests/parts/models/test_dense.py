import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import Trace
from harness.parts.models import (
    Dense,
    cost,
)
from tests.kit.networks import is_proved


def test_a_dense_network_has_the_published_parameters():
    """Keras' summary of 784-784-10, as a table of the optimizers' report prints it."""
    layers = [m for m in Dense().build(1, 10) if isinstance(m, nn.Linear)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == [615_440, 7_850]
    assert cost(Dense(), 1, 10, 28) == (615_440 + 7_850, 784 * 784 + 784 * 10)


def test_a_dense_network_is_what_numpy_computes():
    torch.manual_seed(0)
    net = Dense(hidden=(5, 4), size=3).build(2, 3)
    x = np.random.default_rng(0).normal(size=(7, 2, 3, 3)).astype(np.float32)
    row = x.reshape(7, 18)
    for i in (1, 3, 5):
        row = row @ net[i].weight.detach().numpy().T + net[i].bias.detach().numpy()
        row = np.maximum(row, 0) if i < 5 else row
    assert (row < 0).any()
    given = torch.from_numpy(x).to(memory_format=torch.channels_last)  # as the loop serves them
    assert net(given).detach().numpy() == pytest.approx(row, abs=1e-5)


def test_a_dense_network_takes_images_of_its_size_alone():
    with pytest.raises(Problem, match=r"^Dense\(.*size=28\) cannot take images of 8 x 8: ") as problem:
        cost(Dense(), 1, 10, 8)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 16)], ids=str)
def test_proof_tells_dense_networks_apart(hidden, tiny):
    claimed = Dense(hidden=hidden, size=8)
    assert is_proved(claimed, claimed, tiny)
    others = [claimed.but(hidden=(*hidden, 8)), claimed.but(hidden=hidden[:-1]), claimed.but(hidden=(*hidden[1:], 15))]
    assert not any(is_proved(claimed, other, tiny) for other in others if other != claimed)


@pytest.mark.parametrize("put", [nn.Identity(), nn.Tanh()], ids=str)
def test_proof_misses_a_relu(put, tiny):
    model = Dense(hidden=(16,), size=8)
    net = model.build(1, 10)
    net[2] = put
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    assert [check.ok for check in model.proof(tiny, trace)] == [False, True]


def test_a_run_of_a_dense_network_proves_itself(live, tiny):
    trained, _ = live(tiny.but(model=Dense(hidden=(16,), size=8), epochs=1))
    rows = [row["ok"] for row in trained.result["evidence"] if row["part"] == "Dense"]
    assert rows == [True, True]
    assert trained.result["status"] == "finished"
