import os
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes as TorchvisionsCityscapes

from harness import Problem
from harness.evidence import Trace
from harness.parts.augment import Flip, ScaledCrop
from harness.parts.data import ADE20K, Cityscapes
from harness.parts.data.masks import CITY, nearest, values
from harness.parts.data.reading import opened
from harness.parts.draws import drawing
from harness.rng import streams
from harness.spec import parse, plain
from tests.kit.folders import CPU
from tests.kit.scenes import epoch, grey_png, masked, photo, streets


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Images are decoded in this process: what others decode is in test_scenes.py."""
    monkeypatch.setenv("HARNESS_DECODERS", "0")


def read(root, **settings):
    return ADE20K(root=root, **{"short": 30, "long": 64, **settings}).load()


def refused(root, kind=ADE20K, **settings):
    with pytest.raises(Problem) as caught:
        kind(root=root, **settings).load()
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}", "ROOT")


@pytest.fixture
def one(tmp_path):
    """A folder of one training image, 40 x 30 px, and a test image; its masks are grey and have classes 1 to 3."""
    masked(tmp_path, "training", "a", seed=1)
    masked(tmp_path, "validation", "b", seed=2)
    return tmp_path


def put(root, mask, name="training/a", **options):
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    image.save(root / "annotations" / f"{name}.png", **options)
    return image


def test_a_mask_is_its_classes_from_0_and_at_its_own_size(one):
    images = read(one)
    assert images.classes == ("1", "2", "3")
    assert images.notes == []
    for split, name in (("train", "training/a"), ("test", "validation/b")):
        stored = np.asarray(Image.open(one / "annotations" / f"{name}.png")).astype(int)
        mask = images.truth(split, 0)
        assert mask.dtype == np.int16
        assert np.array_equal(mask, stored - 1)
        assert set(np.unique(mask)) == {-1, 0, 1, 2}


def test_a_batch_has_a_label_a_pixel_and_none_where_it_is_padded(tmp_path):
    """At their own size, 30 px and more: the masks as they are stored."""
    masked(tmp_path, "training", "a", (40, 30), seed=1)
    masked(tmp_path, "training", "b", (30, 50), seed=2)
    masked(tmp_path, "validation", "c", seed=3)
    images = read(tmp_path)
    ((x, y),) = epoch(images, 2)
    assert x.shape == (2, 3, 50, 40)
    assert y.shape == (2, 50, 40)
    assert y.dtype == torch.int64
    order = images.order(0, 2, streams(0))[0]
    for image, mask, place in zip(x, y.numpy(), order, strict=True):
        stored = images.truth("train", place)
        height, width = stored.shape
        assert np.array_equal(mask[:height, :width], stored)
        assert (mask[height:] == -1).all()
        assert (mask[:, width:] == -1).all()
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


@pytest.mark.parametrize(("old", "new"), [(40, 30), (30, 40), (7, 7), (8, 4), (4, 8), (3, 2), (100, 33), (33, 100)])
def test_the_nearest_pixel_is_that_under_the_middle(old, new):
    due = [int((Fraction(2 * i + 1, 2)) * old / new) for i in range(new)]
    assert nearest(old, new).tolist() == due
    floats = torch.nn.functional.interpolate(torch.arange(old).float()[None, None], new, mode="nearest-exact")
    assert np.abs(nearest(old, new) - floats[0, 0].numpy()).max() <= 1, "torch's may be off by one, at a tie"


def test_a_mask_stays_on_its_image(tmp_path):
    """A photo that is white where its class is 2, resized, cut and flipped: the mask is still where it is white."""
    blocks = np.random.default_rng(0).integers(1, 3, (6, 8), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    masked(tmp_path, "training", "a", (160, 120), mask=blocks)
    masked(tmp_path, "validation", "b", (160, 120), classes=2)
    Image.fromarray(np.where(blocks == 2, 255, 0).astype(np.uint8)).save(
        tmp_path / "images/training/a.jpg", quality=100
    )
    images = read(tmp_path, short=90, long=200)
    for parts in ((), (Flip(),), (Flip(), ScaledCrop(size=64))):
        for number in range(4):
            ((x, y),) = epoch(images, 1, number, parts)
            white = x[0, 0] * images.std[0] + images.mean[0] > 128
            labelled = y[0] >= 0
            assert labelled.float().mean() > 0.4
            assert ((y[0] == 1) == white)[labelled].float().mean() > 0.97, "all but pixels on an edge"


def test_a_palette_is_read_by_its_indices(one):
    indices = np.arange(1200, dtype=np.uint8).reshape(30, 40) % 4
    image = Image.fromarray(indices)
    image.putpalette([9, 9, 9, 3, 3, 3, 1, 1, 1, 2, 2, 2] + [0, 0, 0] * 252)  # greys that are other numbers
    assert put(one, image).mode == "P"
    assert np.array_equal(read(one).truth("train", 0), indices.astype(int) - 1)


def test_16_bits_are_read_whole(one):
    numbers = np.array([0, 1, 2, 3, 300], np.uint16)[np.arange(1200).reshape(30, 40) % 5]
    put(one, numbers)
    images = read(one)
    assert np.array_equal(images.truth("train", 0), numbers.astype(int) - 1)
    assert len(images.classes) == 300
    told = next(note for note in images.notes if "classes are in no mask" in note)
    assert told == "296 of 300 classes are in no mask: 4, 5, 6, 7, 8 and 291 more"


@pytest.mark.parametrize("bits", [2, 4])
def test_a_few_bits_are_read_as_they_are_stored(one, bits):
    """Pillow makes 85 or 17 of a 1."""
    numbers = np.arange(1200).reshape(30, 40) % 4
    path = one / "annotations/training/a.png"
    grey_png(path, numbers, bits)
    assert np.asarray(Image.open(path)).max() == {2: 255, 4: 51}[bits]
    assert np.array_equal(values(opened(path)), numbers)
    images = read(one)
    assert images.classes == ("1", "2", "3")
    assert np.array_equal(images.truth("train", 0), numbers - 1)
    ((_, y),) = epoch(images, 1)
    assert np.array_equal(y[0].numpy(), images.truths("train", np.array([0]), [])[0])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_masks_in_colours_are_refused(one, mode):
    put(one, Image.new(mode, (40, 30)))
    said = f"data.root=ROOT: 1 masks are in colours: annotations/training/a.png ({mode}); save them with the number of"
    assert refused(one).startswith(said)


def test_masks_of_another_size_are_refused(one):
    put(one, np.ones((29, 40), np.uint8))
    said = refused(one)
    assert "1 masks are of another size than their images: annotations/training/a.png (40 x 29 px on 40 x 30)" in said
    put(one, np.ones((40, 30), np.uint8))
    assert "(30 x 40 px on 40 x 30)" in refused(one, short=99)


def test_missing_and_broken_files_are_refused(one):
    (one / "annotations/validation/b.png").rename(one / "b.png")
    assert refused(one).startswith("data.root=ROOT: 1 of 4 files are not there: annotations/validation/b.png; ")
    (one / "annotations/validation/b.png").write_bytes(b"no image")
    assert "annotations/validation/b.png does not decode" in refused(one)
    assert refused(one / "images").startswith("data.root=ROOT: no folder images/training")
    (one / "b.png").rename(one / "annotations/validation/b.png")
    for image in (one / "images/training").iterdir():
        image.unlink()
    assert refused(one) == "data.root=ROOT: there are no training images"


def test_what_lies_beside_is_told(one):
    put(one, np.ones((30, 40), np.uint8), "training/alone")
    (one / "images/training/notes.txt").write_text("x")
    (one / "images/training/.hidden").write_text("x")
    images = read(one)
    assert images.counts == {"train": 1, "test": 1}
    alone = "1 masks without an image, skipped: annotations/training/alone.png"
    assert images.notes == [alone, "skipped: images/training/notes.txt"]


def test_values_that_are_no_class_are_not_labelled_and_told(one):
    names = ["wall", "building, edifice", "sky"]
    rows = [f"{i}\t0.1\t9\t9\t{name}  \n" for i, name in enumerate(names, 1)]
    (one / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + "".join(rows))
    mask = np.arange(1200, dtype=np.uint8).reshape(30, 40) % 4
    mask[0, :7], mask[1, 1] = 4, 200
    put(one, mask)
    images = read(one)
    assert images.classes == ("wall", "building, edifice", "sky")
    told = (
        "1 masks with values that are no class, taken as not labelled: annotations/training/a.png (4: 7 px, 200: 1 px)"
    )
    assert images.notes == [told]
    due = np.where(mask > 3, -1, mask.astype(int) - 1)
    assert np.array_equal(images.truth("train", 0), due)
    (one / "objectInfo150.txt").write_text("Idx\tName\n1\ta\n3\tb\n")
    assert "objectInfo150.txt: classes 1, 2, … are needed" in refused(one)
    (one / "objectInfo150.txt").write_text("Idx\tName\none\ta\n")
    assert "objectInfo150.txt is no table of classes (ValueError" in refused(one, short=99)


def test_masks_without_a_label_are_told_and_a_set_of_them_is_refused(one):
    masked(one, "training", "void", mask=np.zeros((30, 40), np.uint8))
    assert read(one).notes == ["1 masks without a labelled pixel: annotations/training/void.png"]
    put(one, np.zeros((30, 40), np.uint8))
    assert refused(one).endswith("no training mask has a pixel that is labelled")


def test_a_class_that_only_test_images_have_is_refused(one):
    mask = np.ones((30, 40), np.uint8)
    mask[3] = 5
    put(one, mask, "validation/b")
    said = refused(one)
    assert said == "data.root=ROOT: classes that only test images have: 5: nobody can learn them"
    masked(one, "training", "c", mask=mask)
    images = read(one)
    assert images.present("train") == {0, 1, 2, 4}
    assert "1 of 5 classes are in no mask: 4" in images.notes
    sliced = read(one, limit=1)
    told = "1 classes that no training image of this slice has, and test images have: 5"
    assert (told in sliced.notes) == (sliced.present("train") == {0, 1, 2})


def test_a_slice_is_of_the_same_images(tmp_path):
    streets(tmp_path, train=8)
    whole, few, fewer = read(tmp_path), read(tmp_path, limit=5, limit_test=1), read(tmp_path, limit=3)
    assert few.counts == {"train": 5, "test": 1}
    assert fewer.counts == {"train": 3, "test": 3}
    assert set(fewer.content("train")) < set(few.content("train")) < set(whole.content("train"))
    assert len({whole.digest, few.digest, fewer.digest}) == 3


def test_what_a_mask_says_is_in_the_id(one, tiny):
    part = ADE20K(root=one, short=30)
    assert parse(plain(tiny.but(data=part))).data == part
    before = part.load().digest
    mask = np.asarray(Image.open(one / "annotations/training/a.png")).copy()
    mask[0, 0] = 1 + mask[0, 0] % 3
    put(one, mask)
    assert part.but(long=999).load().digest != before


def test_its_proof_sees_pixels_that_are_not_as_stored(tmp_path, tiny):
    data = ADE20K(root=streets(tmp_path), short=30)
    spec = tiny.but(data=data)
    (check,) = data.proof(spec, Trace(1, 3))
    assert check.ok
    sizes = [scene[2] * scene[3] for scenes in data.load().scenes.values() for scene in scenes]
    assert check.seen == f"0 of {sum(sizes):,}"
    images = data.load()
    images.table[2] = 0
    (check,) = data.proof(spec, Trace(1, 3))
    assert not check.ok
    named = [(images.root / scene.truth) for scenes in images.scenes.values() for scene in scenes]
    assert check.seen.split(" of ")[0] == f"{sum(int((np.asarray(Image.open(path)) == 2).sum()) for path in named):,}"


def test_scaled_crops_are_what_the_references_say(tmp_path):
    """Of larger and smaller images than the crop is, flipped or not."""
    images = ADE20K(root=streets(tmp_path), short=32, long=64).load()
    parts, sizes = (Flip(), ScaledCrop(size=40)), set()
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    for number in range(5):
        for batch, (x, y) in enumerate(epoch(images, 2, number, parts, seed=4)):
            assert x.shape == (2, 3, 40, 40)
            assert y.shape == (2, 40, 40)
            places = images.order(number, 2, streams(4))[batch]
            due = images.reference("train", places, drawing(parts, streams(4), number, batch))
            np.testing.assert_allclose(x.numpy(), (due - mean) / std, atol=2e-5)
            assert np.array_equal(y, images.truths("train", places, drawing(parts, streams(4), number, batch)))
            sizes |= {(int((image[0].abs().sum(1) > 0).sum()), int((image[0].abs().sum(0) > 0).sum())) for image in x}
    assert (40, 40) in sizes
    assert min(min(size) for size in sizes) < 25, "half of 32 px and more"


SOME = {0: "road", 1: "sidewalk", 13: "car", 18: "bicycle"}


def town(root, kind, mask):
    for split, city in (("train", "ulm"), ("train", "bonn"), ("val", "lindau")):
        stem = f"{split}/{city}/{city}_000000_000019"
        photo(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", 40, 20, len(city))
        path = root / "gtFine" / f"{stem}_gtFine_{kind}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return root


def test_cityscapes_by_training_labels(tmp_path):
    mask = np.array([0, 1, 13, 18, 255], np.uint8)[np.arange(800).reshape(20, 40) % 5]
    images = Cityscapes(root=town(tmp_path, "labelTrainIds", mask), short=20).load()
    assert images.counts == {"train": 2, "test": 1}
    assert len(images.classes) == 19
    assert {label: images.classes[label] for label in SOME} == SOME
    assert np.array_equal(images.truth("test", 0), np.where(mask == 255, -1, mask.astype(int)))
    assert [scene.name for scene in images.scenes["train"]] == [
        f"leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png" for city in ("bonn", "ulm")
    ]
    assert images.notes == ["15 of 19 classes are in no mask: building, wall, fence, pole, traffic light and 10 more"]


def test_cityscapes_by_its_own_labels(tmp_path):
    """7 road, 8 sidewalk, 26 car, 33 bicycle; 0 unlabelled, 4 static, 29 caravan are not judged, and 77 is nothing."""
    mask = np.array([7, 8, 26, 33, 0, 4, 29], np.uint8)[np.arange(800).reshape(20, 40) % 7]
    mask[0, 0] = 77
    images = Cityscapes(root=town(tmp_path, "labelIds", mask), short=20).load()
    due = np.full((20, 40), -1)
    for value, label in ((7, 0), (8, 1), (26, 13), (33, 18)):
        due[mask == value] = label
    assert np.array_equal(images.truth("train", 1), due)
    ((_, y),) = epoch(images, 2)
    assert np.array_equal(y[0], due)
    assert any(
        note.startswith("3 masks with values that are no class") and "(77: 1 px)" in note for note in images.notes
    )
    assert refused(tmp_path / "no", Cityscapes).startswith("data.root=ROOT: no folder leftImg8bit/train")


def test_cityscapes_classes_are_torchvisions():
    judged = {one.id: (one.train_id, one.name) for one in TorchvisionsCityscapes.classes if 0 <= one.train_id < 255}
    assert {value: (label, CITY[value]) for label, value in enumerate(CITY)} == judged
    assert max(one.id for one in TorchvisionsCityscapes.classes) == 33


real = pytest.mark.skipif("HARNESS_ADE" not in os.environ, reason="HARNESS_ADE names no folder in ADE20K's layout")


@real
def test_real_street_scenes():
    """Counted over all files beforehand."""
    images = ADE20K(root=os.environ["HARNESS_ADE"], short=180, long=240).load()
    assert images.counts == {"train": 367, "test": 233}
    assert images.classes == tuple(f"{i}" for i in range(1, 12))
    assert images.notes == []
    assert images.canvas == (180, 240)
    shares = {}
    for split, count in images.counts.items():
        masks = np.stack([images.truth(split, i) for i in range(count)])
        assert masks.shape == (count, 180, 240)
        shares[split] = np.bincount(masks.ravel() + 1, minlength=12) / masks.size
        rare = sum((mask == 10).any() for mask in masks)
        assert rare == {"train": 201, "test": 77}[split]
    assert [round(100 * shares[split][0], 1) for split in ("train", "test")] == [4.0, 3.9]
    assert [round(100 * shares[split][11], 2) for split in ("train", "test")] == [0.29, 0.19]
    x, y = next(images.train(0, 4, (Flip(), ScaledCrop(size=120)), streams(0), CPU))
    assert x.shape == (4, 3, 120, 120)
    assert set(np.unique(y)) <= set(range(-1, 11))
