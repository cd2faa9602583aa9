"""Each operation in numpy is what Pillow makes of it by torchvision, in every pixel; and what refuses to be moved."""

import numpy as np
import pytest
import torch
from PIL import Image

from harness.parts.batched import OPERATIONS, carried_out
from harness.parts.data.scenes import followed
from harness.parts.operations import AGAIN, Operations, done, equalised, evenly, moved, steps
from harness.tricks.augmix import AugMix
from harness.tricks.auto_augment import AutoAugment
from harness.tricks.cutout import Cutout
from harness.tricks.randaugment import RandAugment
from harness.tricks.random_erasing import RandomErasing
from harness.tricks.trivial_augment import MOST, TrivialAugment

rng = np.random.default_rng


def pictures():
    """Noise, low contrast, two levels, one level; small, odd and wide; in colour and grey."""
    for channels in (1, 3):
        for height, width in ((8, 8), (32, 32), (9, 13), (2, 5)):
            yield rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)
        yield rng(1).normal(120, 20, (32, 24, channels)).clip(0, 255).astype(np.uint8)
        yield (rng(2).integers(0, 2, (32, 32, channels)) * 200).astype(np.uint8)
        yield np.full((6, 6, channels), 77, np.uint8)


@pytest.mark.parametrize("name", AGAIN)
def test_both_writings_are_torchvisions_in_every_pixel(name):
    strengths = {"Posterize": [8.0, 7.0, 4.0, 2.0], "Solarize": steps(1, 0, 31)[::4]}.get(name)
    if strengths is None:
        strengths = [sign * by for by in steps(0, MOST[name], 31)[::3] for sign in (1, -1)] if MOST.get(name) else [0.0]
    changed = 0
    for picture in pictures():
        photo = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        batch = torch.from_numpy(picture).permute(2, 0, 1).int().expand(len(strengths), -1, -1, -1)
        together = carried_out(batch, [[(name, strength)] for strength in strengths]).permute(0, 2, 3, 1)
        for strength, one in zip(strengths, together, strict=True):
            due = np.asarray(done(photo, name, strength)).reshape(picture.shape)
            ours = AGAIN[name](np.moveaxis(picture, 2, 0).astype(np.int64), strength)
            np.testing.assert_array_equal(np.moveaxis(ours, 0, 2), due)
            np.testing.assert_array_equal(one.numpy(), due)
            changed += not np.array_equal(due, picture)
    assert (changed > 0) == (name != "Identity")


PARTS = RandAugment(), RandAugment(operations=3), TrivialAugment(), AutoAugment(), AugMix(), AugMix(depth=2, chains=2)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 24, 32), (3, 9, 13)])
def test_a_batch_at_once_has_the_pixels_of_one_photo_after_the_other(part, channels, height, width):
    photos = rng(3).integers(0, 256, (60, height, width, channels)).astype(np.uint8)
    x = torch.from_numpy(photos).permute(0, 3, 1, 2).float()
    made = part(x, rng(4)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(made, part.on_pixels(photos, rng(4)))
    assert not np.array_equal(made, photos)


def test_few_images_and_large_ones_go_through_pillow(monkeypatch):
    called = []
    monkeypatch.setattr(Operations, "on_pixels", lambda self, photos, rng: [called.append(photos.shape), photos][1])
    for n, side in ((31, 32), (32, 49), (32, 48)):
        RandAugment()(torch.zeros(n, 3, side, side), rng(0))
    assert called == [(31, 32, 32, 3), (32, 49, 49, 3)]


def test_what_a_class_below_does_to_pixels_is_done():
    class Darker(RandAugment):
        def on_pixels(self, images, rng):
            return super().on_pixels(images, rng) // 2

    class Brighter(Darker):
        def together(self, x, rng):
            return x.clamp(min=200)

    class Batched(RandAugment):
        def together(self, x, rng):
            return 255 - x

    x = torch.from_numpy(rng(0).integers(0, 256, (40, 3, 16, 16))).float()
    assert torch.equal(Batched()(x[:9], rng(1)), 255 - x[:9])
    assert torch.equal(Darker()(x, rng(1)), RandAugment()(x, rng(1)).div(2, rounding_mode="floor"))
    assert Brighter()(x, rng(1)).min() == 200


def test_every_operation_has_both():
    assert {*AGAIN} == {*OPERATIONS, "Identity"}


def test_by_hand():
    image = np.arange(1, 7).reshape(1, 2, 3)
    assert moved(image, (1, 0, 1), (0, 1, 0)).tolist() == [[[2, 3, 0], [5, 6, 0]]]
    assert moved(image, (-1, 0, 3), (0, 1, 0)).tolist() == [[[3, 2, 1], [6, 5, 4]]]
    half = np.repeat([10, 20], 255).reshape(1, 10, 51)
    assert set(equalised(half, 0).ravel()) == {0, 255}
    assert [evenly(0, 30, 31, place) for place in (0, 9, 30)] == [0, 9, 30]


class Boxed:
    augment = ()


@pytest.mark.parametrize(
    "part", [RandomErasing(), Cutout(), TrivialAugment(), RandAugment(), AugMix()], ids=lambda p: type(p).__name__
)
def test_data_with_boxes_or_masks_refuse_it(part):
    spec = Boxed()
    followed(spec)
    spec.augment = (part,)
    with pytest.raises(
        ValueError, match=f"augment: {type(part).__name__} moves pixels, and boxes or masks do not follow"
    ):
        followed(spec)
