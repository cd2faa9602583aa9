import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.parts.augment import ColorJitter, Flip, OnPixels, PCANoise, RandomAreaCrop, ScaledCrop, Shift
from harness.parts.data import ADE20K, VOC, Holdout, repeated
from harness.parts.data.scenes import fitted
from harness.parts.draws import drawing
from harness.rng import streams
from harness.spec import Augment
from harness.tricks.class_balanced import class_balanced
from tests.kit.folders import CPU
from tests.kit.scenes import devkit, epoch, streets

SPLITS = {"train": (("2007", "train"),), "test": (("2007", "test"),)}
COLOUR = (ColorJitter(), PCANoise())


@pytest.fixture
def room(tmp_path):
    devkit(tmp_path)
    return VOC(root=tmp_path, short=32, long=48, **SPLITS)


@pytest.fixture
def street(tmp_path):
    return ADE20K(root=streets(tmp_path), short=32, long=48)


@pytest.fixture(params=["boxes", "mask"])
def data(request):
    return request.getfixturevalue({"boxes": "room", "mask": "street"}[request.param])


@pytest.mark.parametrize(
    ("height", "width", "short", "long", "due"),
    [
        (375, 500, 600, 1000, (600, 800)),
        (333, 500, 600, 1000, (600, 901)),  # 900.9
        (200, 500, 600, 1000, (400, 1000)),  # the long side ends it
        (500, 200, 600, 1000, (1000, 400)),
        (480, 640, 240, 320, (240, 320)),
        (3, 4, 2, 9, (2, 3)),  # 2.67
        (2, 5, 1, 9, (1, 3)),  # 2.5, a half, goes up
        (1, 1000, 600, 100, (1, 100)),  # never to nothing
    ],
)
def test_images_are_fitted_to_a_short_and_a_long_side(height, width, short, long, due):
    assert fitted(height, width, short, long) == due


def test_images_are_resized_by_pillow_normalised_and_padded_with_nothing(room):
    images = room.load()
    (x, frames), *more = images.test(2, CPU)
    assert not more
    assert frames.tolist() == [[44, 32, 60, 44, 0, 0], [32, 44, 44, 60, 1, 0]], "32 px by 60/44: 43.6"
    assert x.shape == (2, 3, 44, 44)
    for image, name, (height, width) in zip(x, ("late", "later"), ((44, 32), (32, 44)), strict=True):
        file = Image.open(room.root / f"VOC2007/JPEGImages/{name}.jpg")
        pixels = np.asarray(file.resize((width, height), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        mean, std = (np.array(values).reshape(3, 1, 1) for values in (room.mean, room.std))
        due = np.zeros((3, 44, 44))
        due[:, :height, :width] = (pixels - mean) / std
        np.testing.assert_allclose(image.numpy(), due, atol=1e-5)


def test_the_canvas_holds_the_greatest_of_all_images(data):
    images = data.load()
    served = [x.shape[2:] for x, _ in [*epoch(images, 1), *images.test(1, CPU)]]
    assert images.canvas == (max(h for h, _ in served), max(w for _, w in served)) == (48, 48)


def test_a_batch_is_a_function_of_seed_epoch_and_number(data):
    images, parts = data.load(), (Flip(), *COLOUR)
    first = epoch(images, 2, 3, parts, seed=1)
    assert len(first) == 2
    for again in (epoch(images, 2, 3, parts, seed=1), [None, *epoch(images, 2, 3, parts, seed=1, start=1)]):
        for (x, y), other in zip(first, again, strict=True):
            assert other is None or (torch.equal(x, other[0]) and torch.equal(y, other[1]))
    for other in (epoch(images, 2, 4, parts, seed=1), epoch(images, 2, 3, parts, seed=2)):
        assert not any(torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


@pytest.mark.parametrize("decoders", ["0", "2"])
def test_batches_do_not_depend_on_the_number_of_decoders(data, decoders, monkeypatch):
    images = data.load()
    due = epoch(images, 2, 0, (Flip(),))
    monkeypatch.setenv("HARNESS_DECODERS", decoders)
    for (x, y), (again, truth) in zip(due, epoch(images, 2, 0, (Flip(),)), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, truth)


class Rows(Augment):
    """Takes from every second row; leaves pixels where they are, and has no reference."""

    moves = False

    def __call__(self, x, rng):
        x[:, :, ::2] -= 3
        return x


class Overturn(Augment):
    """Turns images upside down, with what is known of them; it has no reference."""

    def __call__(self, x, rng):
        return x.flip(2)

    def pair(self, x, y, sizes, rng):
        for image, truth, (height, _) in zip(x, y, sizes.tolist(), strict=True):
            image[:, :height] = image[:, :height].flip(1)
            if y.is_floating_point():
                truth[truth[:, 0] > 0] *= torch.tensor([1, 1, -1, 1, -1, 1])
                truth[truth[:, 0] > 0] += torch.tensor([0, 0, height, 0, height, 0])
                truth[:, [2, 4]] = truth[:, [4, 2]]
            else:
                truth[:height] = truth[:height].flip(0)
        return x, y


@pytest.mark.parametrize("size", [None, 21])
@pytest.mark.parametrize(
    ("parts", "moving"),
    [((), False), ((Flip(),), True), (COLOUR, False), ((Rows(), Flip(), Flip()), True), ((Overturn(), Flip()), True)],
)
def test_what_is_served_is_what_the_references_say(data, parts, moving, size):
    """Images of several sizes in one batch; at another size too."""
    images = data.load() if size is None else data.load().resized(size)
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    moved, shapes = 0, set()
    for number, (x, y) in enumerate(epoch(images, 2, 1, parts, seed=5)):
        places = images.order(1, 2, streams(5))[number]
        due = images.reference("train", places, drawing(parts, streams(5), 1, number))
        np.testing.assert_allclose(x.numpy(), (due - mean) / std, atol=2e-5)
        truths = images.truths("train", places, drawing(parts, streams(5), 1, number))
        np.testing.assert_allclose(y.numpy(), truths, atol=1e-4)
        moved += not np.array_equal(truths, images.truths("train", places, []))
        shapes |= {fitted(*images.scenes["train"][place][2:4], images.size, images.long) for place in places}  # type: ignore[call-arg]
    assert bool(moved) == moving
    assert len(shapes) > 2, "else nothing is padded"


def test_test_images_are_what_the_references_say(data):
    images = data.load()
    ((x, frames),) = images.test(3, CPU)
    due = images.reference("test", np.arange(images.counts["test"]), [])
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    np.testing.assert_allclose(x.numpy(), (due - mean) / std, atol=2e-5)
    assert frames[:, 4].tolist() == list(range(images.counts["test"]))
    for place, (_, _, height, width, _, _) in enumerate(frames.int().tolist()):
        scene = images.scenes["test"][place]
        with Image.open(images.root / scene.name) as file:
            assert file.size == (width, height)


def test_resized_images_keep_the_ratio_of_their_bounds(room):
    images = room.load().resized(48)
    assert (images.size, images.tested, images.long) == (48, 48, 72)
    assert images.canvas == (72, 72)


def test_parts_that_move_pixels_alone_are_refused_before_anything_is_read(data, tiny):
    spec = tiny.but(data=data.but(root="/nowhere"))

    class Own(OnPixels):
        def on_pixels(self, images, rng):
            return images

    for part in (Shift(), RandomAreaCrop(), Own()):
        with pytest.raises(Problem, match=rf"^augment: {type(part).__name__} moves pixels, and boxes or masks do not"):
            spec.but(augment=(Flip(), part)).agree()
    spec.but(augment=(Flip(), *COLOUR, Rows(), Overturn())).agree()
    spec.but(augment=(Shift(),), data=tiny.data).agree()
    with pytest.raises(Problem, match="Shift moves pixels"):
        spec.but(data=Holdout(of=spec.data), augment=(Shift(),)).agree()
    with pytest.raises(Problem, match="images with boxes or masks have none"):
        class_balanced(spec.but(augment=())).agree()


def test_scaled_crops_are_of_masks_alone_and_once(room, street, tiny):
    tiny.but(data=street, augment=(Flip(), ScaledCrop())).agree()
    for data in (room, tiny.data, Holdout(of=room)):
        with pytest.raises(Problem, match="ScaledCrop cuts images with masks"):
            tiny.but(data=data, augment=(ScaledCrop(),)).agree()
    with pytest.raises(Problem, match="ScaledCrop is there twice"):
        tiny.but(data=street, augment=(ScaledCrop(), ScaledCrop(size=99))).agree()


def test_an_image_has_no_class_of_its_own(data):
    images = data.load()
    with pytest.raises(Problem, match="^images with boxes or masks have no class of their own") as caught:
        images.labels("train")
    assert "\n" not in str(caught.value)
    assert images.strata("train").tolist() == [0] * images.counts["train"]


def test_some_are_held_out(data):
    whole, images = data.load(), Holdout(of=data, share=0.25).load()
    assert images.counts == {"train": whole.counts["train"] - 1, "val": 1, "test": whole.counts["test"]}
    assert sorted(images.content("train") + images.content("val")) == sorted(whole.content("train"))
    assert images.digest != whole.digest
    by_content = {content: whole.truth("train", i) for i, content in enumerate(whole.content("train"))}
    for split in ("train", "val"):
        for place, content in enumerate(images.content(split)):
            assert np.array_equal(images.truth(split, place), by_content[content]), "what is known goes with its image"
    blind = Holdout(of=data, share=0.25, blind=True).load()
    assert blind.content("test") == images.content("val")
    assert data.truth == Holdout(of=data).truth


def test_holding_out_the_last_image_of_a_class_is_refused(tmp_path):
    box = ("a", 2, 2, 20, 20)
    images = {f"{i}": (30, 30, [box]) for i in range(4)}
    devkit(tmp_path, {"train": images | {"only": (30, 30, [("b", 2, 2, 9, 9)])}, "test": {"t": (30, 30, [box])}})
    data = VOC(root=tmp_path, short=30, **SPLITS)
    with pytest.raises(Problem, match=r"data\.share=0\.8: no image of (a|b) is left for training"):
        Holdout(of=data, share=0.8).load()


def test_images_that_are_there_twice_are_told_of_by_what_is_known_of_them(tmp_path):
    folder = devkit(tmp_path, {"train": {f"{i}": (30, 30, [("a", 2, 2, 20, 20)]) for i in range(4)}, "test": {}})
    alike = (folder / "JPEGImages" / "0.jpg").read_bytes()
    (folder / "JPEGImages" / "1.jpg").write_bytes(alike)
    (folder / "ImageSets/Main/test.txt").write_text("3\n")
    data = VOC(root=tmp_path, short=30, **SPLITS)
    with pytest.raises(Problem, match="all 1 test images are training images to the byte"):
        repeated(data.load())
    (folder / "ImageSets/Main/train.txt").write_text("0\n1\n2\n")
    assert repeated(data.but(long=900).load()) == [], "alike, with the same box"
    text = (folder / "Annotations" / "1.xml").read_text()
    (folder / "Annotations" / "1.xml").write_text(text.replace(">20<", ">21<"))
    note = "images that are there, to the byte, with more than one annotation: 1; no network can learn both"
    assert repeated(data.but(long=901).load()) == [note]


def test_epochs_after_one_another_are_each_as_it_is_alone(data):
    images, how = data.load(), (2, (Flip(),), streams(0), CPU)
    apart = [batch for number in (1, 2) for batch in epoch(images, number=number, augment=(Flip(),))]
    served = list(images.train(1, *how, until=3))
    assert len(served) == len(apart) > 2
    assert all(torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(served, apart, strict=True))
    assert all(torch.equal(x, z) for (x, _), (z, _) in zip(images.train(1, *how, 1, 3), apart[1:], strict=True))
