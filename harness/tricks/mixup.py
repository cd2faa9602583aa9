"""Mixup (He et al. 2019, section 5.4; Zhang et al. 2018)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.evidence import Check, Trace
from harness.parts.draws import drawn
from harness.spec import Draws, Mix, Spec, declares


def mixup_batch(x: Tensor, y: Tensor, lam: float, perm: Tensor) -> tuple[Tensor, Tensor]:
    """λ of each example and 1 - λ of its partner: images N x C x H x W, targets N x K, `perm` of N."""
    return torch.lerp(x[perm], x, lam), torch.lerp(y[perm], y, lam)


class Mixup(Mix):
    """One λ ~ Beta(α, α) a batch, as the paper's code draws it; partners by a random permutation. Slot: `mix`."""

    alpha: float = Field(0.2, gt=0)

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        return float(rng.beta(self.alpha, self.alpha)), rng.permutation(n)

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return mixup_batch(x, y, *drawn(self, x, rng))

    def reference(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Each image by itself: λ of it and 1 - λ of its partner (Zhang et al. 2018, Eq. 1)."""
        share, partners = rng.beta(self.alpha, self.alpha), rng.permutation(len(x))
        images, targets = np.empty_like(x), np.empty_like(y)
        for i, j in enumerate(partners):
            images[i] = share * x[i] + (1 - share) * x[j]
            targets[i] = share * y[i] + (1 - share) * y[j]
        return images, targets

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        for place in (i for i, part in enumerate(spec.mix) if part == self and i):
            yield self.check_of_mixed(spec, trace, place)  # what comes is mixed already, and tells no λ
        if spec.mix[0] != self:
            return
        seen, draws, place = [], [], 0
        targets, images = trace.through(place)
        for i, (labels, before, after) in enumerate(targets):
            rng = trace.drew(spec, place, i)
            lam, partners = rng.beta(self.alpha, self.alpha), rng.permutation(len(labels))
            if bool((labels[torch.from_numpy(partners)] != labels).any()):  # else mixing leaves the targets as they are
                seen.append(drawn_lambda(labels, before, after))
                draws.append(lam)
        off = max((abs(a - b) for a, b in zip(seen, draws, strict=True)), default=0.0)
        found = f"{off:.1g}, λ from {min(seen, default=1):.3f} to {max(seen, default=1):.3f}"
        yield Check("gap of the targets' λ from Beta(α, α)'s draws", "0", found, off < 1e-4)
        wanted, found = (f"{inside(shares, 0.05)} and {inside(shares, 1e-3)}" for shares in (draws, seen))
        what = f"batches with λ in (0.05, 0.95), and in (0.001, 0.999), of {len(seen)} that show it"
        yield Check(what, wanted, found, wanted == found)
        off = max(image_gap(*fed, *pair) for fed, pair in zip(targets, images, strict=False))  # type: ignore[call-arg]
        yield Check("images less λ of their own: gap from (1 - λ) of the targets' other", "0", f"{off:.1g}", off < 1e-4)

    def check_of_mixed(self, spec: Spec, trace: Trace, place: int) -> Check:
        """How far images and targets are from λ of what came, and 1 - λ of the partner drawn."""
        targets, images = trace.through(place)
        off = 0.0
        for i, (_, before, after) in enumerate(targets):
            rng = trace.drew(spec, place, i)
            lam, partners = rng.beta(self.alpha, self.alpha), rng.permutation(len(before))
            pairs: list[Any] = [(before, after), *images[i : i + 1]]
            for x, mixed in pairs:
                due = lam * x + (1 - lam) * x[torch.from_numpy(partners).to(x.device)]
                off = max(off, float((mixed - due).abs().max() / due.abs().max()))
        return Check("images and targets, from λ of what was mixed before: gap", "0", f"{off:.1g}", off < 1e-4)


def inside(shares: list[float], margin: float) -> int:
    return sum(margin < share < 1 - margin for share in shares)


def drawn_lambda(labels: Tensor, before: Tensor, after: Tensor) -> float:
    """The λ that took targets `before` to `after`: the share left to the true class, where the partner's differs."""
    high, low = before.max(), before.min()
    if high == low:
        return 1.0  # nothing to see: all classes alike
    share = (after.gather(1, labels[:, None]) - low) / (high - low)
    return float(share.min().clamp(0, 1))


def image_gap(labels: Tensor, y: Tensor, mixed_y: Tensor, x: Tensor, mixed_x: Tensor) -> float:
    """How far the images are from where the targets' λ puts them: λ of their own and 1 - λ of another of the batch.

    Of the images whose targets moved, up to 16; relative to the norm of each.
    """
    moved = ((mixed_y - y).abs().amax(1) > 1e-6).nonzero()[:16, 0]
    if len(moved) == 0:
        return 0.0
    lam = drawn_lambda(labels, y, mixed_y)
    own, mixed = x.flatten(1).double(), mixed_x.flatten(1).double()
    gap = torch.cdist(mixed[moved] - lam * own[moved], (1 - lam) * own)
    gap[torch.arange(len(moved)), moved] = torch.inf  # a partner is another image: else none mixed would pass
    other = torch.cdist((mixed_y[moved] - lam * y[moved]).double(), (1 - lam) * y.double())
    gap[other > 1e-3 * max(1e-3, 1 - lam)] = torch.inf  # and of the class that the targets say
    return float((gap.amin(1) / own[moved].norm(dim=1)).max())


@declares("mix", "epochs")
def mixup(spec: Spec, alpha: float = 0.2, epochs: float = 200 / 120) -> Spec:
    """mixup: λ ~ Beta(0.2, 0.2) of two images and of their targets.

    It also trains longer, as the paper does: 200 epochs for every 120. `epochs=1` leaves the length alone.

    Hurts: small networks and short runs, which underfit.

    Cost: two thirds more epochs; the mixing itself takes next to nothing.
    """
    already = any(isinstance(part, Mixup) for part in spec.mix)
    longer = spec if already else spec.but(epochs=round(spec.epochs * epochs))
    return longer.having("mix", Mixup(alpha=alpha))
