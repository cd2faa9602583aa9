import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.parts import draws
from harness.parts.augment import ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift
from harness.parts.draws import Drawn, ahead, at_once, copied, drawing, drawn, placed
from harness.rng import streams
from harness.tricks.alternating_flip import AlternatingFlip
from harness.tricks.cutmix import CutMix
from harness.tricks.cutout import Cutout
from harness.tricks.mixup import Mixup
from harness.tricks.one_of import OneOf
from harness.tricks.random_erasing import RandomErasing

CPU = torch.device("cpu")
PARTS = Shift(pixels=2), Flip(), Flip(), ColorJitter(), PCANoise(), RandomErasing(), Cutout(), AlternatingFlip()
rng = streams(3)


def images(n=6, side=12):
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (n, 3, side, side)).astype(np.float32))


def tasks(epochs=2, steps=5, n=6):
    order = {epoch: rng("order", epoch).permutation(steps * n) for epoch in range(epochs)}
    return [(epoch, step, order[epoch][step * n :][:n]) for epoch in range(epochs) for step in range(steps)]


def known(epoch, places):
    return placed(PARTS, rng, epoch, places)


@pytest.mark.parametrize("most", [1, 2, 64])
def test_what_is_drawn_ahead_is_what_is_drawn_at_the_step(most, monkeypatch):
    monkeypatch.setattr(draws, "AHEAD", most)
    every = list(ahead(tasks(), known, rng, (6, 12, 12), CPU))
    assert len(every) == len(tasks()) == 10
    for (index, parts), (epoch, step, places) in zip(every, tasks(), strict=True):
        assert index.tolist() == places.tolist()
        x = due = images()
        for (part, told), (own, generator) in zip(parts, drawing(known(epoch, places), rng, epoch, step), strict=True):
            assert isinstance(told, Drawn)
            x, due = part(x, told), own(due, generator)
            assert torch.equal(x, due)
        assert not torch.equal(x, images())


@pytest.mark.parametrize("mixers", [(Mixup(),), (Mixup(), CutMix()), (CutMix(), CutMix()), (OneOf(parts=(CutMix(),)),)])
def test_so_it_is_of_mixers(mixers):
    labels = torch.eye(6)
    for (_, parts), (epoch, step, _) in zip(
        ahead(tasks(), lambda *_: mixers, rng, (6, 12, 12), CPU, "mix"), tasks(), strict=True
    ):
        mixed = due = images(), labels
        for (part, told), (own, generator) in zip(parts, drawing(mixers, rng, epoch, step, "mix"), strict=True):
            mixed, due = part(*mixed, told), own(*due, generator)
        assert all(map(torch.equal, mixed, due))


def test_a_part_that_draws_as_it_goes_gets_its_generator():
    (_, [(_, crop), (_, flip)]), *_ = ahead(tasks(), lambda *_: (RandomAreaCrop(), Flip()), rng, (6, 12, 12), CPU)
    assert isinstance(crop, np.random.Generator)
    assert isinstance(flip, Drawn)
    assert crop.random() == rng("augment", "RandomAreaCrop", 0, 0).random()


def test_so_does_one_whose_class_calls_for_other_draws_than_the_class_above():
    class Both(Shift):
        def __call__(self, x, rng):
            return super().__call__(x, rng) if rng.random() < 0.5 else x

    class Smaller(Shift):
        pixels: int = 2

    (_, [(_, both), (_, smaller)]), *_ = ahead(tasks(), lambda *_: (Both(), Smaller()), rng, (6, 12, 12), CPU)
    assert isinstance(both, np.random.Generator)
    assert isinstance(smaller, Drawn)


@pytest.mark.parametrize("part", [Shift(pixels=2), Cutout(), PCANoise()], ids=lambda part: type(part).__name__)
def test_images_of_another_shape_are_drawn_for_anew_from_the_streams_beginning(part):
    (_, [(_, told)]), *_ = ahead(tasks(), lambda *_: (part,), rng, (6, 12, 12), CPU)
    for x in (images(4), images(6, 20)):
        assert torch.equal(part(x, told), part(x, rng("augment", type(part).__name__, 0, 0)))


def test_the_batches_of_an_epoch_are_drawn_at_once_and_those_of_the_next_are_not(monkeypatch):
    numbers = [[task[:2] for task in some] for some in at_once(tasks(2, 3))]
    assert numbers == [[(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]]
    monkeypatch.setattr(draws, "AHEAD", 2)
    assert [len(some) for some in at_once(tasks(2, 3))] == [2, 1, 2, 1]
    assert list(at_once([])) == []


class Copies(TorchDispatchMode):
    """Counts tensors that are made on another device out of one here."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


def test_an_epoch_is_copied_to_the_device_once():
    with Copies() as copies:
        every = list(ahead(tasks(), known, rng, (6, 12, 12), torch.device("meta")))
    assert copies.count == 2
    (index, parts), *_ = every
    assert index.device.type == "meta"
    assert {value.device.type for _, told in parts for value in told.values} == {"meta"}
    with Copies() as copies:
        x = torch.empty(6, 3, 12, 12, device="meta")
        for part, told in parts:
            x = part(x, told)
    assert copies.count <= 1  # what erases makes a tensor of its colour
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
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_copies_have_every_bit(array):
    groups = copied([(array, 1.5), (), (np.array([7]), array)], CPU)
    assert groups[0][1] == 1.5
    assert groups[1] == ()
    for made in (groups[0][0], groups[2][1]):
        assert made.dtype == torch.from_numpy(array.copy()).dtype
        assert np.array_equal(made.numpy(), array)
    assert groups[2][0].tolist() == [7]


def test_numbers_stay_here():
    lam, perm = drawn(Mixup(), images(), rng("mix", "Mixup", 0, 0))
    own = rng("mix", "Mixup", 0, 0)
    assert (lam, perm.tolist()) == (own.beta(0.2, 0.2), own.permutation(6).tolist())
