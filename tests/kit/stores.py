"""Runs in a store, without training."""

import torch

from harness.spec import plain, resolved
from tests.kit.tiny import BASELINE, RESULT

KEY = BASELINE.id, 0


def add(store, spec, seed):
    with store.claim(spec.id, seed) as claim:
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        claim.finish(RESULT, {"w": torch.zeros(3)})
