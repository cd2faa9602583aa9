"""A network of linear layers."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.parts.models.cost import macs_check
from harness.parts.models.resnet import Weights
from harness.spec import Model, Spec


class Dense(Model):
    """Linear layers with ReLU between them, on all pixels of a `size` x `size` image as one row. Slot: `model`.

    As it stands, on MNIST: 784-784-10, 615,440 + 7,850 parameters. With no hidden layer it is softmax regression.
    """

    hidden: tuple[PositiveInt, ...] = (784,)
    size: int = Field(28, ge=1)  # px; the first layer has a weight for each

    def build(self, channels: int, classes: int) -> nn.Sequential:
        widths = (channels * self.size**2, *self.hidden)
        net = nn.Sequential(nn.Flatten())
        for fan_in, fan_out in pairwise(widths):
            net.extend((nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)))
        return net.append(nn.Linear(widths[-1], classes))

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """max(0, Wx + b) of all but the last layer, whose Wx + b are the logits."""
        row = x.reshape(len(x), -1)
        for layer in range(len(self.hidden)):
            row = linear(row, w[f"{2 * layer + 1}.weight"], w[f"{2 * layer + 1}.bias"]).clamp(min=0)
        logits: Tensor = linear(row, w[f"{2 * len(self.hidden) + 1}.weight"], w[f"{2 * len(self.hidden) + 1}.bias"])
        return logits

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        images = spec.data.load()
        widths = (images.channels * images.size**2, *self.hidden, len(images.classes))
        expected = "Flatten, " + ", ReLU, ".join(f"{a} to {b}" for a, b in pairwise(widths))
        layers = [m for m in trace.model.modules() if not isinstance(m, nn.Sequential)]
        seen = ", ".join(
            f"{m.in_features} to {m.out_features}" if isinstance(m, nn.Linear) else type(m).__name__ for m in layers
        )
        yield Check("layers of the built network", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)
