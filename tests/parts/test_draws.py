import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness import Problem
from harness.parts import draws
from harness.parts.augment import ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift
from harness.parts.draws import Drawn, ahead, copied, drawing, drawn, placed
from harness.rng import streams
from harness.spec import referenced
from harness.tricks.alternating_flip import AlternatingFlip
from harness.tricks.cutmix import CutMix
from harness.tricks.cutout import Cutout
from harness.tricks.mixup import Mixup
from harness.tricks.one_of import OneOf
from harness.tricks.random_erasing import RandomErasing

CPU = torch.device("cpu")
CROP = RandomAreaCrop(together=True)
PARTS = (
    CROP,
    Shift(pixels=2),
    Flip(),
    Flip(),
    ColorJitter(),
    PCANoise(),
    RandomErasing(),
    Cutout(),
    AlternatingFlip(),
)
rng = streams(3)


def images(n=6, side=12):
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (n, 3, side, side)).astype(np.float32))


def tasks(epochs=2, steps=5, n=6):
    order = {epoch: rng("order", epoch).permutation(steps * n) for epoch in range(epochs)}
    return [(epoch, step, order[epoch][step * n :][:n]) for epoch in range(epochs) for step in range(steps)]


def known(epoch, places):
    return placed(PARTS, rng, epoch, places)


def told(*parts, purpose="augment", device=CPU):
    """What `ahead` gives, of these parts or of `PARTS`."""
    return ahead(tasks(), 5, (lambda *_: parts) if parts else known, rng, (6, 12, 12), device, purpose)


@pytest.mark.parametrize("most", [1, 2, 64])
def test_what_is_drawn_ahead_is_what_is_drawn_at_the_step(most, monkeypatch):
    monkeypatch.setattr(draws, "AHEAD", most)
    every = list(told())
    assert len(every) == len(tasks()) == 10
    for (index, parts), (epoch, step, places) in zip(every, tasks(), strict=True):
        assert index.tolist() == places.tolist()
        x = due = images()
        for (part, mine), (own, generator) in zip(parts, drawing(known(epoch, places), rng, epoch, step), strict=True):
            assert isinstance(mine, Drawn)
            x, due = part(x, mine), own(due, generator)
            assert torch.equal(x, due)
        assert not torch.equal(x, images())


@pytest.mark.parametrize("mixers", [(Mixup(),), (Mixup(), CutMix()), (CutMix(), CutMix()), (OneOf(parts=(CutMix(),)),)])
def test_so_it_is_of_mixers(mixers):
    labels = torch.eye(6)
    for (_, parts), (epoch, step, _) in zip(told(*mixers, purpose="mix"), tasks(), strict=True):
        mixed = due = images(), labels
        for (part, mine), (own, generator) in zip(parts, drawing(mixers, rng, epoch, step, "mix"), strict=True):
            mixed, due = part(*mixed, mine), own(*due, generator)
        assert all(map(torch.equal, mixed, due))


def test_a_part_that_draws_as_it_goes_gets_its_generator():
    (_, [(_, crop), (_, flip)]), *_ = told(RandomAreaCrop(), Flip())
    assert isinstance(crop, np.random.Generator)
    assert isinstance(flip, Drawn)
    assert crop.random() == rng("augment", "RandomAreaCrop", 0, 0).random()


def test_so_does_one_whose_class_calls_for_other_draws_than_the_class_above():
    class Both(Shift):
        def __call__(self, x, rng):
            return super().__call__(x, rng) if rng.random() < 0.5 else x

    class Smaller(Shift):
        pixels: int = 2

    (_, [(_, both), (_, smaller)]), *_ = told(Both(), Smaller())
    assert isinstance(both, np.random.Generator)
    assert isinstance(smaller, Drawn)


@pytest.mark.parametrize("part", [Shift(pixels=2), Cutout(), PCANoise(), CROP], ids=lambda part: type(part).__name__)
def test_images_of_another_shape_are_drawn_for_anew_from_the_streams_beginning(part):
    (_, [(_, own)]), *_ = told(part)
    for x in (images(4), images(6, 20)):
        assert torch.equal(part(x, own), part(x, rng("augment", type(part).__name__, 0, 0)))


class Noise(Shift):
    """A number a pixel."""

    def draws(self, n, height, width, rng):
        return (rng.random((n, height, width)),)

    def __call__(self, x, rng):
        (noise,) = drawn(self, x, rng)
        return x + noise[:, None].float()


def test_batches_are_drawn_together_up_to_the_end_of_an_epoch_and_no_further(monkeypatch):
    asked, together = [], []

    def slowly():
        for task in tasks():
            asked.append(task[:2])
            yield task

    right = draws.copied
    monkeypatch.setattr(
        draws, "copied", lambda groups, device: [together.append(len(groups)), right(groups, device)][1]
    )
    every = ahead(slowly(), 5, lambda *_: (Noise(),), rng, (6, 12, 12), CPU)
    next(every)
    assert len(asked) == 5
    assert len(list(every)) == 9
    assert together == [10, 10], "of each batch its places and a part"
    together.clear()
    monkeypatch.setattr(draws, "AHEAD", 2)
    list(told(Noise()))
    assert together == [4, 4, 2, 4, 4, 2]
    together.clear()
    monkeypatch.setattr(draws, "MOST", 6 * 12 * 12 * 8 - 1)
    list(told(Noise()))
    assert together == [2] * 10
    together.clear()
    monkeypatch.setattr(draws, "AHEAD", 64)
    list(ahead(tasks()[3:], 5, lambda *_: (), rng, (6, 12, 12), CPU))
    assert together == [2, 5], "what was left of an epoch, and the next"


def test_a_part_that_hands_its_draws_to_another_is_told():
    class Twice(Shift):
        def draws(self, n, height, width, rng):
            return (rng.random(n),)

        def __call__(self, x, rng):
            return Flip()(x, rng)

    (_, [(part, own)]), *_ = told(Twice())
    with pytest.raises(Problem, match="^Flip got what Twice drew: a part that calls another must have no draws$"):
        part(images(), own)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(6), "gives ndarray: a tuple is needed"),
        ((np.array(["a"]),), "gives an array of <U1: numbers are needed"),
        ((np.zeros(6, complex),), "gives an array of complex128: numbers are needed"),
        ((np.zeros(6, np.longdouble),), "gives an array of float128: numbers are needed"),
    ],
)
def test_draws_of_no_use_are_a_line(values, why):
    class Odd(Shift):
        def draws(self, n, height, width, rng):
            return values

        def __call__(self, x, rng):
            return x + drawn(self, x, rng)[0]

    with pytest.raises(Problem, match=f"^Odd.draws {why}$"):
        next(told(Odd()))
    with pytest.raises(Problem, match=f"^Odd.draws {why}$"):
        Odd()(images(), rng("augment"))


class Copies(TorchDispatchMode):
    """Counts tensors that are made on another device out of one here."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


def test_an_epoch_is_copied_to_the_device_once():
    with Copies() as copies:
        every = list(told(device=torch.device("meta")))
    assert copies.count == 2
    (index, parts), *_ = every
    assert index.device.type == "meta"
    assert {value.device.type for _, mine in parts for value in mine.values} == {"meta"}
    with Copies() as copies:
        x = torch.empty(6, 3, 12, 12, device="meta")
        for part, mine in parts:
            x = part(x, mine)
    assert copies.count == 0
    assert x.shape == (6, 3, 12, 12)


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False, True]),
        np.arange(12).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.linspace(0, 1, 5),
        np.linspace(0, 1, 5, dtype=np.float32),
        np.empty((0, 3)),
        np.array(2.5),
        np.arange(3, dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_copies_have_every_bit(array):
    groups = copied([(array, 1.5), (), (np.array([7]), array)], CPU)
    assert groups[0][1] == 1.5
    assert groups[1] == ()
    for made in (groups[0][0], groups[2][1]):
        assert made.dtype == torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).dtype
        assert made.shape == array.shape
        assert np.array_equal(made.numpy(), array)
    assert groups[2][0].tolist() == [7]


def test_of_nothing_there_is_a_copy_too():
    ((empty,),) = copied([(np.zeros((0, 2)),)], CPU)
    assert empty.shape == (0, 2)


def test_numbers_stay_here():
    lam, perm = drawn(Mixup(), images(), rng("mix", "Mixup", 0, 0))
    own = rng("mix", "Mixup", 0, 0)
    assert (lam, perm.tolist()) == (own.beta(0.2, 0.2), own.permutation(6).tolist())


def test_a_class_that_draws_otherwise_than_the_one_above_has_no_reference():
    class Own(Shift):
        def draws(self, n, height, width, rng):
            return (rng.integers(0, 2, size=(2, n, 1)),)

    assert referenced(Shift())
    assert not referenced(Own())
