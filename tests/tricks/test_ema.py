import math

import pytest
import torch

from harness.tricks.ema import EMA, ema
from harness.tricks.fp16 import fp16


def test_a_decay_of_0_is_the_last_weights(tiny, live):
    """So all scores are the plain run's, to the last bit."""
    plain, averaged = live(tiny)[0].result, live(ema(tiny, decay=0))[0].result
    assert averaged["metrics"] == plain["metrics"]
    assert averaged["correct"] == plain["correct"]
    assert [epoch["loss"] for epoch in averaged["epochs"]] == [epoch["loss"] for epoch in plain["epochs"]]


def test_training_goes_on_with_its_own_weights_and_the_average_is_tested_and_kept(tiny, live):
    (plain, _), (averaged, trace) = live(tiny), live(ema(tiny, decay=0.5))
    assert [row for row in averaged.result["evidence"] if not row["ok"]] == []
    assert [epoch["loss"] for epoch in averaged.result["epochs"]] == [e["loss"] for e in plain.result["epochs"]]
    assert averaged.result["network"] != plain.result["network"]
    own = trace.averages[0].tensors  # by now
    for name, tensor in plain.model.named_parameters():
        assert torch.equal(own[name], tensor), "what the average was taken of are the plain run's weights"


def test_a_network_that_hardly_moves_leaves_the_average_at_its_beginning(tiny, live):
    """Of d = .999 and 12 steps 98.8 % of the initial weights are left."""
    from harness.train import build

    averaged, _ = live(ema(tiny))
    initial = dict(build(tiny, 0, torch.device("cpu")).named_parameters())
    plain = dict(live(tiny)[0].model.named_parameters())
    for name, weight in averaged.model.named_parameters():
        far = (plain[name] - initial[name]).norm()
        assert (weight - initial[name]).norm() <= 1.5 * (1 - 0.999**12) * 12 * far + 1e-6


def test_with_half_precision(tiny, live):
    trained, _ = live(fp16(ema(tiny, decay=0.5)))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_is_in_0_to_1(decay):
    with pytest.raises(ValueError, match="decay"):
        EMA(decay=decay)
