"""What today's recipes have: orders of images, averages of weights, sizes by epoch, views of test images."""

import numpy as np
from torch import nn

from harness import train as loop
from harness.parts.averaging import Averaging
from harness.parts.clipping import ClipValue
from harness.parts.data.images import Images
from harness.parts.views import Views
from harness.tricks.adaptive_clipping import AdaptiveClip, adaptive_clipping
from harness.tricks.alternating_flip import AlternatingFlip, alternating_flip
from harness.tricks.auto_augment import AutoAugment, auto_augment
from harness.tricks.clip_value import clip_value
from harness.tricks.lookahead import Lookahead, lookahead
from harness.tricks.one_order import OneOrder, one_order
from harness.tricks.progressive_resizing import Progressive, progressive_resizing
from harness.tricks.repeated_augmentation import Repeated, repeated_augmentation
from harness.tricks.swa import SWA, swa
from harness.tricks.tta import tta
from tests.mutants.breaking import LONG, Broken, Inject, augmenting_when, edited, method, shared, text
from tests.mutants.doors import CLIP, FIRST_ALONE, LATER, ORDER, ordered
from tests.mutants.mixed import operation

REPEATED, ONCE = repeated_augmentation(LONG), one_order(LONG)
TURNING = alternating_flip(LONG)
MEAN, SLOW = swa(LONG, last=3), lookahead(LONG, every=2, alpha=0.3)
UPDATE, BACK = "average.update(step, steps, spec.epochs)", "average.hand_back()"
RENEW = "renew(spec, run, images, rng)\n            scores"
GROWING = progressive_resizing(LONG.but(epochs=5))
VIEWS, MIRRORED, RIGHT = tta(LONG.but(epochs=3), shift=1), tta(LONG.but(epochs=3)), Views.views
ADAPTED, VALUED = adaptive_clipping(LONG), clip_value(LONG, most=0.01)
LEARNED, INVERTED = auto_augment(LONG), auto_augment(LONG, learned="svhn")
RESIZE = "        for resize in spec.resolution:\n            x = resize(x, run.epoch, spec.epochs)\n        y ="
COINS = 'streams("augment", "AlternatingFlip").random(int(places.max()) + 1)'


def shuffled(self: object, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(labels))


def resizing(new: str) -> Inject:
    return text(RESIZE, RESIZE.replace("x = resize(x, run.epoch, spec.epochs)", new))


BROKEN: Broken = {
    "repeated_augmentation": [
        ("does nothing", REPEATED, method(Repeated, "order", shuffled)),
        ("twice each", REPEATED, edited(Repeated, "order", "self.repeats", "2")),
        ("one epoch in three", REPEATED, edited(Repeated, "order", "np.repeat(", "np.tile(")),
        (
            "copies in different batches",
            REPEATED,
            edited(Repeated, "order", "return np", "return rng.permutation(np", "[: len(labels)]", "[: len(labels)])"),
        ),
        ("the same images each epoch", REPEATED, edited(Images, "order", "self.sampler.anew", "not self.sampler.anew")),
        (
            "off after the first epoch",
            REPEATED,
            ordered(ORDER.replace("self.images", FIRST_ALONE)),
        ),
    ],
    "one_order": [
        ("does nothing", ONCE, edited(Images, "order", "self.sampler.anew", "True")),
        ("it says that it shuffles anew", ONCE, method(OneOrder, "anew", True)),
        ("as the images are stored", ONCE, method(OneOrder, "order", lambda self, labels, rng: np.arange(len(labels)))),
        (
            "batches in another order, later",
            ONCE,
            ordered(f"{ORDER}[:: 1 - 2 * (self._epoch > 2)]"),
        ),
        ("that of the second epoch", ONCE, edited(Images, "order", 'rng("order", 0)', 'rng("order", 1)')),
    ],
    "swa": [
        ("does nothing", MEAN, text(UPDATE, "None")),
        ("of the last epoch alone", MEAN, edited(SWA, "share", "epoch - self.first(epochs)", "0")),
        (
            "of one epoch more",
            MEAN,
            edited(SWA, "share", "epoch - self.first(epochs)", "1 + epoch - self.first(epochs)"),
        ),
        ("at each step", MEAN, edited(SWA, "share", "place < steps_per_epoch - 1", "False")),
        ("statistics averaged", MEAN, text(RENEW, "scores")),
        (
            "statistics of the weights before",
            MEAN,
            text(
                "with run.averaged():\n            if due:\n                renew(spec, run, images, rng)",
                "renew(spec, run, images, rng)\n        with run.averaged():",
            ),
        ),
        ("statistics of images as they are stored", MEAN, edited(loop, "renew", "spec.augment", "()")),
        (
            "statistics of the first epoch's images",
            MEAN,
            edited(loop, "renew", "images.train(run.epoch", "images.train(0"),
        ),
        ("statistics of a batch less", MEAN, edited(loop, "renew", "islice(served, batches)", "islice(served, 5)")),
        (
            "the last batch counts a tenth",
            MEAN,
            edited(Averaging, "renew", "norm.momentum = None", "norm.momentum = 0.1"),
        ),
        ("statistics in evaluation mode", MEAN, edited(Averaging, "renew", "self.model.train()", "self.model.eval()")),
        ("the average's own statistics are kept", MEAN, edited(Averaging, "keep", "self._set(self.renewed)", "pass")),
        ("renewed statistics go into the next average", MEAN, edited(Averaging, "on", "self._set(own)", "pass")),
        (
            "a weight moves while statistics are renewed",
            MEAN,
            edited(loop, "renew", "seed_torch(", "run.model.fc.weight.data.mul_(1.01); seed_torch("),
        ),
    ],
    "lookahead": [
        ("does nothing", SLOW, text(UPDATE, "None", BACK, "None")),
        ("an average beside the weights", SLOW, text(BACK, "None")),
        ("every fourth step", SLOW, edited(Lookahead, "share", "% self.every", "% 4")),
        ("the other part of the way", SLOW, edited(Lookahead, "share", "1 - stays * at", "stays * at")),
        ("from the weights of the step before, later", SLOW, text(BACK, f"{BACK} if run.epoch < 2 else None")),
        (
            "buffers stay",
            SLOW,
            edited(
                Averaging,
                "hand_back",
                "floating(self.model)",
                "dict(self.model.named_parameters()) | {n: t.clone() for n, t in self.model.named_buffers()}",
            ),
        ),
        (
            "the head stays",
            SLOW,
            edited(
                Averaging, "hand_back", "[now[name] for", '[now[name] if name != "fc.weight" else now[name].clone() for'
            ),
        ),
        ("at each step", SLOW, edited(Averaging, "hand_back", "and self.share", "")),
        (
            "momentum is cleared with it",
            SLOW,
            text(BACK, f"{BACK}; run.optimizer.state.clear() if average.share else None"),
        ),
    ],
    "progressive_resizing": [
        ("does nothing", GROWING, method(Progressive, "__call__", lambda self, x, epoch, epochs: x)),
        ("small to the end", GROWING, resizing("x = resize(x, 0, spec.epochs)")),
        (
            "whole from the second epoch on",
            GROWING,
            resizing("x = resize(x, run.epoch or 0, spec.epochs) if run.epoch < 1 else x"),
        ),
        ("an epoch late", GROWING, resizing("x = resize(x, max(0, run.epoch - 1), spec.epochs)")),
        (
            "the nearest pixel",
            GROWING,
            shared(Progressive, "scaled", lambda x, size: nn.functional.interpolate(x, (size, size))),
        ),
        ("the corner cut out", GROWING, shared(Progressive, "scaled", lambda x, size: x[..., :size, :size])),
        (
            "without antialiasing",
            GROWING,
            shared(Progressive, "scaled", lambda x, size: nn.functional.interpolate(x, (size, size), mode="bilinear")),
        ),
        (
            "whole at every third step, later",
            GROWING,
            resizing("x = resize(x, run.epoch, spec.epochs) if run.batch % 3 else x"),
        ),
        ("before the flip", GROWING, edited(Progressive, "__call__", "scaled(x, side)", "scaled(x, side).flip(3)")),
    ],
    "tta": [
        ("does nothing", VIEWS, method(Views, "views", lambda self, x: [(1.0, x)])),
        (
            "each view alike",
            VIEWS,
            method(Views, "views", lambda self, x: [(1 / 6, view) for _, view in RIGHT(self, x)]),
        ),
        ("the mirror image alone", MIRRORED, method(Views, "views", lambda self, x: [(0.5, x.flip(3))] * 2)),
        ("upside down", VIEWS, edited(Views, "views", "view.flip(3)", "view.flip(2)")),
        ("black at the border", VIEWS, edited(Views, "views", '"reflect"', '"constant"')),
        ("a pixel further", VIEWS, edited(Views, "views", "2 * self.shift", "self.shift")),
        (
            "the greatest answer",
            VIEWS,
            edited(Images, "answered", "torch.stack(weighed).sum(0)", "torch.stack(weighed).amax(0)"),
        ),
        ("the sum of all", VIEWS, edited(Images, "answered", "share * net(view)", "net(view)")),
        ("of probabilities", MIRRORED, edited(Images, "answered", "share * net(view)", "share * net(view).softmax(1)")),
        (
            "the last epoch without",
            VIEWS,
            edited(
                loop,
                "test",
                "spec.evaluation.view(images) if spec.evaluation",
                "spec.evaluation.view(images) if run.epoch < 2",
            ),
        ),
    ],
    "adaptive_clipping": [
        ("does nothing", ADAPTED, method(AdaptiveClip, "__call__", lambda self, parameters: None)),
        ("the head too", ADAPTED, edited(AdaptiveClip, "__call__", "if self.head", "if True")),
        (
            "a layer at once",
            ADAPTED,
            edited(AdaptiveClip, "__call__", "tuple(range(1, weight.ndim)) or (0,)", "tuple(range(weight.ndim))"),
        ),
        ("biases left out", ADAPTED, text(CLIP, "clip([p for p in run.model.parameters() if p.ndim > 1])")),
        (
            "by the sum of its numbers",
            ADAPTED,
            edited(AdaptiveClip, "__call__", "vector_norm(gradient,", "vector_norm(gradient, 1,"),
        ),
        ("twice as long", ADAPTED, edited(AdaptiveClip, "__call__", "* self.most", "* self.most * 2")),
        ("weights of 0 never move", ADAPTED, edited(AdaptiveClip, "__call__", "min=self.least", "min=0.0")),
        ("not at every third step, later", ADAPTED, text(CLIP, f"({CLIP}) {LATER}")),
    ],
    "clip_value": [
        ("does nothing", VALUED, method(ClipValue, "__call__", lambda self, parameters: None)),
        (
            "from above alone",
            VALUED,
            method(ClipValue, "__call__", lambda self, parameters: [p.grad.clamp_(max=self.most) for p in parameters]),
        ),
        ("twice as much", VALUED, edited(ClipValue, "__call__", "self.most", "2 * self.most")),
        ("scaled down", VALUED, edited(ClipValue, "__call__", "clip_grad_value_", "clip_grad_norm_")),
        ("not at every third step, later", VALUED, text(CLIP, f"({CLIP}) {LATER}")),
    ],
    "auto_augment": [
        ("does nothing", LEARNED, method(AutoAugment, "drawn", lambda self, h, w, rng: [])),
        ("CIFAR-10's policy", LEARNED, edited(AutoAugment, "drawn", "self.learned", '"cifar10"')),
        (
            "the first pair",
            LEARNED,
            edited(AutoAugment, "drawn", "rng.integers(len(found))", "0 * rng.integers(len(found))"),
        ),
        ("both operations always", LEARNED, edited(AutoAugment, "drawn", "rng.random() > chance", "rng.random() > 1")),
        ("to one side alone", LEARNED, edited(AutoAugment, "drawn", "<= 0.5", "<= 2")),
        ("inverted never", INVERTED, operation("Invert", lambda x, m: x)),
        ("off after the first epoch", LEARNED, augmenting_when("run.epoch == 0")),
    ],
    "alternating_flip": [
        ("does nothing", TURNING, method(AlternatingFlip, "__call__", lambda self, x, rng: x)),
        ("by coins", TURNING, edited(AlternatingFlip, "draws", f"{COINS}[places]", "rng.random(n)")),
        (
            "never the other way, at each epoch",
            TURNING,
            edited(AlternatingFlip, "draws", "epoch % 2", "0 * epoch % 2"),
        ),
        ("all at once", TURNING, edited(AlternatingFlip, "draws", "[places] < 0.5", "[places] < 2")),
        (
            "by the place in the batch",
            TURNING,
            edited(
                AlternatingFlip,
                "draws",
                "[places]",
                "[:n]",
                "int(places.max()) + 1",
                "int(places.max()) + n",
            ),
        ),
        ("upside down", TURNING, edited(AlternatingFlip, "__call__", "x.flip(3)", "x.flip(2)")),
        ("off after the first epoch", TURNING, augmenting_when("run.epoch == 0")),
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
