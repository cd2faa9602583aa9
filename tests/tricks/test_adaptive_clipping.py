import numpy as np
import pytest
import torch
from timm.utils.agc import adaptive_clip_grad
from torch import nn

from harness.tricks.adaptive_clipping import AdaptiveClip, adaptive_clipping
from harness.tricks.fp16 import fp16


def network():
    """With γ and β, of which β is 0, and a unit without any gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 4))
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter) * 0.02
    net[0].weight.grad[1] = 0
    return net


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("most", [0.003, 0.02, 10.0])
def test_as_timms(most, head):
    ours, theirs = network(), network()
    part = AdaptiveClip(most=most, head=head)
    raw, weights = (
        {n: values(p).double().numpy() for n, p in ours.named_parameters()} for values in (grad, nn.Parameter.detach)
    )
    part(list(ours.parameters()))
    adaptive_clip_grad(list(theirs.parameters()) if head else list(theirs.parameters())[:-2], clip_factor=most)
    due = part.reference(raw, weights)
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
        np.testing.assert_allclose(due[name], other.grad.numpy(), rtol=1e-5, atol=1e-9)


def grad(parameter):
    return parameter.grad


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_a_run_with_it_has_all_checks(half, tiny, live):
    spec = adaptive_clipping(tiny.but(batch_size=99, epochs=1))
    trained, _ = live(fp16(spec) if half else spec)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []


def test_a_run_of_which_nothing_was_clipped_is_refused(tiny, live):
    trained, _ = live(adaptive_clipping(tiny.but(epochs=1), most=1e6))
    (bad,) = [row for row in trained.result["evidence"] if not row["ok"]]
    assert (bad["part"], bad["seen"]) == ("AdaptiveClip", "0")
