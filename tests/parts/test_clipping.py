import numpy as np
import torch
from torch import nn

from harness.parts.clipping import ClipValue


def test_by_hand():
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor([-7.0, 0.5, 2.0, 9.0])
    ClipValue(most=2.0)([parameter])
    assert parameter.grad.tolist() == [-2.0, 0.5, 2.0, 2.0]
    due = ClipValue(most=2.0).reference({"a": np.array([-7.0, 0.5, 2.0, 9.0])})
    assert due["a"].tolist() == [-2.0, 0.5, 2.0, 2.0]


def test_a_run_whose_gradients_are_cut_proves_it(tiny, live):
    trained, _ = live(tiny.but(batch_size=24, epochs=1, clip=(ClipValue(most=0.01),)))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    (row,) = [row for row in trained.result["evidence"] if row["part"] == "ClipValue"]
    assert row["seen"] == row["expected"] != "0"
