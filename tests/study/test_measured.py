from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.parts.precision import FP32, Runner
from harness.study.measured import Network, Saved, _shrunk, calibrate
from harness.tricks.fp16 import FP16
from tests.kit.prices import CPU, KNOWN, Shots
from tests.kit.tiny import BASELINE


@pytest.mark.parametrize("precision", [FP32(), FP16()], ids=["FP32", "FP16"])
@pytest.mark.parametrize("images", [2, 5])
def test_bytes_that_autograd_keeps_of_a_net_counted_by_hand(precision, images):
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    saved = Saved(net)
    with saved, precision.on(CPU).forward():
        net(torch.randn(images, 8)).sum()
    assert sum(saved.scaling.values()) == 4 * images * (8 + 16), (
        "the input, and the ReLU's output, which two layers keep"
    )
    rounded = 4 * 4 * 16 if isinstance(precision, FP16) else 0
    assert sum(saved.fixed.values()) == rounded, "the second layer's rounded weights; the first passes no gradient on"


@pytest.mark.parametrize("share", [0.01, 10.0])
@pytest.mark.parametrize("size", [96, 48, 24])
def test_what_a_pass_takes_once_is_told_from_what_an_image_takes(monkeypatch, size, share):
    """By a clock that stands still but for a + b n seconds a pass, b as the area, a third of it forward."""
    a, b, clock, cold, passes = 0.3, 0.02, [0.0], {True: 50.0, False: 50.0}, []

    def work(x, part):
        clock[0] += part * (a + b * len(x) * (x.shape[-1] / 96) ** 2)

    class Net(nn.Linear):
        def forward(self, x):
            clock[0] += cold.pop(self.training, 0.0)
            work(x, 1 / 3)
            passes.append(x)
            return super().forward(x.mean((2, 3)))

    class Timed(Runner):
        def backward(self, loss):
            work(passes[-1], 2 / 3)

    monkeypatch.setattr("harness.study.measured.time", SimpleNamespace(monotonic=lambda: clock[0]))
    model, precision = SimpleNamespace(build=Net), SimpleNamespace(on=lambda device: Timed())
    network = Network(model, precision, channels=3, classes=2, size=96, images=256, spec=BASELINE)
    made = _shrunk(network, size, CPU, share)
    assert 256 * made.trained(256) == pytest.approx(a + 256 * b)
    assert 64 * made.tested(64) == pytest.approx((a + 64 * b) / 3)
    assert clock[0] < 100 + 2 * max(share, 3 * (a + 6 * b)), "what is cold, and about its share"


def test_what_is_too_slow_is_timed_smaller_or_taken_from_its_like(monkeypatch):
    timed = []

    def measure(network, device, share):
        timed.append((network.spec.model, network.size))
        return KNOWN

    monkeypatch.setattr("harness.study.measured.measure", measure)
    monkeypatch.setattr("harness.study.measured.time", SimpleNamespace(monotonic=lambda: 0.0))
    small, large = (Network.of(BASELINE.but(data=Shots(), model=BASELINE.model.but(width=w))) for w in (4, 32))
    pace = KNOWN.train / (3 * small.cost()[1])
    needed, fixed = 38 * large.cost()[1] * pace, 4 * KNOWN.step
    made = calibrate([large, small], CPU, lambda text: None, budget=fixed + needed / 3)
    assert timed == [(small.model, 96), (large.model, 48)]
    assert made[large].train == 4 * KNOWN.train
    assert made[large].static == KNOWN.static
    assert made[large].by == "steps of 4 at 48 px"
    timed.clear()
    made = calibrate([large, small], CPU, lambda text: None, budget=fixed + needed / 100)
    assert timed == [(small.model, 96)]
    assert made[large].train == pytest.approx(KNOWN.train * large.cost()[1] / small.cost()[1])
    assert made[large].weights == pytest.approx(KNOWN.weights * large.cost()[0] / small.cost()[0])
    assert made[large].by == "multiply-adds"
