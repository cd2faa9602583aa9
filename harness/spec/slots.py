"""The slots of a specification: what each part must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from harness.spec.part import Part

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import torch
    from torch import Tensor, nn

    from harness.rng import Stream

Draws = tuple[Any, ...]  # of a part for a batch: numbers, and arrays or, on a device, tensors


class Data(Part, ABC):
    """Where images and labels come from. `load` reads, checks and digests them, once a process."""

    place_fields: ClassVar[frozenset[str]] = frozenset({"root"})  # fields that say where it lies, and are not in the id

    @property
    @abstractmethod
    def channels(self) -> int:
        """Of an image: 1 or 3."""

    @abstractmethod
    def load(self) -> Any:
        """The images, ready to be served; see `harness.parts.data.Images`. Raises Problem on unusable data."""

    @property
    def truth(self) -> Literal["class", "boxes", "mask"]:
        """What is known of an image: its one class, boxes around what is on it, or the class of each pixel."""
        return "class"

    @property
    def source(self) -> Data:
        """Itself, or the data that it is made of."""
        return self

    def settings(self) -> dict[str, Any]:
        """The fields, but for where the data lies."""
        return {name: value for name, value in self if name not in self.place_fields}

    def identity(self) -> dict[str, Any]:
        return {**self.settings(), "digest": self.load().digest}


class Derived(Data, ABC):
    """Data made of other data: a slice of it, or with some held out."""

    of: Data

    @property
    def channels(self) -> int:
        return self.of.channels

    @property
    def truth(self) -> Literal["class", "boxes", "mask"]:
        return self.of.truth

    def identity(self) -> dict[str, Any]:
        return self.settings()  # the digest of `of` is in it

    @property
    def source(self) -> Data:
        return self.of.source


class Model(Part, ABC):
    """A network, as a value: its architecture, without weights."""

    @abstractmethod
    def build(self, channels: int, classes: int) -> nn.Module:
        """A network from N x `channels` x H x W images to N x `classes` logits, or to what the task makes of others."""

    def blank(self, channels: int, classes: int, height: int, width: int) -> tuple[Tensor, ...] | None:
        """What the network is called with in training, of one black image, to count what it costs by; None: that."""
        return None

    def tell(self, net: nn.Module, step: int, steps: int) -> None:
        """Tell the network, before each step of training, which it is, from 0, of how many; most need not know."""

    def told(self, step: int, steps: int) -> dict[str, Tensor]:
        """What `tell` makes of it, by names: a `reference` finds it among the weights."""
        return {}

    def adopt(self, net: nn.Module, upstream: nn.Module) -> None:
        """Take over, in place, what the network of its upstream run has learned; of most models there is none."""

    def adopted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `adopt` should have taken of an upstream network's `weights` and buffers, by its name here."""
        return {}

    def frozen(self, name: str) -> bool:
        """Whether a parameter, by its name, is never trained."""
        return False

    def starts(self, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What parameters of layers that `init` does not know begin as, by name, for the evidence. `shapes`: of all."""
        return {}

    def amiss(self, x: Tensor, y: np.ndarray, z: np.ndarray) -> float | None:
        """How much of a training answer `z` to images `x` is not what targets `y` make due; None of most networks.

        It is of those whose answer has more in it than what they say of the images, such as the samples that they drew.
        """
        return None

    def fresh(self, channels: int, classes: int) -> nn.Module:
        """Another such network, to run again on the weights of the first. It shares what `build` gets wrong.

        A model with a `reference(weights, x, training, conv, linear)` is run again by that: from weights and buffers by
        name and images to logits, in torch's functional forms, `conv` and `linear` among them.
        """
        return self.build(channels, classes)


class Init(Part, ABC):
    """Initial weights. The parts of the slot come one after the other."""

    loads: ClassVar[bool] = False  # what it sets is of a file: weights and statistics, by its `reference` to the bit

    def knowing(self, images: Any) -> Init:
        """Itself, as it is for these loaded images. Most parts need not know them; one that does answers with a copy.

        `reference` is asked of that one too.
        """
        return self

    @abstractmethod
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        """Set parameters in place, each drawn from a stream of its own name.

        `reference(shapes, model, rng)` gives the values of the parameters that are set, by name; nan where a number is
        left as the parts before had it.
        """

    def over(self, model: nn.Module) -> frozenset[str]:
        """The weights, by name, that it sets anew, whatever was drawn for them before."""
        return frozenset()

    def frozen(self, name: str) -> bool:
        """Whether a parameter that it sets, by its name, is never trained."""
        return False


class Decay(Part, ABC):
    """Weight decay: `weight`, and the parameters that it is for."""

    weight: float = Field(1e-4, ge=0)

    @abstractmethod
    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The optimizer's parameter groups, each with its `weight_decay`.

        `reference(name, layer)` gives that of one parameter, by its name and the layer that it is of.
        """


class Optimizer(Part, ABC):
    """The rule by which gradients move weights."""

    buffers: ClassVar[int] = 1  # numbers of state that it keeps for each of a parameter

    @abstractmethod
    def rate(self, batch_size: int) -> float:
        """The peak learning rate at this batch size."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.Optimizer:
        """torch's optimizer of the groups that `Decay.groups` made, at the rate for this batch size.

        Groups of `rules` name theirs, `"rule": "NAG"`; their `factor` is of this rate.
        """

    def rules(self, model: nn.Module) -> Mapping[str, Optimizer]:
        """The rules of the parameters that go by another than this one, by name; of most optimizers there are none.

        `rules_again` says it a second time, for the evidence.
        """
        return {}

    def rules_again(self, model: nn.Module) -> Mapping[str, Optimizer]:
        """`rules`, for the evidence; by a part that says it a second time, from names and shapes."""
        return self.rules(model)


class Rates(Part, ABC):
    """Learning rates of their own for some parameters."""

    @abstractmethod
    def factor(self, name: str, layer: nn.Module) -> float:
        """What the rate of one parameter is multiplied by, by its name and the layer that it is of.

        `reference(name, layer)` says it again.
        """

    def frozen(self, name: str) -> bool:
        """Whether a parameter is never trained; its factor is 0."""
        return False


class Schedule(Part, ABC):
    """How the learning rate goes over the steps."""

    @abstractmethod
    def factor(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """What the peak learning rate is multiplied by at `step`, counted from 0."""


class Sampler(Part, ABC):
    """Which training images an epoch has, and in which order."""

    anew: ClassVar[bool] = True  # drawn anew for each epoch; else all have the first one's

    @abstractmethod
    def order(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The places of an epoch's N images among the N training images; `labels` are theirs. `reference` as well."""


class Augment(Part, ABC):
    """Changes training images, one batch at a time, before they are normalised."""

    moves: ClassVar[bool] = True  # pixels change places: without a `pair` it is of no use for boxes and masks

    def knowing(self, epoch: int, places: np.ndarray, rng: Stream) -> Augment:
        """Itself, as it is for the training images at these places in that epoch; `rng` gives streams of its seed.

        Most parts need not know which images they change. One that does answers with a copy that does.
        """
        return self

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws | None:
        """What is drawn for `n` images of that size, in px, before they are there: numbers and arrays.

        `harness.parts.draws.drawn` gives `__call__` those, the arrays as tensors beside the images. None: it draws as
        it goes.
        """
        return None

    @abstractmethod
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Float images N x C x H x W in [0, 255] to the same. `reference` does so in numpy."""

    def pair(self, x: Tensor, y: Tensor, sizes: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images and what is known of them, by the draws of `__call__`; both may be changed in place.

        `x` is padded right and below: `sizes` N x 2 are the height and width of each image, in px. `y` are boxes, float
        N x B x 6 (label 1..K or 0 for none, x1, y1, x2, y2 in px, difficult), or masks, int64 N x H x W, -1 not
        labelled. `reference_pair` does so in numpy. A part that leaves pixels where they are says `moves = False`
        instead.
        """
        return self(x, rng), y


class Resolution(Part, ABC):
    """The size of training images, by the epoch."""

    @abstractmethod
    def __call__(self, x: Tensor, epoch: int, epochs: int) -> Tensor:
        """Normalised images N x C x H x W of `epoch`, of `epochs`, to those that are mixed and trained on.

        `reference` does so in numpy.
        """


class Targets(Part, ABC):
    """What the labels of training images become; without one they are one-hot."""

    @abstractmethod
    def __call__(self, y: Tensor) -> Tensor:
        """Target distributions N x K to target distributions N x K. `reference` does so in numpy."""


class Mix(Part, ABC):
    """Mixes the images and the targets of a training batch with each other."""

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws | None:
        """What is drawn for `n` images of that size, as `Augment.draws`. None: it draws as it goes."""
        return None

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images N x C x H x W and targets N x K to the same. `reference` does so in numpy."""


class Loss(Part, ABC):
    """What is minimised, where it is not the task's own."""

    truth: ClassVar[str] = ""  # what must be known of images: "class", "boxes" or "mask"; "": it does not say

    def check(self, spec: Any) -> None:
        if self.truth not in ("", spec.data.truth):
            known = {"class": "one class each", "boxes": "boxes", "mask": "masks"}[self.truth]
            raise ValueError(f"loss={type(self).__name__} is for images with {known}: leave it out")

    @abstractmethod
    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        """The mean over N, of logits and targets N x K.

        `reference(y, z)` gives it and its gradient by the logits, in numpy's float64.
        """


class Clip(Part, ABC):
    """What is done to the gradients of a step before the optimizer goes by them."""

    @property
    def bound(self) -> float | None:
        """The greatest norm, over all parameters, that a step may go by; None where no norm is bounded."""
        return None

    weighs: ClassVar[bool] = False  # it goes by the weights too

    @abstractmethod
    def __call__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Change the gradients in place; no loss scale is in them.

        `reference(gradients)` does so by name, in numpy; of one that `weighs`, `reference(gradients, weights)`.
        """


class Average(Part, ABC):
    """Weights that are an average over the steps: they are tested and kept, and training goes on with its own."""

    returns: ClassVar[bool] = False  # training goes on from the average, wherever a share above 0 went into it

    @abstractmethod
    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """How much of the weights after `step`, counted from 0, goes into the average: avg += share · (w - avg).

        Buffers of floating point go with the weights, but where the part `copies_buffers`. The average begins as the
        initial weights. `reference` of the same says it again.
        """

    @property
    def copies_buffers(self) -> bool:
        """Whether buffers are those of the last step that something went in, and not averaged."""
        return False

    def renewing(self, epoch: int, epochs: int) -> int:
        """By how many batches of `epoch` batch norm's statistics are worked out anew, before the average is tested.

        0: they are averaged, as the weights are.
        """
        return 0


class Evaluation(Part, ABC):
    """How images are tested, where it is otherwise than the data has it."""

    @abstractmethod
    def view(self, images: Any) -> Any:
        """The loaded `images` as they are tested, of which `test` and `reference` are asked.

        Where several views of an image are answered, they have this part as their `looks`.
        """

    def views(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """What the network is asked of normalised test images N x C x H x W, and how much each answer counts.

        Shares add up to 1. `reference` does so in numpy.
        """
        return [(1.0, x)]


class Task(Part, ABC):
    """What a network is trained to do, and how well it does: the loop and the evidence ask it; see `harness.tasks`."""

    headline: ClassVar[str]  # the score that a study is about, which a run's record names as its `score`
    learned: ClassVar[str]  # the score of training images
    loss: ClassVar[Loss]  # where the slot `loss` is empty
    watched: ClassVar[tuple[str, ...]]  # scores of held-out images that a run may be stopped, or chosen, by
    steady: ClassVar[bool] = True  # whether a pass of a shape takes the same kernels, with the same bits each time
    brief: ClassVar[bool]  # whether answers and targets of the first batches are few enough to be kept

    @property
    @abstractmethod
    def scores(self) -> tuple[str, ...]:
        """The names of all scores, of either split."""

    @staticmethod
    @abstractmethod
    def at_once(device: str, side: int) -> int:
        """Images of a test batch, `side` px wide, on a kind of device."""

    @staticmethod
    @abstractmethod
    def named(score: str, split: str) -> str:
        """What a score of a split, "test" or "val", is called in a record."""

    @abstractmethod
    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """What the network should answer, from the labels of a batch."""

    def given(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """What the network is called with: the images of a pass, and, where it needs them, their targets."""
        return (x,)

    @abstractmethod
    def hits(self, z: Tensor, labels: Tensor) -> Tensor:
        """How many images of a pass are answered right; of many answers an image, the sum of its images' shares."""

    @abstractmethod
    def marking(self, images: Any, split: str) -> Any:
        """Marks an evaluation of a split of `harness.parts.data.Images`: `add` its batches, and ask its `scores`."""

    def keeps(self, images: int, classes: int) -> tuple[int, str]:
        """Bytes that a record keeps of its test images, before compression, in a file of their own; or why none."""
        return 0, ""

    @abstractmethod
    def noise(self, n: int, classes: int, height: int, width: int) -> Tensor:
        """Targets of `n` images of any kind, to time and to count a step by."""

    @abstractmethod
    def targets_again(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """`targets`, written again in numpy, for the evidence."""

    @abstractmethod
    def order(self, labels: Tensor) -> Tensor | None:
        """What of a batch's labels tells which images it has, for each step; None where only audits tell."""

    @abstractmethod
    def ordered(self, images: Any) -> np.ndarray:
        """The same of all training images, in their order."""

    @abstractmethod
    def guesses(self, z: Tensor) -> Tensor:
        """What is answered to each image, for the evidence to count what `hits` counts."""

    @abstractmethod
    def right(self, guesses: Tensor, labels: Tensor) -> Tensor:
        """How many images of a step were answered right, by their guesses."""

    @abstractmethod
    def examiner(self, images: Any) -> Any:
        """Marks evaluations again, for the evidence, sharing no code with `marking`."""


class Precision(Part, ABC):
    """The numbers that a step is computed in."""

    kind: ClassVar[str | None] = None
    """What conv and linear layers store: float32, float16, bfloat16; tf32 is what they multiply. None: not known."""
    scaled: ClassVar[bool] = True  # the loss, by a power of two

    @abstractmethod
    def on(self, device: torch.device) -> Any:
        """How to run forward and step there; see `harness.parts.precision.Runner`."""


class Compiler(Part, ABC):
    """Makes other kernels of the network's passes: sums are made in another order."""

    @abstractmethod
    def on(self, model: nn.Module) -> Any:
        """What is called in the network's place in training; it reads the same weights, and moves the statistics."""


class Ascent(Part, ABC):
    """The gradient is taken at other weights than those that it moves."""

    @abstractmethod
    def away(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it the weights of `model` are elsewhere, by the gradients they have, which are cleared; then back.

        `reference(gradients)` gives how far each goes, by name, in numpy.
        """


class Stop(Part, ABC):
    """When to end before the last epoch, and which epoch's weights to keep."""

    @property
    def watches(self) -> tuple[str, ...]:
        """The scores that it goes by; a plan is refused where the task has not all of them."""
        return ()

    @abstractmethod
    def best(self, history: Sequence[Mapping[str, Any]]) -> int:
        """The place of the epoch whose weights are kept, among those so far."""

    @abstractmethod
    def over(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last of the epochs so far is the last of all."""
