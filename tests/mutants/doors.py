"""Parts of slots that are empty as a rule: loss, average, clip, sampler, evaluation, rates; and several mixers."""

from functools import partial

import numpy as np
import torch
from torch import nn

from harness.parts import averaging
from harness.parts.averaging import Averaging
from harness.parts.data import Cached
from harness.parts.data.images import Schedule
from harness.parts.precision import Runner
from harness.tricks.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from harness.tricks.class_balanced import ClassBalanced, class_balanced
from harness.tricks.clip_norm import ClipNorm, clip_norm
from harness.tricks.ema import EMA, ema
from harness.tricks.evaluation_size import EvaluationSize, evaluation_size
from harness.tricks.fp16 import HalfRunner, fp16
from harness.tricks.mixup import Mixup
from harness.tricks.norm_bias_rate import norm_bias_rate
from harness.tricks.rates_by_group import GroupRates, rates_by_group
from tests.mutants.breaking import LONG, Broken, Inject, edited, method, text

BINARY, CLIPPED, BALANCED = binary_cross_entropy(LONG), clip_norm(LONG, most=0.5), class_balanced(LONG)
SPARSE = ema(LONG, decay=0.9, every=3)
WARMED, COPIED = ema(LONG, decay=0.9, warmup=True), ema(LONG, decay=0.9, buffers="copied")
BETAS = norm_bias_rate(LONG)
AVERAGED, SIZED, GROUPED = ema(LONG, decay=0.9), evaluation_size(LONG), rates_by_group(LONG)
HALF = fp16(CLIPPED)
TWICE = LONG.but(mix=(Mixup(alpha=1.0), Mixup(alpha=0.2)))
UPDATE, TESTED = "average.update(step, steps, spec.epochs)", "scores = test(spec, run, *asked)"
ORDER = "self.images.order(self._epoch, self.batch_size, self.rng)"
FIRST_ALONE = '(self.images if self._epoch == 0 else __import__("dataclasses").replace(self.images, sampler=None))'
CLIP = "clip(list(run.model.parameters()))"
LATER = "if run.epoch == 0 or run.batch % 3 else 0"
SUM = partial(nn.functional.binary_cross_entropy_with_logits, reduction="sum")


def ordered(other: str) -> Inject:
    """The order of an epoch, drawn otherwise."""
    return edited(Schedule, "__getitem__", ORDER, other)


BROKEN: Broken = {
    "binary_cross_entropy": [
        (
            "does nothing",
            BINARY,
            method(BinaryCrossEntropy, "__call__", lambda self, z, y: nn.functional.cross_entropy(z, y)),
        ),
        ("the sum over classes", BINARY, method(BinaryCrossEntropy, "__call__", lambda self, z, y: SUM(z, y) / len(z))),
        (
            "targets above a half taken for 1",
            BINARY.but(targets=()),
            method(BinaryCrossEntropy, "__call__", lambda self, z, y: SUM(z, (y > 0.5) * 1.01) / z.numel()),
        ),
        (
            "the true class weighted twice",
            BINARY,
            method(
                BinaryCrossEntropy,
                "__call__",
                lambda self, z, y: SUM(z, y, pos_weight=torch.full((10,), 2.0)) / z.numel(),
            ),
        ),
        (
            "cross-entropy at every third step, later",
            BINARY,
            text(
                "criterion(z.float(), y)",
                f"(criterion(z.float(), y) {LATER} + nn.functional.cross_entropy(z.float(), y))",
            ),
        ),
    ],
    "ema": [
        ("does nothing", AVERAGED, text(UPDATE, "None")),
        ("of share d, not 1 - d", AVERAGED, method(EMA, "share", lambda self, step, *of: self.decay)),
        ("warmed up", AVERAGED, method(EMA, "share", lambda self, step, *of: max(1 - self.decay, 1 / (step + 2)))),
        ("not warmed up", WARMED, method(EMA, "share", lambda self, step, *of: 1 - self.decay)),
        (
            "warmed up a step ahead",
            WARMED,
            edited(EMA, "share", "before = step // every", "before = step // every + 1"),
        ),
        ("warmed up by the square root", WARMED, edited(EMA, "share", "(10 + before)", "(10 + before**0.5)")),
        (
            "buffers averaged, which are to be copied",
            COPIED,
            edited(Averaging, "update", "if self.part.copies_buffers", "if False"),
        ),
        (
            "all copied, not the buffers alone",
            COPIED,
            edited(Averaging, "update", "self.model.named_buffers()", "self.model.named_parameters()"),
        ),
        ("at every step", SPARSE, method(EMA, "share", lambda self, step, *of: 1 - self.decay)),
        ("not updated at every third step, later", AVERAGED, text(UPDATE, f"({UPDATE}) {LATER}")),
        (
            "begins anew each epoch",
            AVERAGED,
            text(
                UPDATE,
                f"{UPDATE}; run.batch or [average.tensors[n].copy_(t) for n, t in floating(run.model).items()]",
                floating=averaging.floating,
            ),
        ),
        (
            "buffers left out",
            AVERAGED,
            edited(
                averaging, "floating", "(*model.named_parameters(), *model.named_buffers())", "model.named_parameters()"
            ),
        ),
        (
            "the weights are tested",
            AVERAGED,
            edited(
                Averaging,
                "on",
                '"""\n    self.exchange()',
                '"""',
                "self._set(own)\n        self.exchange()",
                "pass",
            ),
        ),
        ("the weights are kept", AVERAGED, text("average.keep()", "pass")),
        (
            "trained on from the average",
            AVERAGED,
            text(
                UPDATE,
                f"{UPDATE}; run.model.fc.weight.data.copy_(average.tensors['fc.weight'])",
            ),
        ),
        (
            "the head's average its weights",
            AVERAGED,
            text(UPDATE, f"{UPDATE}; average.tensors['fc.weight'].copy_(run.model.fc.weight.detach())"),
        ),
    ],
    "clip_norm": [
        ("does nothing", CLIPPED, method(ClipNorm, "__call__", lambda self, parameters: None)),
        (
            "each parameter by itself",
            CLIPPED,
            method(
                ClipNorm,
                "__call__",
                lambda self, parameters: [nn.utils.clip_grad_norm_([p], self.most) for p in parameters],
            ),
        ),
        (
            "by value",
            CLIPPED,
            method(ClipNorm, "__call__", lambda self, parameters: nn.utils.clip_grad_value_(parameters, self.most)),
        ),
        (
            "by the greatest number",
            CLIPPED,
            method(
                ClipNorm,
                "__call__",
                lambda self, parameters: nn.utils.clip_grad_norm_(parameters, self.most, norm_type=np.inf),
            ),
        ),
        (
            "twice as long as it may be",
            CLIPPED,
            method(ClipNorm, "__call__", lambda self, parameters: nn.utils.clip_grad_norm_(parameters, 2 * self.most)),
        ),
        ("biases left out", CLIPPED, text(CLIP, "clip([p for p in run.model.parameters() if p.ndim > 1])")),
        ("not at every third step, later", CLIPPED, text(CLIP, f"({CLIP}) {LATER}")),
        ("with the loss scale in them", HALF, method(HalfRunner, "unscale", Runner.unscale)),
    ],
    "class_balanced": [
        (
            "does nothing",
            BALANCED,
            method(ClassBalanced, "order", lambda self, labels, rng: rng.permutation(len(labels))),
        ),
        (
            "with replacement",
            BALANCED,
            method(ClassBalanced, "order", lambda self, labels, rng: rng.integers(0, len(labels), len(labels))),
        ),
        (
            "class by class",
            BALANCED,
            edited(ClassBalanced, "order", "rng.permutation(np.concatenate(chosen))", "np.concatenate(chosen)"),
        ),
        (
            "the first images of each class",
            BALANCED,
            edited(
                ClassBalanced,
                "order",
                "rng.permutation(np.flatnonzero(labels == kind))",
                "np.flatnonzero(labels == kind)",
            ),
        ),
        (
            "the last class left out",
            BALANCED,
            edited(ClassBalanced, "order", "np.unique(labels)", "np.unique(labels)[:-1]"),
        ),
        (
            "off after the first epoch",
            BALANCED,
            ordered(ORDER.replace("self.images", FIRST_ALONE)),
        ),
    ],
    "evaluation_size": [
        ("does nothing", SIZED, method(EvaluationSize, "view", lambda self, images: images)),
        (
            "a pixel larger",
            SIZED,
            method(EvaluationSize, "view", lambda self, images: images.resized(self.side(images) + 1)),
        ),
        (
            "the nearest pixel",
            SIZED,
            edited(Cached, "test", "scaled(x.float(), self.shown)", "nn.functional.interpolate(x.float(), self.shown)"),
        ),
        (
            "by its corners",
            SIZED,
            edited(
                Cached,
                "test",
                "scaled(x.float(), self.shown)",
                "nn.functional.interpolate(x.float(), self.shown, mode='bilinear', align_corners=True)",
            ),
        ),
        (
            "a frame of 0 around",
            SIZED,
            edited(Cached, "test", "scaled(x.float(), self.shown)", "nn.functional.pad(x.float(), (0, 1, 0, 1))"),
        ),
    ],
    "norm_bias_rate": [
        ("does nothing", BETAS, method(GroupRates, "factor", lambda self, name, layer: 1.0)),
        ("γ too", BETAS, edited(GroupRates, "factor", 'self.betas and name.endswith("bias")', "self.betas")),
        (
            "of every bias",
            BETAS,
            method(GroupRates, "factor", lambda self, name, layer: self.betas if name.endswith("bias") else 1.0),
        ),
        ("the root", BETAS, edited(GroupRates, "factor", "return self.betas if", "return self.betas**0.5 if")),
    ],
    "rates_by_group": [
        ("does nothing", GROUPED, method(GroupRates, "factor", lambda self, name, layer: 1.0)),
        (
            "γ and β too",
            GROUPED,
            method(GroupRates, "factor", lambda self, name, layer: self.biases if name.endswith("bias") else 1.0),
        ),
        ("the square", GROUPED, edited(GroupRates, "factor", "return self.biases", "return self.biases**2")),
        (
            "in the first epoch alone",
            GROUPED,
            text(
                "set_rate(run.optimizer, peak",
                "[g.update(factor=1.0) for g in run.optimizer.param_groups if run.epoch]; set_rate(run.optimizer, peak",
            ),
        ),
        (
            "by its gradient, which is doubled again",
            GROUPED,
            text("run.trace.saw_gradient()", "run.model.fc.bias.grad.mul_(2); run.trace.saw_gradient()"),
        ),
    ],
    "several mixers": [
        (
            "the second does nothing",
            TWICE,
            edited(Mixup, "__call__", "return mixup_batch", "return (x, y) if self.alpha < 1 else mixup_batch"),
        ),
        (
            "the first does nothing",
            TWICE,
            edited(Mixup, "__call__", "return mixup_batch", "return (x, y) if self.alpha == 1 else mixup_batch"),
        ),
        (
            "the second mixes images alone",
            TWICE,
            edited(
                Mixup,
                "__call__",
                "return mixup_batch(x, y, *drawn(self, x, rng))",
                "mixed = mixup_batch(x, y, *drawn(self, x, rng)); return mixed if self.alpha == 1 else (mixed[0], y)",
            ),
        ),
        ("in the other order", TWICE, text("_: spec.mix,", "_: spec.mix[::-1],")),
    ],
}


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "later" in name or "epoch" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in BROKEN.items()} for each in "0AB"
}
