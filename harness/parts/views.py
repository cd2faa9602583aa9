"""Views of a test image: mirrored and shifted, their answers averaged."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.spec import Evaluation, Spec


class Views(Evaluation):
    """The mean answer to an image and its mirror image; and, half of it all, to both shifted. Slot: `evaluation`.

    With `shift` images are also seen moved by so many px right and down, and left and up; what comes in at the border
    is a reflection. `of` says how images are tested otherwise, their size say. Logits are averaged, before any softmax.
    Raises ValueError where there is but one view, or images are no larger than the shift.
    """

    mirror: bool = True
    shift: int = Field(0, ge=0)
    of: Evaluation | None = None

    def check(self, spec: Spec) -> None:
        if not self.mirror and not self.shift:
            raise ValueError("Views: mirror=False and shift=0 leave one view: leave the part out")
        if isinstance(self.of, Views):
            raise ValueError("Views stand on another way to test, not on other views: give it one `of`")
        side = self.view(spec.data.load()).tested
        if self.shift >= side:
            raise ValueError(f"Views: shift={self.shift} is not below the {side} px of an image")

    def view(self, images: Any) -> Any:
        return replace(self.of.view(images) if self.of else images, looks=self)

    def views(self, x: Tensor) -> list[tuple[float, Tensor]]:
        found = [(1.0, x)]
        if self.shift:
            height, width = x.shape[2:]
            framed, far = nn.functional.pad(x, (self.shift,) * 4, "reflect"), 2 * self.shift
            found = [(0.5, x), (0.25, framed[..., :height, :width]), (0.25, framed[..., far:, far:])]
        if self.mirror:
            found = [(share / 2, seen) for share, view in found for seen in (view, view.flip(3))]
        return found

    def reference(self, x: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Each pixel by where it was: mirrored where it would be outside."""
        height, width = x.shape[2:]
        moves = [(0, 1.0)] if not self.shift else [(0, 0.5), (-self.shift, 0.25), (self.shift, 0.25)]
        made = []
        for by, share in moves:
            rows, columns = (
                [(edge - 1) - abs((edge - 1) - abs(place + by)) for place in range(edge)] for edge in (height, width)
            )
            seen = x[:, :, rows][:, :, :, columns]
            turned = [seen, seen[:, :, :, list(range(width))[::-1]]] if self.mirror else [seen]
            made += [(share / len(turned), each) for each in turned]
        return made

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        due = (3 if self.shift else 1) * (2 if self.mirror else 1)
        seen = sorted(trace.exams.views) if trace.exams else []
        told = ", ".join(map(str, seen)) or "none"
        yield Check("views of each test image whose answers are averaged", f"{due}", told, seen == [due])
        shares = sum(share for share, _ in self.views(torch.zeros(1, 1, self.shift + 2, self.shift + 2)))
        yield Check("sum of their shares", "1", f"{shares:g}", abs(shares - 1) < 1e-9)
