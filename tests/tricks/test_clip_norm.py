import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.spec import Spec
from harness.tricks.clip_norm import ClipNorm, clip_norm
from harness.tricks.fp16 import fp16


def parameters(*gradients):
    made = [nn.Parameter(torch.zeros(len(g))) for g in gradients]
    for parameter, gradient in zip(made, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return made


def test_by_hand():
    """(3, 4) and (12) are 13 long together: at 1.3 a tenth is left of each."""
    made = parameters([3.0, 4.0], [12.0])
    ClipNorm(most=1.3)(made)
    torch.testing.assert_close(torch.cat([p.grad for p in made]), torch.tensor([0.3, 0.4, 1.2]), rtol=1e-6, atol=0)
    due = ClipNorm(most=1.3).reference({"a": np.array([3.0, 4.0]), "b": np.array([12.0])})
    np.testing.assert_allclose(np.concatenate(list(due.values())), [0.3, 0.4, 1.2], rtol=1e-6)


def test_what_is_short_enough_stays():
    made = parameters([0.3, 0.4])
    ClipNorm(most=0.6)(made)
    assert torch.equal(made[0].grad, torch.tensor([0.3, 0.4]))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_no_step_goes_by_more_whatever_the_loss_was_scaled_by(half, tiny, live):
    spec: Spec = clip_norm(tiny.but(batch_size=24, epochs=1), most=0.7)
    trained, trace = live(fp16(spec) if half else spec)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert float(trace.longest) == pytest.approx(0.7, rel=1e-3)


def test_a_run_of_which_no_step_was_clipped_is_refused(tiny, live):
    trained, _ = live(clip_norm(tiny.but(epochs=1), most=1e6))
    (bad,) = [row for row in trained.result["evidence"] if not row["ok"]]
    assert (bad["part"], bad["seen"]) == ("ClipNorm", "0")


@pytest.mark.parametrize("most", [0.0, -1.0, math.inf])
def test_a_norm_is_above_0(most):
    with pytest.raises(ValueError, match="most"):
        ClipNorm(most=most)
