import os
import shutil

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from experiments.digits import BASELINE
from harness import Problem
from harness.evidence import Trace
from harness.parts.augment import PAPER, Flip
from harness.parts.data import (
    ImageFolder,
    Places365,
    folders,
)
from harness.parts.data.reading import opened, rgb
from harness.rng import streams
from harness.spec import plain
from tests.kit import photos
from tests.kit.folders import CPU, batches, picture, pixels, read_anew, smooth

# --- folders of images ----------------------------------------------------------------------------------------------


def test_small_images_are_held_in_memory_and_photos_are_not(tree):
    small, photos = ImageFolder(root=tree, size=64).load(), ImageFolder(root=tree, size=65).load()
    assert type(small).__name__ == "Cached"
    assert small.arrays["train"][0].shape == (12, 3, 64, 64)
    assert type(photos).__name__ == "Photos"
    for images in (small, photos):
        assert images.classes == ("cat", "dog")
        assert images.counts == {"train": 12, "test": 6}
        assert (images.mean, images.std) == ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375))


@pytest.mark.parametrize("size", [8, 72])
@pytest.mark.parametrize("augment", [(), (Flip(),), PAPER[:2]])
def test_labels_stay_with_their_images(tree, size, augment):
    images = ImageFolder(root=tree, size=size).load()
    for x, y in [*batches(images, augment=augment), *images.test(4, CPU)]:
        assert x.shape[1:] == (3, size, size)
        red, _, blue = pixels(images, x).mean((2, 3)).T
        assert (red > blue).tolist() == [images.classes[label] == "cat" for label in y]


@pytest.mark.parametrize("size", [40, 72])
def test_squashed_images_are_the_whole_ones_for_training_and_test(tree, size):
    smooth(300, 90).save(tree / "val/cat/2.jpg")
    images = ImageFolder(root=tree, size=size, fit="squash").load()
    x = batches(images, 12)[0][0]
    served = torch.cat([x for x, _ in images.test(4, CPU)])
    assert served.shape == (6, 3, size, size)
    for made, folder in ((x, "train"), (served, "val")):
        files = [path for name in ("cat", "dog") for path in sorted((tree / folder / name).iterdir())]
        wanted = [
            np.asarray(Image.open(f).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) for f in files
        ]
        ours = [np.rint(image.permute(1, 2, 0).numpy()).astype(int) for image in pixels(images, made)]
        if folder == "train":  # in an order of its own
            assert sorted(image.astype(np.uint8).tobytes() for image in ours) == sorted(i.tobytes() for i in wanted)
        else:
            assert max(np.abs(a - b).max() for a, b in zip(ours, wanted, strict=True)) == 0
    cut = torch.cat([x for x, _ in ImageFolder(root=tree, size=size).load().test(4, CPU)])
    assert not torch.equal(cut[2], served[2])
    assert ImageFolder(root=tree, size=size).load().digest == images.digest


def test_how_images_are_fitted_is_of_the_id_only_where_it_is_not_as_it_was(tree):
    parts = [ImageFolder(root=tree, size=72), ImageFolder(root=tree, size=72, fit="squash")]
    forms = [plain(part, lambda part: part.identity()) for part in parts]
    assert "fit" not in forms[0]
    assert forms[1] == forms[0] | {"fit": "squash"}


def test_pixels_by_half_of_white_lie_between_minus_one_and_one(tree):
    half = (127.5,) * 3
    Image.fromarray(np.arange(0, 256, dtype=np.uint8).repeat(16).reshape(64, 64)).save(
        tree / "val/cat/0.jpg", quality=100
    )
    images = ImageFolder(root=tree, size=64, fit="squash", mean=half, std=half).load()
    x = next(images.test(1, CPU))[0]
    shades = images.arrays["test"][0][:1]
    np.testing.assert_allclose(x.numpy(), shades / 255 * 2.0 - 1.0, atol=1e-6)
    assert x.min() < -0.97
    assert x.max() > 0.97


# --- as large sets are ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos") / "imagenet"
    photos.make(root)
    return root


def test_a_folder_of_a_thousand_classes_is_as_torchvision_lists_it(thousand):
    images = ImageFolder(root=thousand, size=72).load()
    assert len(images.classes) == 1000
    assert images.counts == {"train": 2000, "test": 1000}
    assert images.notes == []  # what torchvision leaves beside the folders is not looked at
    for split, part in (("train", "train"), ("test", "val")):
        theirs = torchvision.datasets.ImageFolder(thousand / part)
        assert images.classes == tuple(theirs.classes)
        assert [(str(thousand / name), label) for name, label in images.files[split]] == theirs.samples
    limited = ImageFolder(root=thousand, size=72, limit=1000, limit_test=1500).load()
    assert limited.counts == {"train": 1000, "test": 1000}
    assert [label for _, label in limited.files["train"]] == list(range(1000))
    with pytest.raises(Problem, match="a slice of 999 images of train/ leaves some of the 1000 classes"):
        ImageFolder(root=thousand, size=72, limit=999).load()


def test_every_kind_of_file_is_read_as_torchvision_reads_it(thousand):
    """The camera's orientation is not heeded, colour profiles neither."""
    from torchvision.datasets.folder import default_loader

    for kind in photos.KINDS:
        path = next(thousand.glob(f"train/n00000[1-9]*/*_{kind}.JPEG"))
        image = rgb(opened(path))
        assert image.size == photos.SHAPES.get(kind, (37, 29))
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(default_loader(path)))


def test_batches_of_every_kind_show_their_classes(thousand):
    images = ImageFolder(root=thousand, size=72).load()
    train, test = next(images.train(0, 64, PAPER[:2], streams(0), CPU)), next(images.test(64, CPU))
    entries = [images.files["train"][i] for i in streams(0)("order", 0).permutation(2000)[:64]]
    for (x, y), names in ((train, entries), (test, images.files["test"][:64])):
        assert x.shape == (64, 3, 72, 72)
        assert y.tolist() == [label for _, label in names]
        means = pixels(images, x).mean((2, 3)).numpy()
        for mean, (name, label) in zip(means, names, strict=True):
            if "grey" in name:
                assert np.ptp(mean) < 1
            else:
                np.testing.assert_allclose(mean, np.minimum(np.array(photos.colour(label)) + 2.5, 255), atol=4)


PLACES = ("a/airfield", "b/bar", "b/bar/outdoor")


@pytest.fixture
def places(tmp_path):
    """Six images for training and four for test, small and large ones, in an order of their own."""
    root = tmp_path / "places"
    train = [(f"/{PLACES[i % 3]}/{i:08d}.jpg", i % 3) for i in (5, 0, 4, 1, 3, 2)]
    val = [(f"Places365_val_{i:08d}.jpg", (2, 0, 1, 2)[i]) for i in range(4)]
    for kind, scale in (("256", 1), ("large", 3)):
        for folder, entries in ((f"data_{kind}_standard", train), (f"val_{kind}", val)):
            for name, label in entries:
                path = root / folder / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                picture([(200, 0, 0), (0, 200, 0), (0, 0, 200)][label], 90 * scale, 80 * scale).save(path)
    lists = {"categories_places365": [(f"/{name}", i) for i, name in enumerate(PLACES)]}
    lists |= {"places365_train_standard": train, "places365_val": val}
    for name, pairs in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{one} {number}\n" for one, number in pairs))
    return root


@pytest.mark.parametrize("small", [True, False])
def test_places_are_as_torchvision_reads_them(places, small, monkeypatch):
    images = Places365(root=places, size=72, small=small).load()
    assert images.classes == PLACES
    assert images.counts == {"train": 6, "test": 4}
    monkeypatch.setattr(torchvision.datasets.Places365, "_check_integrity", lambda *_: True)  # of the real lists
    for split, named in (("train", "train-standard"), ("test", "val")):
        theirs = torchvision.datasets.Places365(places, split=named, small=small)
        assert theirs.imgs == [(str(places / name), label) for name, label in images.files[split]]
        assert theirs.classes == [f"/{name}" for name in images.classes]
    for x, y in [*batches(images, 3, augment=PAPER[:2]), *images.test(2, CPU)]:
        assert x.shape[1:] == (3, 72, 72)
        assert pixels(images, x).mean((2, 3)).argmax(1).tolist() == y.tolist()
    assert Places365(root=places, size=8, small=small).load().arrays["train"][0].shape == (6, 3, 8, 8)
    assert Places365(root=places, size=72, small=small, limit=3).load().counts == {"train": 3, "test": 4}


def test_the_id_of_places_is_their_content(places, tmp_path):
    def digest(root):
        folders._loaded.cache_clear()
        return Places365(root=root, size=72).load().digest

    first = digest(places)
    assert digest(shutil.copytree(places, tmp_path / "elsewhere")) == first
    names = places / "places365_val.txt"
    names.write_text(names.read_text().replace("00000000.jpg 2", "00000000.jpg 1"))
    assert digest(places) != first


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda root: shutil.rmtree(root),
            "no categories_places365.txt, places365_train_standard.txt, .*, val_256/; lay",
        ),
        (lambda root: shutil.rmtree(root / "val_256"), "places: no val_256/; lay it out as torchvision"),
        (lambda root: (root / "places365_val.txt").unlink(), "places: no places365_val.txt; lay"),
        (lambda root: (root / "places365_val.txt").write_text("one\n"), "places365_val.txt is not a list of names"),
        (
            lambda root: (root / "places365_val.txt").write_text("x.jpg 3\n"),
            "class of val_256/x.jpg is not among the 3",
        ),
        (lambda root: (root / "places365_val.txt").write_text("x.jpg 2\n"), "val_256/x.jpg cannot be read .No such"),
        (lambda root: (root / "val_256/Places365_val_00000001.jpg").write_text("x"), "1.jpg does not decode"),
    ],
    ids=["all", "folder", "list", "no numbers", "class", "file", "broken"],
)
def test_what_places_lack_is_said_in_a_line(places, spoil, says):
    spoil(places)
    with pytest.raises(Problem, match=says) as caught:
        Places365(root=places).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root), "no such folder"),
        (lambda root: shutil.rmtree(root / "val"), "no folder val/"),
        (lambda root: [shutil.rmtree(root / part / "dog") for part in ("train", "val")], "at least two classes"),
        (
            lambda root: (root / "train/dog").rename(root / "train/wolf"),
            "classes differ: wolf is in train/ alone, dog is in val/ alone",
        ),
        (lambda root: [file.unlink() for file in (root / "val/dog").iterdir()], "no image in val/dog"),
        (lambda root: [file.write_text("x") for file in (root / "train/cat").iterdir()], "train/cat/0.jpg"),
    ],
    ids=["missing", "no val", "one class", "other classes", "empty class", "no images"],
)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(tree, spoil, message):
    spoil(tree)
    with pytest.raises(Problem, match=message) as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)
    assert str(tree) in str(caught.value)


@pytest.mark.parametrize("size", [8, 224])
def test_a_slice_of_a_folder_reads_its_files_alone_and_is_a_data_set_of_its_own(tree, size):
    whole, part = ImageFolder(root=tree, size=size), ImageFolder(root=tree, size=size, limit=4, limit_test=2)
    (tree / "train" / "cat" / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(Problem, match=r"bad\.jpg does not decode"):
        whole.load()
    assert part.load().counts == {"train": 4, "test": 2}
    (tree / "train" / "cat" / "bad.jpg").unlink()
    assert whole.load().counts == {"train": 12, "test": 6}
    assert whole.identity()["digest"] != part.identity()["digest"]
    assert ImageFolder(root=tree, size=size, limit=12).load().digest == whole.load().digest
    with pytest.raises(Problem, match="a slice of 1 images of val/ leaves some of the 2 classes without any"):
        ImageFolder(root=tree, size=size, limit_test=1).load()


@pytest.mark.parametrize("limit", [2, 4, 11])
def test_a_slice_is_even_over_what_is_an_image(tree, limit):
    for i in range(20):
        (tree / f"train/cat/{i}.txt").write_text("no image")
    (tree / "train/dog/3.png").rename(tree / "train/dog/3")  # one by its content
    (tree / "train/cat/away").symlink_to("nowhere")
    with pytest.raises(Problem, match="train/cat/away cannot be read"):
        ImageFolder(root=tree, size=72, limit=99).load()
    (tree / "train/cat/away").unlink()
    images = read_anew(tree, 72)
    part = ImageFolder(root=tree, size=72, limit=limit).load()
    labels = [label for _, label in part.files["train"]]
    assert len(labels) == limit
    assert abs(labels.count(0) - labels.count(1)) == limit % 2
    skipped = [note for note in images.notes if "skipped" in note]
    assert len(skipped) == 1
    assert skipped[0].endswith("train/cat/12.txt and 15 more")
    assert [note for note in part.notes if "skipped" in note] == skipped


# --- real photos ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif("HARNESS_PHOTOS" not in os.environ, reason="HARNESS_PHOTOS names no ImageFolder tree of photos")
def test_real_photos_as_found_in_the_wild():
    """Ten monkey species: one .png among the .jpg, one file without a dot in its name."""

    images = ImageFolder(root=os.environ["HARNESS_PHOTOS"], size=224).load()
    assert images.counts == {"train": 1097, "test": 272}
    assert len(images.classes) == 10
    assert [note for note in images.notes if "n9151jpg" in note]
    assert "train/n9/n9160.png" in {name for name, _ in images.files["train"]}
    x, y = next(images.train(0, 16, PAPER, streams(0), torch.device("cpu")))
    assert x.shape == (16, 3, 224, 224)
    assert x.isfinite().all()
    assert x.std() > 0.3
    assert len(set(y.tolist())) > 1


@pytest.mark.parametrize("size", [8, 72])
def test_labels_are_held_against_the_folders_once_more(tmp_path, size):
    """Of the images that are served each is looked up by its content, whatever became of order and names."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in "abc":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, size=(80, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    (tmp_path / "train" / "a" / "read me").write_text("no image")
    part = ImageFolder(root=tmp_path, size=size)
    spec = BASELINE.but(data=part)
    trace = Trace(1, 3, rng=streams(0))
    (check,) = part.proof(spec, trace)
    assert (check.seen, check.ok) == ("0 of 23", True), "eight of each class; one of those drawn is no image"
    images = part.load()
    if size == 8:
        images.arrays["train"][1][:] = (images.arrays["train"][1] + 1) % 3
    else:
        images.files["train"] = [(name, (label + 1) % 3) for name, label in images.files["train"]]
    (check,) = part.proof(spec, trace)
    assert not check.ok
    folders._loaded.cache_clear()
