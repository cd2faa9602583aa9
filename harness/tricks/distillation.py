"""Knowledge distillation (He et al. 2019, section 5.3, Eq. 6; Hinton et al. 2015)."""

from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness.evidence import Check, Trace, Upstream, thinned
from harness.parts.models import RESNET152
from harness.spec import Model, Spec, Teacher, Trick, declares, stack
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.resnet_d import resnet_d

KEPT_IMAGES = 32  # of step 1, to ask again at the end
EXAM = 1024  # test images, to ask at the end


def distillation_loss(z: Tensor, r: Tensor, temperature: float) -> Tensor:
    """T²·ℓ(softmax(r/T), softmax(z/T)), ℓ the cross-entropy, for student and teacher logits N x K: the mean over N."""
    soft = (r.float() / temperature).softmax(1)
    return temperature**2 * nn.functional.cross_entropy(z.float() / temperature, soft)


class Distill(Teacher):
    """Adds the distillation loss, at weight 1, to that of the labels. Slot: `teacher`, neutral absent.

    The teacher is an inner run: trained first, once, with the images the student sees (mixed, where it mixes), in
    eval mode. Its pull is T² = 400 times a cross-entropy of nearly flat distributions, so its scale is not small.
    """

    temperature: float = Field(20, gt=0)

    def bind(self, inner: Upstream, passes: int) -> "BoundTeacher":
        return BoundTeacher(inner, self.temperature, passes)

    def reference(self, z: np.ndarray, r: np.ndarray) -> tuple[float, np.ndarray]:
        """T²·ℓ(softmax(r/T), softmax(z/T)) and its gradient, T·(softmax(z/T) - softmax(r/T)) / N."""
        t = self.temperature
        ours, theirs = (a / t - np.logaddexp.reduce(a / t, axis=1, keepdims=True) for a in (z, r))  # log softmax
        loss = -(np.exp(theirs) * ours).sum(1).mean()
        return float(t**2 * loss), t * (np.exp(ours) - np.exp(theirs)) / len(z)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        seen = len(trace.teachers)
        yield Check("teachers bound", "1", f"{seen}", seen == 1)
        for teacher in trace.teachers:
            yield from self.teacher_checks(spec, trace, teacher)

    def teacher_checks(self, spec: Spec, trace: Trace, teacher: "BoundTeacher") -> Iterable[Check]:
        training = sum(module.training for module in teacher.model.modules())
        learning = sum(p.requires_grad for p in teacher.model.parameters())
        due, wanted, found = len(trace.lr) * spec.passes * spec.gradients, self.spec.id, teacher.inner.id
        yield Check("specification of the teacher", wanted, found, found == wanted)
        yield Check("batches the teacher answered", f"{due}", f"{teacher.calls}", teacher.calls == due)
        yield Check("teacher's modules in training mode", "0", f"{training}", training == 0)
        yield Check("teacher's parameters that learn", "0", f"{learning}", learning == 0)
        if not teacher.calls:
            return
        with torch.inference_mode(), trace.runner.forward():
            again = teacher.model(teacher.first_images)
        answer = teacher.first_answers[0][: len(again)]
        off = float((again.float().cpu() - answer).abs().max() / answer.abs().max())
        yield Check("teacher's answer to the images of step 1, asked again: gap", "0", f"{off:.1g}", off < 1e-3)
        same = torch.equal(thinned(teacher.first_images), trace.images[0][-1][: len(teacher.first_images)])
        yield Check("images of step 1, teacher's and student's", "the same", "the same" if same else "others", same)
        right, recorded = examined(self.spec, trace, teacher)
        agree, of = int((right == recorded).sum()), len(right)
        least = of - max(1, of // 100)  # the student's precision may round an answer over
        what = f"of {of} test images, those the teacher answers as in its record: right, or wrong"
        yield Check(what, f"≥ {least}", f"{agree}, top-1 {100 * right.mean():.4g} %", agree >= least)


def examined(spec: Spec, trace: Trace, teacher: "BoundTeacher") -> tuple[np.ndarray, np.ndarray]:
    """Which of the first test images the teacher gets right, asked now; and which it did by its record."""
    device, right = next(teacher.model.parameters()).device, list[Tensor]()
    images = spec.evaluation.view(spec.data.load()) if spec.evaluation else spec.data.load()
    with closing(images.test(EXAM // 4, device)) as served, torch.inference_mode(), trace.runner.forward():
        for x, labels in islice(served, 4):
            z = images.answered(
                lambda view: teacher.model(view.contiguous(memory_format=torch.channels_last)).float(), x
            )
            right.append(z.topk(min(5, trace.classes), dim=1).indices[:, 0] == labels)  # as it was tested: ties too
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(teacher.inner.result["correct"]), dtype=np.uint8))
    answered = torch.cat(right).cpu().numpy()
    return answered, np.resize(bits, len(answered)).astype(bool)


class BoundTeacher:
    """A trained teacher's loss on (images N x C x H x W, student logits N x K)."""

    def __init__(self, inner: Upstream, temperature: float, passes: int) -> None:
        self.model = inner.model.eval().requires_grad_(False)
        self.inner, self.temperature, self.passes = inner, temperature, passes
        self.calls = 0
        self.first_answers: list[Tensor] = []  # to all images of step 1

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        with torch.inference_mode():
            r = self.model(x)
        loss = distillation_loss(z, r, self.temperature)
        if self.calls == 0:
            self.first_images = x[:KEPT_IMAGES].clone()
        if self.calls < self.passes:
            self.first_answers.append(r.float().cpu())
        self.calls += 1
        return loss

    def replayed(self) -> None:
        """It was asked once more, by a CUDA graph of what it does when it is called."""
        self.calls += 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: its evidence, since its weights are the store's."""
        seen = {"images": self.first_images, "answers": self.first_answers} if self.calls else {}
        return {"calls": self.calls, **seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]
        if self.calls:
            device = next(self.model.parameters()).device
            self.first_images = state["images"].to(device)
            self.first_answers = state["answers"]


@declares("teacher")
def distillation(
    spec: Spec,
    model: Model = RESNET152,
    temperature: float = 20,
    tricks: tuple[Trick, ...] = (resnet_d, cosine, label_smoothing),
) -> Spec:
    """distillation: a ResNet-152-D teacher at T = 20.

    The teacher is trained as the student is, in a deeper `model`, always with `tricks`, D, cosine and smoothing, and
    with mixup where the student has it: so this trick comes after mixup, and does not commute with what changes its
    teacher.

    Hurts: where the teacher is no better than the student, or sees images that are mixed otherwise.

    Cost: a teacher to train first, once for all seeds, and its forward at each step.
    """
    alone = spec.but(model=model, teacher=())
    teacher = stack(alone, tricks)
    return spec.having("teacher", Distill(spec=teacher, temperature=temperature))
