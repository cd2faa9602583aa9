"""Gradient clipping by value: each number of a gradient by itself."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Clip, Spec


class ClipValue(Clip):
    """Numbers of gradients beyond ± `most` become that. Slot: `clip`.

    gluon-cv of December 2018 trains Faster R-CNN with 5, as a guard: in most runs no number comes near.
    """

    most: float = Field(5.0, gt=0)

    def __call__(self, parameters: Sequence[nn.Parameter]) -> None:
        nn.utils.clip_grad_value_(parameters, self.most)

    def reference(self, gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.minimum(np.maximum(g, -self.most), self.most) for name, g in gradients.items()}

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if trace.auditor:
            found = [gaps for gaps in trace.auditor.found if "clipped" in gaps]
            taken = [gaps for gaps in trace.auditor.found if not gaps.get("overflowed")]
            what = "audited steps whose gradients were held against their clipped values"
            yield Check(what, f"{len(taken)}", f"{len(found)}", len(found) >= len(taken))
