"""Runs that are stopped and go on."""

import io

import pytest
import torch

from harness import train as loop
from harness.spec import Model

CPU = torch.device("cpu")
TIMES = {"seconds", "time"}


def untimed(result):
    return [{k: v for k, v in epoch.items() if k not in TIMES} for epoch in result["epochs"]]


def trained(spec, seed=0, keeper=None):
    return loop.train(spec, seed, CPU, lambda up: pytest.fail("no upstream here"), keeper)


class Stops(loop.Keeper):
    """Keeps the state at the given moments, each time as a checkpoint holds it, and stops there."""

    def __init__(self, at):
        self.at, self.asked, self.state = set(at), 0, None

    def saved(self):
        return torch.load(io.BytesIO(self.state), weights_only=True) if self.state else None

    def due(self, epoch_done):
        self.asked += 1
        return self.asked in self.at

    def keep(self, state):
        torch.save(state, buffer := io.BytesIO())
        self.state = buffer.getvalue()
        raise KeyboardInterrupt


class Plain(Model):
    def build(self, channels, classes):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))
