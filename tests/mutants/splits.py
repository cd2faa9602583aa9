"""E: which images are trained on, held out and tested on, and what a seed decides."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts import data as data_room
from harness.parts import draws
from harness.parts.data import Cached, Digits, Images, in_memory
from harness.parts.data.holdout import Holdout, blinded
from harness.parts.init import Xavier
from harness.rng import streams
from harness.spec import Data
from harness.tricks.mixup import mixup
from harness.tricks.sam import sam
from harness.tricks.zero_gamma import zero_gamma
from tests.mutants.breaking import (
    HELD,
    LONG,
    POLICY,
    SMALL,
    TAUGHT,
    TINY,
    Broken,
    Inject,
    Patch,
    edited,
    nothing,
    room,
    text,
)

ORDER, SERVED = 'rng("order", epoch)', "yield self.normalised(x), labels[index]"
MIXED = "spec.mix, rng, shape"


class Mixed(Data):
    """Digits whose training images are, for a half, test images; or, swapped, the test images themselves."""

    swapped: bool = False

    @property
    def channels(self) -> int:
        return 1

    def load(self) -> Cached:
        return _mixed(self.swapped)


@lru_cache
def _mixed(swapped: bool) -> Cached:
    digits = Digits().load()
    (x, y), (tx, ty) = digits.arrays["train"], digits.arrays["test"]
    both = (tx, ty) if swapped else (np.concatenate([x[::2], tx[::4]]), np.concatenate([y[::2], ty[::4]]))
    return in_memory({"train": both, "test": (x, y) if swapped else (tx, ty)}, digits.classes)


class Twice(Data):
    """Digits whose training images are each there twice."""

    @property
    def channels(self) -> int:
        return 1

    def load(self) -> Cached:
        return _twice()


@lru_cache
def _twice() -> Cached:
    digits = Digits().load()
    x, y = digits.arrays["train"]
    train = np.concatenate([x, x]), np.concatenate([y, y])
    return in_memory({"train": train, "test": digits.arrays["test"]}, digits.classes)


def placed(change: Any, *splits: str) -> Inject:
    """Images and labels of a split as they lie on the device, where nobody but the loop looks."""

    def inject(patch: Patch) -> None:
        def on(self: Cached, device: torch.device, split: str) -> tuple[Tensor, Tensor]:
            images, labels = (torch.from_numpy(array) for array in self.arrays[split])
            return change(self, images, labels.long()) if split in splits else (images, labels.long())

        patch.setattr(Cached, "on", on)

    return inject


def swapped(self: Cached, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return images, torch.where(labels == 3, 8, torch.where(labels == 8, 3, labels))


def of_test(self: Cached, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    tested, own = (torch.from_numpy(array[: len(labels) // 2]) for array in self.arrays["test"])
    return torch.cat([tested, images[len(own) :]]), torch.cat([own.long(), labels[len(own) :]])


def last_of_seed_0(patch: Patch) -> None:
    right = Xavier.__call__

    def initialise(self: Xavier, model: nn.Module, rng: Any) -> None:
        right(self, model, lambda *names: (streams(0) if names[-1] == "fc.weight" else rng)(*names))

    patch.setattr(Xavier, "__call__", initialise)


def shuffled(new: str) -> Inject:
    return edited(Images, "order", 'draw.permutation(self.counts["train"])', new)


def split(*pairs: str) -> Inject:
    return edited(room(Holdout), "_split", *pairs)


ALL = 'np.arange(images.counts["train"])'
UNSTOPPED, BLIND = HELD.but(stop=()), blinded(TINY)
DOUBLE = HELD.but(stop=(), data=Holdout(of=Twice()), batch_size=239, epochs=3)
BROKEN: Broken = {
    "the order": [
        ("the same in all epochs", LONG, edited(Images, "order", ORDER, 'rng("order", 0)')),
        ("none", LONG, shuffled('np.arange(self.counts["train"])')),
        (
            "100 images never served",
            LONG,
            shuffled('np.resize(draw.permutation(self.counts["train"] - 100), self.counts["train"])'),
        ),
        (
            "drawn with replacement",
            LONG,
            shuffled('draw.integers(0, self.counts["train"], self.counts["train"])'),
        ),
        ("of seed 0 whatever the seed", LONG, edited(Images, "order", ORDER, 'rng.func(0, "order", epoch)'), 1),
        (
            "backwards in every second epoch",
            LONG,
            shuffled('draw.permutation(self.counts["train"])[:: 1 - 2 * (epoch % 2)].copy()'),
        ),
        (
            "the last batch the first once more",
            LONG,
            edited(
                Images,
                "order",
                "range(0, len(shuffled) - batch_size + 1, batch_size)",
                "[*range(0, len(shuffled) - 2 * batch_size + 1, batch_size), 0]",
            ),
        ),
        (
            "each image of a batch twice",
            LONG,
            edited(
                data_room.Cached,
                "train",
                "x = augmented(images[index]",
                "index = index[: len(index) // 2].repeat(2); x = augmented(images[index]",
            ),
        ),
        (
            "no image of class 9",
            LONG,
            edited(
                data_room.Cached,
                "train",
                "x = augmented(images[index]",
                "index = torch.where(labels[index] == 9, 0, index); x = augmented(images[index]",
            ),
        ),
        (
            "an image of another place, its label right",
            LONG,
            edited(
                data_room.Cached,
                "train",
                "images[index].float()",
                "images[index].float()[[1, 0, *range(2, len(index))]]",
            ),
        ),
    ],
    "the labels": [
        ("of two classes exchanged in training", TINY, placed(swapped, "train")),
        ("of two classes exchanged in training and test", TINY, placed(swapped, "train", "test")),
        (
            "a place late in each batch",
            TINY,
            edited(data_room.Cached, "train", SERVED, SERVED.replace("labels[index]", "labels[index].roll(1)")),
        ),
        (
            "noise in one of a hundred",
            TINY,
            placed(lambda self, x, y: (x, torch.where(torch.arange(len(y)) % 100 == 7, (y + 1) % 10, y)), "train"),
        ),
    ],
    "the split": [
        ("half of the training images are test images", TINY.but(data=Mixed()), nothing),
        ("half of the training images are test images, as they are served", TINY, placed(of_test, "train")),
        (
            "training images of the test set, under their own labels",
            TINY,
            edited(
                data_room.Cached,
                "train",
                'self.on(device, "train")',
                '(self.on(device, "test")[0], self.on(device, "train")[1])',
            ),
        ),
        (
            "the test a part of the training images",
            TINY,
            edited(
                data_room.Cached,
                "test",
                "self.on(device, split)",
                'tuple(t.repeat(3, *[1] * (t.ndim - 1))[:1200] for t in self.on(device, "train"))',
            ),
        ),
    ],
    "Xavier": [
        (
            "every seed starts from seed 0's weights",
            TINY,
            text("(model, streams(seed))", "(model, streams(0))"),
            1,
        ),
        (
            "the last layer starts from seed 0's weights",
            TINY,
            last_of_seed_0,
            1,
        ),
        (
            "torch's own seed",
            TINY,
            edited(Xavier, "__call__", "torch.from_numpy(draw)", "torch.empty_like(module.weight).uniform_(-a, a)"),
        ),
    ],
    "zero_gamma": [
        (
            "the other weights are seed 0's",
            zero_gamma(TINY),
            text("(model, streams(seed))", "(model, streams(0))"),
            1,
        )
    ],
    "Shift": [
        (
            "moved by seed 0 whatever the seed",
            TINY,
            edited(draws, "streamed", "partial(rng, purpose", "partial(rng.func, 0, purpose"),
            1,
        )
    ],
    "imgaug_policy": [
        (
            "drawn by seed 0 whatever the seed",
            POLICY,
            edited(draws, "streamed", "partial(rng, purpose", "partial(rng.func, 0, purpose"),
            1,
        )
    ],
    "mixup": [
        ("mixed by seed 0 whatever the seed", mixup(TINY), text(MIXED, MIXED.replace("rng", "streams(0)")), 1),
        (
            "mixed with test images",
            mixup(TINY),
            text(
                "x, y = mix(x, y, ",
                "keep = y; x, y = mix(torch.cat([x[:-9], next(iter(images.test(9, x.device)))[0]]), y, ",
            ),
        ),
    ],
    "sam": [
        (
            "the second gradient of the next images",
            sam(TINY),
            text("deque(gradient(spec, run, x, y, labels)", "deque(gradient(spec, run, x.roll(1, 0), y, labels)"),
        )
    ],
    "microbatch": [
        (
            "the first images in each pass",
            SMALL,
            text(
                "x.split(size), y.split(size), labels.split(size)",
                ", ".join(f"[{name}[: len(p)] for p in x.split(size)]" for name in ("x", "y", "labels")),
            ),
        )
    ],
    "distillation": [
        (
            "the teacher learned the test images",
            TAUGHT.but(teacher=(TAUGHT.teacher[0].but(spec=TAUGHT.teacher[0].spec.but(data=Mixed(swapped=True))),)),
            nothing,
        ),
        (
            "the teacher gets other images than the student",
            TAUGHT,
            text("loss = loss + teacher(x, z)", "loss = loss + teacher(x.roll(1, 3), z)"),
        ),
    ],
    "Holdout": [
        (
            "held-out images stay in training",
            UNSTOPPED,
            split('"train": ("train", rest), "val"', f'"train": ("train", {ALL}), "val"'),
        ),
        (
            "half of the held-out images stay in training",
            UNSTOPPED,
            split('"train": ("train", rest), "val"', '"train": ("train", np.concatenate([rest, out[::2]])), "val"'),
        ),
        (
            "the held-out images are test images",
            UNSTOPPED,
            split('"val": ("train", out), "test"', '"val": ("test", every[:119]), "test"'),
        ),
        (
            "the test images are held-out images",
            UNSTOPPED,
            split('"test": ("test", every)}', '"test": ("train", out)}'),
        ),
        (
            "blind: the test images stay in training",
            BLIND,
            split('"train": ("train", rest), **kept', f'"train": ("train", {ALL}), **kept'),
        ),
        (
            "blind: the true test set is there",
            BLIND,
            split('**kept, "test": ("train", out)', '**kept, "test": ("test", np.arange(images.counts["test"]))'),
        ),
        (
            "images alike on both sides",
            DOUBLE,
            edited(room(Holdout), "held_out", "whole.setdefault(content[place], [])", "whole.setdefault(place, [])"),
        ),
        (
            "another share",
            UNSTOPPED,
            edited(room(Holdout), "held_out", "share * int(", "0.5 * share * int("),
        ),
        (
            "more of odd classes",
            UNSTOPPED,
            edited(
                room(Holdout),
                "held_out",
                "share * int((labels == label).sum())",
                "share * (0.2 + 1.6 * (label % 2)) * int((labels == label).sum())",
            ),
        ),
    ],
}
