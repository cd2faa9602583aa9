"""CutMix (Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features")."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.evidence import Check, Trace
from harness.parts.draws import drawn
from harness.spec import Draws, Mix, Spec, declares

Box = tuple[int, int, int, int]  # top, left, bottom, right, in px; the last two are outside


def cutmix_batch(x: Tensor, y: Tensor, box: Box, perm: Tensor) -> tuple[Tensor, Tensor]:
    """The box of each image is its partner's, and as much of its target: x N x C x H x W, y N x K, `perm` of N."""
    top, left, bottom, right = box
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[perm, :, top:bottom, left:right]
    pasted = (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
    return mixed, torch.lerp(y, y[perm], pasted)


class CutMix(Mix):
    """One box a batch, of 1 - λ of the area, λ ~ Beta(α, α), and cut off at the border. Slot: `mix`, neutral absent.

    Partners come by a random permutation. The partner's share of the target is that of the pixels that were pasted,
    which at the border is less than 1 - λ.
    """

    alpha: float = Field(1.0, gt=0)

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        half = 0.5 * math.sqrt(1 - rng.beta(self.alpha, self.alpha))
        column, row = int(rng.integers(width)), int(rng.integers(height))
        down, across = int(half * height), int(half * width)
        box = max(row - down, 0), max(column - across, 0), min(row + down, height), min(column + across, width)
        return box, rng.permutation(n)

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return cutmix_batch(x, y, *drawn(self, x, rng))

    def reference(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """M⊙x + (1 - M)⊙partner, and the mean of M for λ (Eq. 1): the mask by the distance of a pixel to the centre."""
        inside, partners = self.drawn(len(x), x.shape[2], x.shape[3], rng)
        kept = 1 - inside.mean()
        images = [np.where(inside, x[j], x[i]) for i, j in enumerate(partners)]
        targets = [kept * y[i] + (1 - kept) * y[j] for i, j in enumerate(partners)]
        return np.stack(images), np.stack(targets)

    def drawn(self, n: int, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """For the references: which pixels are pasted, H x W, and the partner of each of `n` images."""
        side = np.sqrt(1 - rng.beta(self.alpha, self.alpha))
        middle = rng.integers(width), rng.integers(height)
        columns, rows = (
            (np.arange(edge) >= at - math.floor(side * edge / 2)) & (np.arange(edge) < at + math.floor(side * edge / 2))
            for at, edge in zip(middle, (width, height), strict=True)
        )
        return np.outer(rows, columns), rng.permutation(n)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        for place in (i for i, part in enumerate(spec.mix) if part == self):
            yield from self.checks(spec, trace, place)

    def checks(self, spec: Spec, trace: Trace, place: int) -> Iterable[Check]:
        """Of the first batches: whose pixels are where, and whose share of the targets is how large."""
        targets, images = trace.through(place)
        strange, off, due, seen = 0, 0.0, 0, 0
        for i, (labels, before, after) in enumerate(targets):
            height, width = trace.size(i)
            inside, perm = self.drawn(len(labels), height, width, trace.drew(spec, place, i))
            partner = torch.from_numpy(perm).to(before.device)
            share = float(inside.mean())
            off = max(off, float((after - (1 - share) * before - share * before[partner]).abs().max()))
            due += share > 0 and not torch.equal(before, before[partner])
            seen += not torch.equal(before, after)
            for x, mixed in images[i : i + 1]:
                mask = torch.from_numpy(inside[:: trace.every(i), :: trace.every(i)]).to(x.device)
                strange += int((mixed != torch.where(mask, x[partner], x)).sum())
        yield Check(
            "pixels that are neither the partner's in the box nor their own beside it", "0", f"{strange}", not strange
        )
        yield Check("gap of the targets' shares from the area pasted", "0", f"{off:.1g}", off < 1e-5)
        yield Check(f"batches whose targets are mixed, of {len(targets)}", f"{due}", f"{seen}", due == seen)


@declares("mix")
def cutmix(spec: Spec, alpha: float = 1.0) -> Spec:
    """CutMix: a box of another image, and its share of the target.

    Beside mixup both are done to each batch, in the order of the tricks; `harness.tricks.one_of` draws one of the two.

    Hurts: small networks and short runs, which underfit; images whose class is told by a small part of them.

    Cost: next to nothing; published gains are of long runs, of 300 epochs on CIFAR and ImageNet.
    """
    return spec.having("mix", CutMix(alpha=alpha))
