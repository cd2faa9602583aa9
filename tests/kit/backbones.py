"""A model that holds the specification of its backbone, and a study of such: what a detector is to plans."""

from typing import ClassVar

from torch import nn

from harness.spec import Model, Spec, declares
from harness.study import Study
from harness.tricks.label_smoothing import label_smoothing
from tests.kit.tiny import BASELINE, TRICKS


class Onto(Model):
    """A network on a trained one."""

    paired: ClassVar[bool] = True
    backbone: Spec

    def build(self, channels: int, classes: int) -> nn.Module:
        return self.backbone.model.build(channels, classes)


def on_backbone(trick):
    @declares("model.backbone")
    def on(spec: Spec) -> Spec:
        return spec.but(model=spec.model.but(backbone=trick(spec.model.backbone)))

    on.__name__ = trick.__name__ if hasattr(trick, "__name__") else trick.func.__name__
    on.__doc__ = f"{on.__name__}: on the backbone."
    return on


DETECTOR: Spec = BASELINE.but(epochs=1, model=Onto(backbone=BASELINE))
SMOOTHED, DISTILLED = on_backbone(label_smoothing), on_backbone(TRICKS[-1])
STUDY = Study("tiny_detection", "", DETECTOR, (SMOOTHED,), (0, 1, 2))


def backbones():
    """The runs that those of `STUDY` stand on."""
    return [(spec, seed) for spec in (BASELINE, label_smoothing(BASELINE)) for seed in STUDY.seeds]
