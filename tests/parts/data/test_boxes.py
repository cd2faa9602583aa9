import os

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.evidence import Trace
from harness.parts.augment import Flip
from harness.parts.data import VOC
from harness.parts.data.boxes import TWENTY
from harness.rng import streams
from harness.spec import parse, plain
from tests.kit.scenes import ROOM, annotation, devkit, epoch, photo

SPLITS = {"train": (("2007", "train"),), "test": (("2007", "test"),)}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Images are decoded in this process: what others decode is in test_scenes.py."""
    monkeypatch.setenv("HARNESS_DECODERS", "0")


def read(root, lists=None, **settings):
    """A set of one training image by default, and a test image."""
    if lists is not None:
        devkit(root, lists)
    return VOC(root=root, **{"short": 32, "long": 64, **SPLITS, **settings}).load()


def of(*boxes, size=(64, 40), test=(("a", 1, 1, 9, 9),)):
    return {"train": {"one": (*size, list(boxes))}, "test": {"other": (40, 40, list(test))}}


def refused(root, lists=None, **settings):
    with pytest.raises(Problem) as caught:
        read(root, lists, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}", "ROOT")


GOOD = ("a", 11, 6, 20, 15)


def test_boxes_are_continuous_and_move_with_their_image(tmp_path):
    """64 x 40 px to 51 x 32; the first pixel is 1 in the file and lies between 0 and 1."""
    images = read(tmp_path, of(("a", 1, 1, 64, 40), ("b", 11, 6, 20, 15), ("a", 2.5, 3, 8, 9.25)))
    ((x, y),) = epoch(images, 1)
    assert x.shape == (1, 3, 32, 51)
    assert y.dtype == torch.float32
    by = 51 / 64, 32 / 40
    due = [
        *([32, 51, 40, 64, 0, 0], [1, 0, 0, 51, 32, 0]),
        *(
            [2, 10 * by[0], 5 * by[1], 20 * by[0], 15 * by[1], 0],
            [1, 1.5 * by[0], 2 * by[1], 8 * by[0], 9.25 * by[1], 0],
        ),
    ]
    np.testing.assert_allclose(y[0], due, rtol=1e-6)
    assert images.truth("train", 0).tolist() == [
        *([1, 1, 1, 64, 40, 0], [2, 11, 6, 20, 15, 0], [1, 2.5, 3, 8, 9.25, 0]),
    ]
    assert images.truth("train", 0).dtype == np.float64


def test_a_box_lies_on_the_same_pixels_after_all(tmp_path):
    """A photo that is red in its box alone, flipped or not: in the batch too it is red there and nowhere else."""
    folder = devkit(tmp_path, of(("a", 9, 5, 28, 36)))
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[4:36, 8:28, 0] = 255
    Image.fromarray(pixels).save(folder / "JPEGImages" / "one.jpg", quality=100, subsampling=0)
    images, seen = read(tmp_path, short=80, long=128), set()
    for seed in range(6):
        ((x, y),) = epoch(images, 1, augment=(Flip(),), seed=seed)
        red = x[0, 0] * images.std[0] + images.mean[0] > 128
        rows, columns = (np.flatnonzero(red.numpy().any(axis)) for axis in (1, 0))
        left, top, right, bottom = y[0, 1, 1:5].tolist()
        assert (
            abs(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - (left, top, right, bottom)).max() < 1
        )
        seen.add(left)
    assert seen == {16, 128 - 56}


def test_every_image_of_a_split_has_as_many_rows(tmp_path):
    images = read(tmp_path, ROOM, held=(("2007", "val"),), test=SPLITS["test"])
    assert images.counts == {"train": 4, "test": 2, "val": 1}
    assert images.classes == ("Dog", "cat"), "sorted by code, case kept"
    ((x, y),) = epoch(images, 4)
    assert y.shape == (4, 1 + 3, 6)
    assert x.shape[0] == 4
    by_place = {int(image[0, 4]): image for image in y}
    names = ["wide", "tall", "square", "empty"]
    assert [int((by_place[i][1:, 0] > 0).sum()) for i in range(4)] == [len(ROOM["train"][name][2]) for name in names]
    assert not by_place[3][1:].any()
    assert by_place[1][0, 2:4].tolist() == [50, 30]


def test_difficult_boxes_are_marked(tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    for mark, due in ((1, 1), (0, 0), (None, 0)):
        (folder / "Annotations" / "one.xml").write_text(annotation([GOOD], difficult=mark))
        images = read(tmp_path, mean=(mark or 9.0, 100, 100))  # another value of the part, which is read anew
        assert images.truth("train", 0)[:, 5].tolist() == [due]
        ((_, y),) = epoch(images, 1)
        assert y[0, 1, 5] == due


def test_parts_of_an_object_are_no_boxes_of_their_own(tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    path = folder / "Annotations" / "one.xml"
    path.write_text(path.read_text().replace("</object>", f"{part}</object>"))
    images = read(tmp_path)
    assert images.classes == ("a",)
    assert images.truth("train", 0).tolist() == [[1, 11, 6, 20, 15, 0]]


FLAT = "boxes without width or height, left out of training"
TURNED = "boxes that end before they begin, left out of training"
BEYOND = "boxes reach beyond their image, cut there in training"


@pytest.mark.parametrize(
    ("boxes", "what", "trained"),
    [
        ([(5, 7, 5, 9), (5, 7, 9, 7)], FLAT, []),
        ([(3, 3, 3, 3)], FLAT, []),
        ([(20, 5, 10, 9)], TURNED, []),
        ([(20, 9, 30, 5), (20, 9, 20, 5)], TURNED, []),
        ([(0, 1, 9, 9)], BEYOND, [[0, 0, 9, 9]]),
        ([(60, 30, 70.5, 50), (65, 1, 80, 9)], BEYOND, [[59, 29, 64, 40]]),
    ],
)
def test_boxes_that_are_none_are_told_and_tested_as_they_are_written(boxes, what, trained, tmp_path):
    """In a training and in a test image of the same size."""
    odd = [("a", *box) for box in boxes]
    devkit(tmp_path, {"train": {"one": (64, 40, [GOOD, *odd])}, "test": {"other": (64, 40, odd)}})
    images = read(tmp_path, short=40)
    named = [f"{name} (a {','.join(map(str, box))})" for name in ("one", "other") for box in boxes]
    assert images.notes == [f"{len(named)} {what}: {', '.join(named)}"]
    ((_, y),) = epoch(images, 1)
    kept = [[10, 5, 20, 15], *trained]
    assert [row[1:5] for row in y[0, 1:].tolist() if row[0]] == kept
    assert images.truths("train", np.array([0]), [])[0, 1:, 1:5].tolist() == kept
    assert images.truth("test", 0)[:, 1:5].tolist() == [list(box) for box in boxes]
    assert images.truth("train", 0)[1:, 1:5].tolist() == [list(box) for box in boxes]


def test_images_without_boxes_or_of_another_size_are_told(tmp_path):
    folder = devkit(tmp_path, of(GOOD) | {"val": {"bare": (30, 30, [])}})
    (folder / "Annotations" / "one.xml").write_text(annotation([GOOD], (40, 64)))
    images = read(tmp_path, train=(("2007", "train"), ("2007", "val")))
    assert "1 images without a box: bare" in images.notes
    assert "1 images of another size than their annotation says: one (40 x 64, and it is 64 x 40)" in images.notes


def test_an_image_is_not_turned_by_its_exif_and_may_be_grey_or_cmyk(tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    turned = Image.Exif()
    turned[0x0112] = 6
    photo(folder / "JPEGImages" / "one.jpg", 64, 40, exif=turned)
    for mode in ("L", "CMYK"):
        with Image.open(photo(folder / "JPEGImages" / "plain.jpg", 40, 40)) as plainly:
            plainly.convert(mode).save(folder / "JPEGImages" / "other.jpg")
        images = read(tmp_path, std=(50, 50, 50 + len(mode)))
        assert images.scenes["train"][0][2:4] == (40, 64)
        assert epoch(images, 1)[0][0].shape == (1, 3, 32, 51)
        ((x, _),) = images.test(1, torch.device("cpu"))
        channels = x[0] * torch.tensor(images.std).view(3, 1, 1) + torch.tensor(images.mean).view(3, 1, 1)
        assert (channels[0] - channels[1]).abs().max() < 1e-3 or mode == "CMYK"


@pytest.mark.parametrize(("name", "end"), [("JPEGImages/one", "jpg"), ("Annotations/other", "xml")])
def test_listed_files_that_are_not_there_are_refused(name, end, tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    (folder / f"{name}.{end}").unlink()
    said = refused(tmp_path)
    assert said.startswith(f"data.root=ROOT: 1 of 4 files are not there: VOC2007/{name}.{end}; ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotation><object>", "ParseError"),
        (annotation([("a", 1, 2, "x", 4)]), "could not convert string to float: 'x'"),
        (annotation([("a", 1, 2, "nan", 4)]), "a box of no finite numbers"),
        (annotation([("", 1, 2, 3, 4)]), "an object without name or bndbox"),
        ("<annotation><object><name>a</name></object></annotation>", "an object without name or bndbox"),
    ],
)
def test_annotations_that_cannot_be_read_are_refused(text, why, tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    (folder / "Annotations" / "one.xml").write_text(text)
    said = refused(tmp_path)
    assert said.startswith("1 of 2 annotations: ROOT/VOC2007/Annotations/one.xml is no annotation as VOC has them (")
    assert why in said


def test_images_that_do_not_decode_are_refused(tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    (folder / "JPEGImages" / "one.jpg").write_bytes(b"no image")
    assert "VOC2007/JPEGImages/one.jpg does not decode (no image format)" in refused(tmp_path)


def test_lists_are_ids_one_a_line(tmp_path):
    folder = devkit(tmp_path, of(GOOD))
    assert refused(tmp_path, train=(("2012", "train"),)).startswith(
        "data.train: ROOT/VOC2012/ImageSets/Main/train.txt "
    )
    (folder / "ImageSets/Main/test.txt").write_text("other  1\n")
    assert "data.test: ROOT/VOC2007/ImageSets/Main/test.txt is no list of ids, one a line: other  1" in refused(
        tmp_path
    )
    (folder / "ImageSets/Main/test.txt").write_text("\n")
    assert "test.txt is no list of ids" in refused(tmp_path)
    with pytest.raises(ValueError, match="trainval"):
        VOC(root=tmp_path, train=(("2007", "aeroplane_train"),))
    (folder / "ImageSets/Main/test.txt").write_text("other\n\nother\n")
    images = read(tmp_path)
    assert images.counts["test"] == 1
    assert "1 images are listed twice in data.test, and taken once: other" in images.notes


def test_held_out_images_are_in_no_other_split(tmp_path):
    folder = devkit(tmp_path, ROOM)
    (folder / "ImageSets/Main/trainval.txt").write_text("wide\nheld\n")
    settings = {"train": (("2007", "trainval"),), "held": (("2007", "val"),)}
    said = "data.held: 1 held-out images are in data.train too: VOC2007/JPEGImages/held.jpg: take them out"
    assert refused(tmp_path, **settings).startswith(said)
    assert "are in data.test too" in refused(tmp_path, held=SPLITS["test"])


def test_vocs_own_classes_are_twenty_and_others_go_by_name(tmp_path):
    both = {"train": {"one": (40, 40, [("dog", 1, 1, 9, 9)])}, "test": {"other": (30, 30, [("dog", 1, 1, 9, 9)])}}
    images = read(tmp_path / "a", both)
    assert images.classes == TWENTY == tuple(sorted(TWENTY))
    assert len(set(TWENTY)) == 20
    assert images.truth("train", 0)[0, 0] == TWENTY.index("dog") + 1 == 12
    both["train"]["one"][2].extend([("Dog", 1, 1, 9, 9), ("cells", 1, 1, 9, 9)])
    images = read(tmp_path / "b", both)
    assert images.classes == ("Dog", "cells", "dog")
    assert "classes beside VOC's twenty, so that there are those that training has: Dog, cells" in images.notes
    assert "classes that differ by case alone, and are two: Dog, dog" in images.notes


def test_a_class_that_only_test_images_have_is_refused(tmp_path):
    said = refused(tmp_path / "a", of(GOOD, test=[("b", 1, 1, 9, 9), ("c", 1, 1, 9, 9)]))
    assert said.startswith("data.root=ROOT: classes that only test images have: b, c: nobody can learn them")
    lists = of(("dog", 2, 2, 9, 9), test=[("cat", 1, 1, 9, 9)])
    assert "classes that only test images have: cat" in refused(tmp_path / "b", lists)
    lists = of(("dog", 2, 2, 9, 9), ("cat", 7, 7, 7, 9), test=[("cat", 1, 1, 9, 9)])
    assert "classes that only test images have: cat" in refused(tmp_path / "c", lists), "by a box that is trained on"
    lists["train"]["two"] = (40, 40, [("cat", 1, 1, 9, 9)])
    assert not read(tmp_path / "d", lists).present("test") - read(tmp_path / "d").present("train")
    lists["train"] = {f"{i}": (40, 40, [("cat" if i == 9 else "dog", 1, 1, 9, 9)]) for i in range(10)}
    sliced = read(tmp_path / "e", lists, limit=3)
    assert sliced.counts == {"train": 3, "test": 1}
    assert "9" not in {scene.name[-5] for scene in sliced.scenes["train"]}, "else there is nothing to tell"
    assert "1 classes that no training image of this slice has, and test images have: cat" in sliced.notes


def test_training_without_a_box_is_refused(tmp_path):
    assert refused(tmp_path, of(("a", 3, 3, 3, 3))).endswith("no training image has a box that can be trained on")


def test_what_an_annotation_says_is_in_the_id(tmp_path, tiny):
    folder = devkit(tmp_path, ROOM)
    part = VOC(root=tmp_path, short=32, **SPLITS)
    spec = tiny.but(data=part)
    assert parse(plain(spec)) == spec
    before = part.load().digest
    (folder / "Annotations" / "empty.xml").write_text(annotation([("cat", 1, 1, 9, 9)], (48, 36)))
    other = part.but(long=999).load().digest
    assert other != before
    (folder / "Annotations" / "held.xml").write_text(annotation([]))
    assert part.but(long=998).load().digest == other, "what is in no list is not read"
    assert part.but(short=40).load().digest == other
    assert "root" not in part.identity()


def test_its_proof_sees_boxes_that_are_not_as_written(tmp_path, tiny):
    folder = devkit(tmp_path, ROOM)
    path = folder / "Annotations" / "wide.xml"
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    path.write_text(path.read_text().replace("</object>", f"{part}</object>", 1))
    data = VOC(root=tmp_path, short=32, **SPLITS)
    spec = tiny.but(data=data)
    (check,) = data.proof(spec, Trace(1, 2))
    assert check.ok
    assert check.seen == "0 of 8"
    data.load().scenes["train"][0].truth[1, 2] += 1
    (check,) = data.proof(spec, Trace(1, 2))
    assert not check.ok
    assert check.seen == "2 of 8", "one too many and one too few"


def test_the_files_are_looked_at_once_and_again_where_they_changed(tmp_path, monkeypatch):
    from harness.parts.data import reading

    folder, seen = devkit(tmp_path, ROOM), []
    opened = reading.opened
    monkeypatch.setattr(reading, "opened", lambda path: seen.append(path.name) or opened(path))
    read(tmp_path, test=SPLITS["test"])
    assert sorted({*seen}) == ["empty.jpg", "late.jpg", "later.jpg", "square.jpg", "tall.jpg", "wide.jpg"]
    seen.clear()
    read(tmp_path, long=65)
    assert seen == []
    photo(folder / "JPEGImages" / "tall.jpg", 30, 60, 7)
    images = read(tmp_path, long=66)
    assert "tall.jpg" in seen
    assert images.scenes["train"][1][2:4] == (60, 30)


real = pytest.mark.skipif("HARNESS_VOC" not in os.environ, reason="HARNESS_VOC names no VOCdevkit")


@real
def test_real_blood_cells():
    """Counted over all files beforehand."""
    root = os.environ["HARNESS_VOC"]
    splits = {"train": (("2007", "train"),), "held": (("2007", "val"),), "test": SPLITS["test"]}
    images = VOC(root=root, short=240, long=320, **splits).load()
    assert images.counts == {"train": 205, "val": 87, "test": 72}
    assert images.classes == ("Platelets", "RBC", "WBC")
    assert images.canvas == (240, 320)
    every = [images.truth(split, i) for split, n in images.counts.items() for i in range(n)]
    assert np.bincount(np.concatenate(every)[:, 0].astype(int)).tolist() == [0, 361, 4155, 372]
    tested = np.concatenate([images.truth("test", i) for i in range(72)])
    assert np.bincount(tested[:, 0].astype(int)).tolist() == [0, 69, 805, 71]
    note = "2 boxes without width or height, left out of training: "
    assert images.notes == [f"{note}BloodImage_00343 (RBC 181,329,181,329), BloodImage_00338 (RBC 504,337,504,337)"]
    whole = VOC(root=root, train=(("2007", "trainval"),), test=SPLITS["test"]).load()
    assert whole.counts == {"train": 292, "test": 72}
    assert whole.canvas == (600, 800)
    assert whole.digest != images.digest
    x, y = next(whole.train(0, 2, (Flip(),), streams(0), torch.device("cpu")))
    assert x.shape == (2, 3, 600, 800)
    assert y.shape == (2, 1 + max(len(whole.truth("train", i)) for i in range(292)), 6)
