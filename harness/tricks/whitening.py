"""Frozen patch whitening (Page 2019; Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.2)."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data import Cached
from harness.parts.init import beginning, first_convolution
from harness.rng import Stream
from harness.spec import Init, Spec, declares

PIECE = 500  # images whose patches are in memory at once
APART = 1e-9  # of the greatest eigenvalue: two that are closer have no eigenvectors of their own


def patch_covariance(x: Tensor, height: int, width: int) -> Tensor:
    """The covariance of all patches of images N x C x H x W: D x D, where D = C · height · width, in float64."""
    numbers, count = x.shape[1] * height * width, 0
    total, square = (torch.zeros(shape, dtype=torch.float64) for shape in ((numbers,), (numbers, numbers)))
    for some in x.split(PIECE):
        patches = nn.functional.unfold(some.double(), (height, width)).transpose(1, 2).flatten(0, 1)
        total, square, count = total + patches.sum(0), square + patches.T @ patches, count + len(patches)
    mean = total / count
    return square / count - torch.outer(mean, mean)


def whitening_filters(covariance: Tensor, eps: float) -> Tensor:
    """2 D filters of D numbers: eigenvectors over √(eigenvalue + eps), of the greatest first, then their negatives.

    Of the two signs of an eigenvector it is that whose sum over i of √(i + 1) times its i-th number is above 0. Raises
    Problem where two eigenvalues are the same, as where patches do not vary in some direction.
    """
    values, vectors = torch.linalg.eigh(covariance)
    if len(values) > 1 and float(values.diff().min()) <= APART * float(values.max()):
        raise Problem(
            "whitening: patches of the training images do not vary each way by itself, as where grey images are told "
            "in three channels: leave whitening out"
        )
    vectors = vectors * (vectors.T @ torch.arange(1, len(values) + 1).double().sqrt()).sign()
    rows = (vectors / (values + eps).sqrt()).T.flip(0)
    return torch.cat([rows, -rows])


def places(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` images, evenly apart: files are often in the order of their classes."""
    number = min(count, most)
    return np.arange(number) * count // number


class Whitening(Init):
    """The first convolution makes patches white, and does not learn. Slot: `init`, after the weights; neutral: absent.

    Its filters are the eigenvectors of the covariance of patches of training images, normalised and not augmented, each
    over √(eigenvalue + `eps`); the other half are their negatives, so that nothing is lost in the activation. With
    `negatives=False` there are none: Page's, whose next layer is a convolution. Filters beyond these stay as they were
    drawn, and are frozen too. Its bias learns, if it has one. `images` of the training images are looked at, evenly
    apart. airbench trains the bias for three epochs; both sources take the covariance about 0.
    """

    layer: str
    eps: float = Field(5e-4, gt=0)
    images: int = Field(5000, ge=1)
    negatives: Literal[False] | None = None
    _seen: Any = PrivateAttr(None)

    def check(self, spec: Spec) -> None:
        if spec.data.truth != "class" or hasattr(spec.model, "backbone"):
            raise ValueError("init=Whitening is of classifiers: leave whitening out")
        if not isinstance(spec.data.load(), Cached):
            raise ValueError("init=Whitening is for images of up to 64 px, which are in memory: leave whitening out")
        if any(part.loads for part in spec.init):
            raise ValueError("init=Whitening sets weights that a file has: leave one of the two out")
        name, shape, groups = first_convolution(spec.model, spec.data.channels)
        if name != self.layer or groups != 1:
            raise ValueError(f"init.layer={self.layer!r}: the first convolution is {name or 'none'}: name that")
        filters, *patch = shape
        numbers = int(np.prod(patch))
        each, word = (2, "two") if self.negatives is None else (1, "one")
        if filters < each * numbers:
            raise ValueError(
                f"whitening patches of {' x '.join(map(str, patch))} takes {each * numbers} filters, {word} for each "
                f"number, and {name} of the network has {filters}: take a wider one, such as Airbench, or leave "
                "whitening out"
            )

    def knowing(self, images: Any) -> Init:
        made = self.model_copy()
        made._seen = images
        return made

    def frozen(self, name: str) -> bool:
        return name == f"{self.layer}.weight"

    def over(self, model: nn.Module) -> frozenset[str]:
        return frozenset({f"{self.layer}.weight"})

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        if self._seen is None:
            raise Problem("Whitening does not know the training images: call `part.knowing(images)`")
        weight: Any = model.get_submodule(self.layer).weight
        images, _ = self._seen.on(torch.device("cpu"), "train")
        mean, std = (torch.tensor(of, dtype=torch.float64)[:, None, None] for of in (self._seen.mean, self._seen.std))
        x = (images[torch.from_numpy(places(len(images), self.images))] - mean) / std
        filters = whitening_filters(patch_covariance(x, *weight.shape[2:]), self.eps)
        filters = filters[: len(filters) // 2] if self.negatives is False else filters
        weight[: len(filters)] = filters.view(-1, *weight.shape[1:])

    def reference(self, shapes: dict[str, Any], model: nn.Module, rng: Stream) -> dict[str, np.ndarray]:
        """In numpy: the covariance a pair of places in the patch at a time, and its singular vectors."""
        filters, channels, high, wide = shapes[f"{self.layer}.weight"]
        numbers = channels * high * wide
        sums, products, count = np.zeros(numbers), np.zeros((numbers, numbers)), 0
        for x in normal(self._seen, self.images):
            rows, columns = x.shape[2] - high + 1, x.shape[3] - wide + 1
            shifted = [x[:, :, i : i + rows, j : j + columns] for i in range(high) for j in range(wide)]
            flat = np.stack(shifted, 2).transpose(1, 2, 0, 3, 4).reshape(numbers, -1)
            sums, products, count = sums + flat.sum(1), products + flat @ flat.T, count + flat.shape[1]
        covariance = products / count - np.outer(sums, sums) / count**2
        _, values, vectors = np.linalg.svd(covariance, hermitian=True)
        found = np.full((filters, channels, high, wide), np.nan)
        for place, (value, vector) in enumerate(zip(values, vectors, strict=True)):
            turn = sum(number * (i + 1) ** 0.5 for i, number in enumerate(vector))
            one = (vector if turn > 0 else -vector) / (value + self.eps) ** 0.5
            found[place] = one.reshape(channels, high, wide)
            if self.negatives is None:
                found[place + len(values)] = -found[place]
        return {f"{self.layer}.weight": found}

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """At the end of training: the weights are those that were due before step 1, and what they give is white."""
        parameters = dict(trace.model.named_parameters())
        weight = parameters[f"{self.layer}.weight"].detach().cpu().double().numpy()
        known = self.model_copy()
        known._seen = spec.data.load()
        due = known.reference({n: p.shape for n, p in parameters.items()}, trace.model, trace.rng)
        wanted = due[f"{self.layer}.weight"]
        told = np.isfinite(wanted)
        gap = float(np.abs(weight - wanted)[told].max() / np.abs(wanted[told]).max())
        what = "largest gap of the first layer's weights, at the end, from those due, in units of the largest"
        yield Check(what, "0", f"{gap:.2g}", gap < 1e-6)
        numbers = int(np.prod(weight.shape[1:]))
        half = torch.from_numpy(weight[:numbers])
        given = [nn.functional.conv2d(torch.from_numpy(x), half) for x in normal(known._seen, self.images)]
        made = np.cov(torch.cat(given).transpose(0, 1).flatten(1).numpy(), bias=True)
        white = np.diag(1 - self.eps * (weight[:numbers] ** 2).sum((1, 2, 3)))
        off = float(np.abs(made - white).max())
        what = "largest gap of the covariance of its outputs over these patches from 1, less what eps takes, or 0"
        yield Check(what, "0", f"{off:.2g}", off < 1e-4)


def normal(images: Any, most: int) -> Iterator[np.ndarray]:
    """Training images evenly apart, as they are stored, normalised: float64 N x C x H x W, some at a time."""
    count = images.counts["train"]
    number = min(most, count)
    mean, std = (np.array(of)[:, None, None] for of in (images.mean, images.std))
    for start in range(0, number, 250):
        chosen = np.array([i * count // number for i in range(start, min(start + 250, number))])
        yield (images.reference("train", chosen, []) - mean) / std


@declares("init")
def whitening(spec: Spec, eps: float = 5e-4, negatives: Literal[False] | None = None) -> Spec:
    """patch whitening: the first convolution makes patches of the training images white, and stays so.

    Slot: `init`, neutral absent. The first layer needs two filters for each number of its patch: 24 of 2 x 2 on RGB,
    which `Airbench` has. With `negatives=False` it needs one: 27 of 3 x 3, which `ResNet9` has with `patch_features`.
    Its bias, if any, learns in all epochs; airbench freezes it after three. Raises Problem where the network has no
    convolution.

    Hurts: images that are told in more channels than they vary in, such as grey ones in RGB: it is refused there.

    Cost: a second before training; less in training, for the first layer has no gradient.
    """
    layer, *_ = first_convolution(spec.model, spec.data.channels)
    if not layer:
        raise Problem(f"whitening is about the first convolution, and {spec.model!r} has none: leave the trick out")
    return beginning(spec, Whitening(layer=layer, eps=eps, negatives=negatives))
