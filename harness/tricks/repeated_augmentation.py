"""Repeated augmentation (Hoffer et al. 2020, "Augment Your Batch"; Berman et al. 2019; as DeiT and timm sample it)."""

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Sampler, Spec, declares


class Repeated(Sampler):
    """Each image `repeats` times in a row, augmented anew each time. Slot: `sampler`, neutral absent.

    An epoch is as long as before, so it has one image in `repeats`, drawn anew each time. This is the order of timm's
    RepeatAugSampler, where all GPUs together share a batch.
    """

    repeats: int = Field(3, ge=2)

    def order(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(rng.permutation(len(labels)), self.repeats)[: len(labels)]

    def reference(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image at a place of the epoch, by its number: one after the other, each until it was there often."""
        drawn = rng.permutation(len(labels)).tolist()
        return np.array([drawn[place // self.repeats] for place in range(len(labels))])

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        labels = np.asarray(spec.data.load().labels("train"))
        due_of = labels[self.reference(labels, trace.rng("order", 0))]
        served = torch.cat([batch for batch, *_ in trace.fed[: trace.steps_per_epoch]]).cpu().numpy()
        off = int((served != due_of[: len(served)]).sum())
        yield Check(f"of the first {len(served)} labels, those of other images than drawn", "0", f"{off}", off == 0)
        times = np.bincount(self.order(labels, trace.rng("order", 0)), minlength=len(labels))
        due, seen = -(-len(labels) // self.repeats), int((times > 0).sum())
        yield Check(f"images of {len(labels):,} that the first epoch has", f"{due:,}", f"{seen:,}", seen == due)
        yield Check("times that it has one, at most", f"{self.repeats}", f"{times.max()}", times.max() == self.repeats)


@declares("sampler")
def repeated_augmentation(spec: Spec, repeats: int = 3) -> Spec:
    """repeated augmentation: each image three times a batch, each time augmented anew.

    Hurts: short runs, and weak augmentation: an epoch shows a third of the images, and the copies of one tell less than
    other images would.

    Cost: none; an epoch has as many steps as before.
    """
    return spec.alone("sampler", Repeated(repeats=repeats))
