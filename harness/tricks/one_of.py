"""One of several mixers a batch, by chance (Wightman et al. 2021, "ResNet strikes back"; timm)."""

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.evidence import Check, Trace
from harness.spec import Mix, Spec, declares, referenced
from harness.tricks.cutmix import CutMix
from harness.tricks.mixup import Mixup


class OneOf(Mix):
    """One of `parts` mixes a batch, drawn anew for each. Slot: `mix`, neutral absent.

    `probabilities` has one a part; without them all are as likely. Where their sum is below 1 some batches stay as they
    are. The part draws from the stream of this one. Raises ValueError where they do not fit the parts.
    """

    parts: tuple[Mix, ...] = Field(min_length=1)
    probabilities: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "OneOf":
        if self.probabilities and len(self.probabilities) != len(self.parts):
            raise ValueError(f"OneOf has {len(self.parts)} parts and {len(self.probabilities)} probabilities")
        if any(p < 0 for p in self.probabilities) or sum(self.probabilities) > 1 + 1e-9:
            raise ValueError("OneOf's probabilities must be 0 or more, and no more than 1 together")
        return self

    def check(self, spec: Spec) -> None:
        for part in self.parts:
            part.check(spec)

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        ends = np.cumsum(self.probabilities or [1 / len(self.parts)] * len(self.parts))
        chosen = int(np.searchsorted(ends, rng.random(), side="right"))
        return self.parts[chosen](x, y, rng) if chosen < len(self.parts) else (x, y)

    def reference(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """By the reference of the part drawn; by itself where it has none."""
        part = self.drawn(rng)
        if part is None:
            return x, y
        if referenced(part):
            mixed: tuple[np.ndarray, np.ndarray] = part.reference(x, y, rng)
            return mixed
        images, targets = part(torch.from_numpy(x).float(), torch.from_numpy(y).float(), rng)
        return images.double().numpy(), targets.double().numpy()

    def drawn(self, rng: np.random.Generator) -> Mix | None:
        """For the references: the part whose stretch of [0, 1) the draw lies in, one after the other."""
        at = rng.random()
        for place, part in enumerate(self.parts):
            at -= self.probabilities[place] if self.probabilities else 1 / len(self.parts)
            if at < 0:
                return part
        return None

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        for place in (i for i, part in enumerate(spec.mix) if part == self):
            yield from self.checks(spec, trace, place)

    def checks(self, spec: Spec, trace: Trace, place: int) -> Iterable[Check]:
        """Of the first batches: that images and targets are as the part drawn leaves them."""
        targets, images = trace.through(place)
        gaps, drew = [0.0], dict.fromkeys(map(_told, (*self.parts, None)), 0)
        for i, (labels, before, after) in enumerate(targets):
            rng = trace.drew(spec, place, i)
            drew[_told(self.drawn(rng))] += 1
            kept = images[i : i + 1] or [
                (torch.zeros(len(labels), 1, *trace.size(i))[..., :: trace.every(i), :: trace.every(i)],) * 2
            ]
            for x, mixed in kept:
                every, (height, width) = trace.every(i), trace.size(i)
                whole = x.cpu().double().numpy().repeat(every, 2).repeat(every, 3)[..., :height, :width]
                due_x, due_y = self.reference(whole, before.cpu().double().numpy(), trace.drew(spec, place, i))
                off = np.abs(mixed.cpu().numpy() - due_x[..., ::every, ::every]).max() / max(1.0, np.abs(due_x).max())
                gaps += [float(off), float(np.abs(after.cpu().numpy() - due_y).max())]
        told = ", ".join(f"{name} {count}" for name, count in drew.items() if count)
        what = f"first {len(targets)} batches, by the part drawn ({told}): gap of images and targets"
        yield Check(what, "0", f"{max(gaps):.1g}", max(gaps) < 1e-4)


def _told(part: Mix | None) -> str:
    return type(part).__name__ if part else "none"


@declares("mix")
def one_of(
    spec: Spec, parts: tuple[Mix, ...] = (Mixup(alpha=0.2), CutMix(alpha=1.0)), probabilities: tuple[float, ...] = ()
) -> Spec:
    """mixup or CutMix: one of the two a batch, by chance.

    It takes the place of such mixers as are there already, so it goes alone, or after them in a ladder.

    Hurts: small networks and short runs, which underfit.

    Cost: next to nothing; epochs stay as they are, where `mixup` alone adds two thirds.
    """
    kinds = tuple(map(type, parts))
    others = tuple(part for part in spec.mix if not isinstance(part, kinds))
    return spec.but(mix=others).having("mix", OneOf(parts=parts, probabilities=probabilities))
