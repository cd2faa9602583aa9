"""Progressive resizing (Howard 2018, DAWNBench entry of fast.ai; as MosaicML's Composer schedules it)."""

from collections.abc import Iterable

import numpy as np
from pydantic import Field
from torch import Tensor

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.memory import scaled, triangles
from harness.parts.models import cost
from harness.spec import Resolution, Spec, declares


class Progressive(Resolution):
    """Training images begin at `initial` of their side and grow to all of it. Slot: `resolution`, neutral absent.

    They stay small for a share `delay` of the epochs and are whole for the last `finetune`; between the two the side
    grows evenly, epoch by epoch, in whole steps of `multiple` px. Images are scaled, bilinear and antialiased, after
    augmentation and before they are mixed; test images stay. Raises ValueError where the shares leave no room, and
    where a network does not take such images.
    """

    initial: float = Field(0.5, gt=0, lt=1)
    delay: float = Field(0.5, ge=0, lt=1)
    finetune: float = Field(0.2, ge=0, lt=1)
    multiple: int = Field(4, ge=1)

    def check(self, spec: Spec) -> None:
        if self.delay + self.finetune > 1:
            shares = f"delay={self.delay:g} and finetune={self.finetune:g}"
            raise ValueError(f"Progressive: {shares} are more than all epochs")
        if spec.data.truth != "class":
            raise ValueError("Progressive is for images of one class each: boxes and masks do not follow")
        images = spec.data.load()
        for model in (spec.model, *(part.spec.model for part in spec.teacher)):
            for side in sorted({self.side(epoch, spec.epochs, images.size) for epoch in range(spec.epochs)}):
                try:
                    cost(model, images.channels, len(images.classes), side)
                except Problem as problem:
                    raise ValueError(f"resolution: {side} px in training: {problem}") from None

    def side(self, epoch: int, epochs: int, size: int) -> int:
        """Pixels a side in `epoch`, of images of `size`."""
        at, ends = epoch / epochs, 1 - self.finetune
        if at >= ends - 1e-9:
            return size
        grown = (at - self.delay) / (ends - self.delay) if at > self.delay else 0.0
        share = self.initial + (1 - self.initial) * grown
        return min(size, max(1, round(size * share / self.multiple)) * self.multiple)

    def __call__(self, x: Tensor, epoch: int, epochs: int) -> Tensor:
        side = self.side(epoch, epochs, x.shape[-1])
        return x if side == x.shape[-1] else scaled(x, side)

    def reference(self, x: np.ndarray, epoch: int, epochs: int) -> np.ndarray:
        """By the weights of each pixel, written plainly."""
        due = self.due(epoch, epochs, x.shape[3])
        down, across = (triangles(side, due) for side in x.shape[2:])
        made: np.ndarray = down @ x @ across.T
        return made

    def due(self, epoch: int, epochs: int, size: int) -> int:
        """`side`, said again: on a line from (delay, initial) to (1 - finetune, 1), level before it and after."""
        first, last = self.delay, 1 - self.finetune
        if epoch / epochs >= last - 1e-9:
            return size
        share = float(np.interp(epoch / epochs, [first, last], [self.initial, 1.0]))
        steps = max(1, round(share * size / self.multiple))
        return min(steps * self.multiple, size)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        size, steps = spec.data.load().size, trace.steps_per_epoch
        done = -(-len(trace.lr) // steps)
        sides = [self.due(epoch, spec.epochs, size) for epoch in range(done)]
        due = [(e * steps, side, side) for e, side in enumerate(sides) if e == 0 or side != sides[e - 1]]
        expected, seen = (
            ", ".join(f"{side} from step {step + 1}" for step, side, _ in of) for of in (due, trace.shapes)
        )
        yield Check("sides of training images, px", expected, seen, trace.shapes == due)


@declares("resolution")
def progressive_resizing(spec: Spec, initial: float = 0.5) -> Spec:
    """progressive resizing: images of half the side at first, whole for the last fifth.

    Hurts: images that are small already, such as CIFAR's, and small objects.

    Cost: less than without it: an image of half the side is a quarter of the arithmetic.
    """
    return spec.but(resolution=(Progressive(initial=initial),))
