"""Class-balanced sampling: every class comes as often as any other (Kang et al. 2020, section 4.1)."""

from collections.abc import Iterable

import numpy as np
import torch

from harness.evidence import Check, Trace
from harness.spec import Sampler, Spec, declares


class ClassBalanced(Sampler):
    """An epoch has as many images as before, and as many of each class, to within one. Slot: `sampler`, neutral absent.

    Images of a rare class come several times an epoch, each as often as the others of it, to within once; of a frequent
    class some do not come. Which, and the order, are drawn anew each epoch. Kang et al. draw a class and then an image
    of it, with replacement: the same shares, with more chance in them.
    """

    def check(self, spec: Spec) -> None:
        if spec.data.truth != "class":
            raise ValueError(
                "ClassBalanced goes by the one class of an image, and images with boxes or masks have none"
            )

    def order(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, kinds = len(labels), np.unique(labels)
        ranks = rng.permutation(len(kinds))  # which classes have one more, where N is no multiple
        chosen = []
        for rank, kind in zip(ranks, kinds, strict=True):
            due = n // len(kinds) + int(rank < n % len(kinds))
            own = rng.permutation(np.flatnonzero(labels == kind))
            chosen.append(np.resize(own, due))
        return rng.permutation(np.concatenate(chosen))

    def reference(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The same draws, an image at a time: each class goes through its images in an order drawn, again and again."""
        by_class: dict[int, list[int]] = {}
        for place, label in enumerate(labels.tolist()):
            by_class.setdefault(label, []).append(place)
        turn = rng.permutation(len(by_class)).tolist()
        every, more = divmod(len(labels), len(by_class))
        taken: list[int] = []
        for number, label in enumerate(sorted(by_class)):
            own = [by_class[label][i] for i in rng.permutation(len(by_class[label]))]
            taken += [own[i % len(own)] for i in range(every + (turn[number] < more))]
        return np.array([taken[i] for i in rng.permutation(len(taken))])

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        labels = np.asarray(spec.data.load().labels("train"))
        due = labels[self.reference(labels, trace.rng("order", 0))]
        served = torch.cat([batch for batch, *_ in trace.fed[: trace.steps_per_epoch]]).cpu().numpy()
        other = int((served != due[: len(served)]).sum())
        yield Check(f"of the first {len(served)} labels, those of other images than drawn", "0", f"{other}", other == 0)
        made = np.bincount(labels[self.order(labels, trace.rng("order", 0))], minlength=trace.classes)
        uneven = int(made.max() - made.min())
        yield Check("images of one class more than of another, in an epoch", "≤ 1", f"{uneven}", uneven <= 1)


@declares("sampler")
def class_balanced(spec: Spec) -> Spec:
    """class-balanced sampling: every class comes as often as any other.

    Hurts: where test images are as unbalanced as training images: accuracy on frequent classes falls.

    Cost: none; images of rare classes are seen more often, and others less.
    """
    return spec.alone("sampler", ClassBalanced())
