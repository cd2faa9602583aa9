"""A box of another image, pasted (Yun et al. 2019), as a user writes it after the README: no trick that is shipped."""

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.evidence import Check, Trace
from harness.spec import Mix, Spec, declares

Box = tuple[slice, slice]


def boxmix_batch(x: Tensor, y: Tensor, box: Box, perm: Tensor) -> tuple[Tensor, Tensor]:
    """The box of each image is its partner's, and as much of its target: x N x C x H x W, y N x K, `perm` of N."""
    mixed = x.clone()
    mixed[:, :, *box] = x[perm][:, :, *box]
    return mixed, torch.lerp(y, y[perm], x[0, 0][box].numel() / x[0, 0].numel())


def drawn(rng: np.random.Generator, alpha: float, images: int, height: int, width: int) -> tuple[Box, np.ndarray]:
    """A box of 1 - λ of the area, λ ~ Beta(α, α), cut off at the border, and each image's partner."""
    side = np.sqrt(1 - rng.beta(alpha, alpha))
    middle, half = rng.random(2) * (height, width), side * np.array([height, width]) / 2
    (top, left), (bottom, right) = np.rint(middle - half).clip(0), np.rint(middle + half)
    return (slice(int(top), int(bottom)), slice(int(left), int(right))), rng.permutation(images)


class BoxMix(Mix):
    """One box a batch; partners by a random permutation. Slot: `mix`."""

    alpha: float = Field(1.0, gt=0)

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        box, perm = drawn(rng, self.alpha, len(x), *x.shape[-2:])
        return boxmix_batch(x, y, box, torch.from_numpy(perm).to(x.device))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        size, gaps = spec.data.load().size, []
        place = spec.mix.index(self)
        targets, images = trace.through(place)
        for i, ((labels, y, fed_y), (x, fed_x)) in enumerate(zip(targets, images, strict=False)):
            rng = trace.drew(spec, place, i)
            box, perm = drawn(rng, self.alpha, len(labels), size, size)
            inside = torch.zeros(size, size, dtype=torch.bool)
            inside[box] = True
            kept = inside[:: size // x.shape[-1], :: size // x.shape[-1]]  # large images are kept by every nth pixel
            due_x = torch.where(kept, x[perm], x)
            due_y = torch.lerp(y, y[perm], float(inside.float().mean()))
            gaps.append(max(float((fed_x - due_x).abs().max()), float((fed_y - due_y).abs().max())))
        off = max(gaps)
        yield Check(f"first {len(gaps)} batches: gap from boxes and targets drawn anew", "0", f"{off:.1g}", off < 1e-4)


@declares("mix")
def boxmix(spec: Spec, alpha: float = 1.0) -> Spec:
    """box mix: a box of another image, and its share of the target."""
    return spec.having("mix", BoxMix(alpha=alpha))
