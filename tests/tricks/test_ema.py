import math

import pytest
import torch

from harness.parts.averaging import Averaging
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


# --- a warm-up, and buffers -----------------------------------------------------------------------------------------


def test_a_warmup_by_hand():
    """(1 + t)/(10 + t) is .1, 2/11, 3/12, … and .9 at t = 80: then d."""
    part = EMA(decay=0.9, warmup=True)
    assert [1 - part.share(t, 5, 20) for t in (0, 1, 2, 79)] == pytest.approx([0.1, 2 / 11, 0.25, 80 / 89])
    assert [1 - part.share(t, 5, 20) for t in (80, 81, 99)] == pytest.approx([0.9] * 3)
    sparse = EMA(decay=0.9, warmup=True, every=3)
    assert [sparse.share(t, 5, 20) for t in range(6)] == pytest.approx([0, 0, 0.9, 0, 0, 9 / 11])
    for each in (part, sparse):
        for t in range(300):
            assert each.reference(t, 5, 20) == pytest.approx(each.share(t, 5, 20))


@pytest.mark.parametrize(("buffers", "excluded"), [(None, False), ("copied", True)])
def test_as_timms(buffers, excluded):
    """Weights and statistics of a network that is trained by noise, after some steps."""
    from timm.utils import ModelEmaV3

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ours = Averaging(EMA(decay=0.8, buffers=buffers), net)
    theirs = ModelEmaV3(net, decay=0.8, exclude_buffers=excluded)
    for step in range(5):
        net(torch.randn(2, 3, 8, 8) + step)
        for parameter in net.parameters():
            parameter.data += torch.randn_like(parameter)
        ours.update(step, 5, 1)
        theirs.update(net)
    for name, tensor in theirs.module.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(ours.tensors[name], tensor)
    same = torch.equal(ours.tensors["1.running_mean"], net[1].running_mean)
    assert same == (buffers == "copied")


@pytest.mark.parametrize("fields", [{"warmup": True}, {"warmup": True, "buffers": "copied", "every": 2}], ids=str)
def test_warmed_up_and_copied_it_proves_itself(fields, tiny, live):
    trained, trace = live(ema(tiny, **fields))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert max(gaps["averaged"] for gaps in trace.auditor.found) < 1e-3


def test_fields_that_are_absent_move_no_id(tiny):
    assert ema(tiny).average == (EMA(),)
    assert len({ema(tiny, **f).id for f in ({}, {"warmup": True}, {"buffers": "copied"})}) == 3
