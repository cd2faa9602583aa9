"""Pictures of the data, against hand counts and files of the tests' own."""

import numpy as np
import pytest
from PIL import Image

from harness import Problem
from harness.gallery import data as gallery
from harness.parts.augment import Shift
from harness.parts.data import Digits, ImageFolder
from harness.parts.data.holdout import Holdout
from tests.kit.tiny import BASELINE, Lying


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two classes: three and two training files, each a shade of its own, one test file each."""
    root = tmp_path_factory.mktemp("tree")
    sizes = {"train/n0": [(30, 20), (40, 20), (8, 90)], "train/n1": [(30, 20), (31, 21)]}
    sizes |= {"val/n0": [(50, 60)], "val/n1": [(70, 80)]}
    for number, (folder, shapes) in enumerate(sizes.items()):
        (root / folder).mkdir(parents=True)
        for i, shape in enumerate(shapes):
            Image.new("RGB", shape, (60 * number, 40 * i, 9)).save(root / folder / f"{i}.png")
    return root


def test_labels_are_counted_in_every_split():
    images = Holdout(of=Digits(), share=0.2).load()
    counts = gallery.label_counts(images)
    assert list(counts) == ["train", "val", "test"]
    for split, own in counts.items():
        labels = list(images.arrays[split][1])
        assert own.tolist() == [labels.count(k) for k in range(10)]


@pytest.mark.parametrize("size", [16, 80])
def test_sizes_are_those_of_the_files(tree, size):
    found = gallery.file_sizes(ImageFolder(root=tree, size=size))
    assert found["train"].tolist() == [[30, 20], [40, 20], [8, 90], [30, 20], [31, 21]]
    assert found["test"].tolist() == [[50, 60], [70, 80]]


def test_classes_have_the_names_that_labels_csv_tells(tree, tmp_path):
    data = ImageFolder(root=tmp_path)
    assert gallery.class_names(data, ("n0", "n1")) == ["n0", "n1"]
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfLabel,Latin Name,Common Name\r\nn1,mico,silvery, \r\nn0,x,  \r\n\r\n")
    assert gallery.class_names(Holdout(of=data), ("n0", "n1", "n2")) == ["n0", "silvery", "n2"]
    path.write_text("Label,Common Name\nn0,monkey\nn1,monkey\n")
    assert gallery.class_names(data, ("n0", "n1")) == ["n0", "n1"], "not two of one name"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Problem, match=r"labels\.csv cannot be read"):
        gallery.class_names(data, ("n0",))
    assert gallery.class_names(Digits(), ("0", "1")) == ["0", "1"]


class Same(Lying):
    def __call__(self, x, rng):
        return x


@pytest.mark.parametrize("size", [16, 80])
def test_samples_are_of_the_images_chosen(tree, size):
    """Without augmentation each draw is the image itself, whatever place the epoch's order gave it."""
    data = ImageFolder(root=tree, size=size, fit="squash")
    images, places = data.load(), np.array([0, 2, 3, 4])
    plain = gallery.prepared(images, "train", places)
    shades = [(0, 0, 9), (0, 80, 9), (60, 0, 9), (60, 40, 9)]
    assert [tuple(image[0, 0].tolist()) for image in plain] == shades
    assert {image.shape for image in plain} == {(size, size, 3)}
    drawn = gallery.augmented(images, BASELINE.but(data=data, augment=(Same(),)), places, draws=4)
    assert [np.array_equal(a, b) for row in drawn for a, b in zip(row, plain, strict=True)] == [True] * 16


def test_samples_show_the_augmentation():
    """Each is its image, moved by at most a pixel, and not all by the same."""
    spec, places = BASELINE.but(augment=(Shift(pixels=1),)), np.arange(5)
    plain = gallery.prepared(spec.data.load(), "train", places)
    moved = set()
    for row in gallery.augmented(spec.data.load(), spec, places, draws=6):
        for image, whole in zip(row, plain, strict=True):
            padded = np.pad(whole, ((1, 1), (1, 1), (0, 0)))
            ways = [(i, j) for i in range(3) for j in range(3) if np.array_equal(image, padded[i : i + 8, j : j + 8])]
            assert ways
            moved.add(ways[0])
    assert len(moved) > 3
