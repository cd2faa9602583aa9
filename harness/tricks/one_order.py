"""One order for all epochs (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds", its study of reshuffling)."""

from collections.abc import Iterable

import numpy as np
import torch

from harness.evidence import Check, Trace, ordered
from harness.spec import Sampler, Spec, declares


class OneOrder(Sampler):
    """Images are shuffled once, and come in that order in every epoch. Slot: `sampler`, neutral absent.

    Batches have the same images each time. Those of the last batch, if it is not full, are never trained on.
    """

    anew = False

    def order(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(len(labels))

    def reference(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The places 0 to N - 1, shuffled in place."""
        places = np.arange(len(labels))
        rng.shuffle(places)
        return places

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        labels = np.asarray(spec.data.load().labels("train"))
        first = self.reference(labels, trace.rng("order", 0))
        others = sum(not np.array_equal(ordered(spec, labels, trace.rng, e), first) for e in range(1, spec.epochs))
        yield Check("epochs of another order than the first", "0", f"{others}", others == 0)
        steps = trace.steps_per_epoch
        later = [(fed[0], trace.fed[i % steps][0]) for i, fed in enumerate(trace.fed) if i >= steps]
        off = sum(not torch.equal(batch, before) for batch, before in later)
        what = f"batches with other labels than at their place in the first epoch, of the {len(later)} kept"
        yield Check(what, "0", f"{off}", off == 0)


@declares("sampler")
def one_order(spec: Spec) -> Spec:
    """no reshuffling: one order of the images for all epochs.

    It is rather the default, shuffling anew, that is a trick: this takes it away, to tell what it is worth.

    Hurts: nearly always: on CIFAR-10, half a point of 94.

    Cost: none.
    """
    return spec.alone("sampler", OneOrder())
