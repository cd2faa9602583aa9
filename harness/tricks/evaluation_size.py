"""Another size of test images than of training images (Touvron et al. 2019, "Fixing the train-test resolution…")."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data import Photos
from harness.parts.models import cost
from harness.parts.views import Views
from harness.spec import Evaluation, Spec, declares


class EvaluationSize(Evaluation):
    """Images are tested, and held-out ones measured, at `size` px a side; by default 256 for every 224 of training.

    Slot: `evaluation`, neutral absent.

    Photos are decoded and cut at that size, as at any other: their short edge is 256/224 of it, or `size` by `crop`, as
    timm's crop_pct. Images in memory are scaled, bilinear and antialiased.
    Random crops make training images look larger than test images are: a larger test size evens that out.
    """

    size: int | None = Field(None, ge=4)
    crop: float | None = Field(None, gt=0, le=1)  # of photos the side of what is cut out, of the short edge; None: .875

    def check(self, spec: Spec) -> None:
        images = spec.data.load()
        if self.crop and not (isinstance(images, Photos) and images.fit is None):
            raise ValueError("evaluation.crop is for photos that are cut when they are tested: leave it out")
        try:
            cost(spec.model, images.channels, len(images.classes), self.side(images))
        except Problem as problem:
            raise ValueError(f"evaluation.size={self.side(images)}: {problem}") from None

    def side(self, images: Any) -> int:
        return self.size or round(images.size * 256 / 224)

    def view(self, images: Any) -> Any:
        return images.resized(self.side(images), self.crop) if self.crop else images.resized(self.side(images))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        sides = sorted(trace.exams.sides) if trace.exams else []
        due, seen = self.side(spec.data.load()), ", ".join(f"{side}" for side in sides) or "none"
        yield Check("sides of the images that were tested, px", f"{due}", seen, sides == [due])


@declares("evaluation")
def evaluation_size(spec: Spec, size: int | None = None, crop: float | None = None) -> Spec:
    """larger test images: 256 px for every 224 px of training.

    Hurts: networks trained without random crops: objects then look as large in training as in test.

    Cost: tests alone: (256/224)² = 1.31 times the arithmetic; training is as it was.
    """
    part, old = EvaluationSize(size=size, crop=crop), spec.evaluation
    if isinstance(old, Views):
        return spec.but(evaluation=old.but(of=part))
    return spec.alone("evaluation", part)
