"""FCN (Long et al. 2015) as the paper's code has it: a dilated classifier, a head, and an auxiliary head."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import harness.parts.models.layers as layers
from harness.parts.models.base import OnBackbone, Stages, dilate, stages_of, timm_features, widths
from harness.parts.models.resnet import ResNet, Weights
from harness.spec import Spec


class Segmenter(nn.Module):
    """Images N x C x H x W to logits of cells.

    With the masks y N x H x W beside them, as in training, N x 2K x h x w: those of the last stage's head and of the
    auxiliary one's, on the stage before; with frames N x 6 the first alone, N x K x h x w.
    """

    def __init__(self, base: nn.Module, head: nn.Module, aux: nn.Module) -> None:
        super().__init__()
        self.base, self.head, self.aux = base, head, aux

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        before, last = self.base(x)
        z: Tensor = self.head(last)
        if y.ndim < 3:
            return z
        more: Tensor = self.aux(before)
        if more.shape[2:] != z.shape[2:]:  # a stage before that strides less
            more = nn.functional.interpolate(more, z.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([z, more], 1)


class FCN(OnBackbone):
    """A fully convolutional network on a classifier. Slot: `model`.

    The backbone's last stages do not stride where `output_stride` would be passed, and are dilated. The head is 3 x 3
    to a quarter of the channels, batch norm, ReLU, dropout, 1 x 1 (gluon-cv of December 2018, which the paper ran).
    Logits are of cells; the task brings them to the mask's size, bilinearly.
    """

    output_stride: Literal[4, 8, 16, 32] = 8
    dropout: float = Field(0.1, ge=0, lt=1)

    def check(self, spec: Spec) -> None:
        if isinstance(self.network, ResNet) and len(self.network.blocks) < 2:
            raise ValueError("model.backbone: an auxiliary head needs two stages")
        super().check(spec)
        if getattr(spec.task, "headline", "") != "mIoU":
            raise ValueError("model=FCN answers each pixel: set task=Segment")
        if isinstance(self.network, ResNet):
            with torch.device("meta"):
                dilate({**stages_of(self, 3)}, self.network, self.output_stride)
        else:
            timm_features(self.network, 3, 2, self.output_stride)  # type: ignore[arg-type]

    def build(self, channels: int, classes: int) -> nn.Module:
        network = self.network
        base: nn.Module
        if isinstance(network, ResNet):
            named = stages_of(self, channels)
            dilate(named, network, self.output_stride)
            base, (before, last) = Stages(named, 2), widths(network)[-2:]
        else:
            base, (before, last), _ = timm_features(network, channels, 2, self.output_stride)  # type: ignore[arg-type]
        return Segmenter(base, self._head(last, classes), self._head(before, classes))

    def _head(self, width: int, classes: int) -> nn.Sequential:
        inner = max(1, width // 4)
        return nn.Sequential(
            nn.Conv2d(width, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Dropout(self.dropout),
            nn.Conv2d(inner, classes, 1),
        )

    @property
    def reference(self) -> Callable[..., Tensor] | None:
        """Its forward, of a ResNet, written out from gluon-cv's; of timm's networks there is none."""
        return self._written if isinstance(self.network, ResNet) else None

    def _written(self, w: Weights, x: Tensor, y: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        functional, network = nn.functional, self.network
        assert isinstance(network, ResNet)
        learned = {name.removeprefix("base."): tensor for name, tensor in w.items()}
        *_, before, last = network.written(learned, x, training and not self.frozen_norms, conv, self.output_stride)

        def told(x: Tensor, head: str) -> Tensor:
            x = conv(x, w[f"{head}.0.weight"], padding=1)
            mean, variance = w[f"{head}.1.running_mean"], w[f"{head}.1.running_var"]
            gamma, beta = w[f"{head}.1.weight"], w[f"{head}.1.bias"]
            x = functional.relu(functional.batch_norm(x, mean, variance, gamma, beta, training, 0.1, 1e-5))
            x = functional.dropout(x, self.dropout, training)
            z: Tensor = conv(x, w[f"{head}.4.weight"], w[f"{head}.4.bias"])
            return z

        z = told(last, "head")
        if y.ndim != 3:
            return z
        more = told(before, "aux")
        if more.shape != z.shape:
            more = functional.interpolate(more, size=z.shape[-2:], mode="bilinear")
        return torch.cat((z, more), dim=1)

    def due_layers(self) -> layers.Layers:
        if not isinstance(self.network, ResNet):
            return {}
        due = {
            f"base.{n}": told for n, told in layers.stages(self.network, self.frozen_norms, self.output_stride).items()
        }
        for head in ("head", "aux"):
            due |= {f"{head}.0": ("conv", 3, 1, 1, 1, 1), f"{head}.1": ("BatchNorm2d", 1e-5)}
            due |= {f"{head}.3": ("dropout", self.dropout), f"{head}.4": ("conv", 1, 1, 0, 1, 1)}
        return due

    def blank(self, channels: int, classes: int, height: int, width: int) -> tuple[Tensor, ...]:
        return torch.zeros(1, channels, height, width), torch.zeros(1, height, width, dtype=torch.int64)
