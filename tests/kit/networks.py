"""Whether a network that was built proves to be the one claimed."""

import torch

from harness.evidence import Trace


def is_proved(claimed, built, tiny):
    trace = Trace(1, 10, model=built.build(1, 10))
    trace.model(torch.zeros(2, 1, 8, 8))
    return all(check.ok for check in claimed.proof(tiny, trace))
