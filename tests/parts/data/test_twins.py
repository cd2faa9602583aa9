"""Twins of test images in training, against photos that were saved anew by hand."""

import numpy as np
import pytest
from PIL import Image

from experiments.digits import BASELINE
from harness import study
from harness.parts.data import Digits, Holdout, ImageFolder, reading, twins
from tests.kit.folders import picture


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Of six photos 0 and 3 are for training and, smaller and of another quality, for test."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    rng = np.random.default_rng(0)
    photos = [
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((120, 90), Image.Resampling.BICUBIC)
        for _ in range(6)
    ]
    for split, label, places in (
        ("train", "a", (0, 1)),
        ("train", "b", (2, 3)),
        ("val", "a", (0, 4)),
        ("val", "b", (5, 3)),
    ):
        (tmp_path / split / label).mkdir(parents=True)
        for i in places:
            photo = photos[i].resize((100, 75)) if split == "val" else photos[i]
            photo.save(tmp_path / split / label / f"{i}.jpg", quality=60 if split == "val" else 95)
    return tmp_path


DUE = {"val/a/0.jpg": True, "val/a/4.jpg": False, "val/b/3.jpg": True, "val/b/5.jpg": False}
LINE = (
    "of 4 test images are training images saved anew (they differ by less than 8 of 255 on average, at 32 px): "
    "accuracy is flattered; harness.gallery tells it without them"
)


@pytest.mark.parametrize("settings", [{"size": 72}, {"size": 72, "fit": "squash"}, {"size": 72, "grey": True}])
def test_photos_saved_twice_are_twins_and_photos_alike_are_none(tree, settings):
    images = ImageFolder(root=tree, **settings).load()
    names = [name for name, _ in images.files["test"]]
    assert dict(zip(names, twins.near(images).tolist(), strict=True)) == DUE


@pytest.mark.parametrize("size", [40, 72])
def test_a_plan_tells_them_before_the_first_run(tree, size):
    rungs = BASELINE.but(data=ImageFolder(root=tree, size=size), batch_size=2)
    made = study.plan(study.Study("s", "", rungs, (), (0,)), [("epochs", 2)])
    assert study.check(made) == [f"2 {LINE}"]
    (tree / "val/b/2.jpg").write_bytes((tree / "train/b/2.jpg").read_bytes())  # to the byte is told apart
    from harness.parts.data import folders

    folders._loaded.cache_clear()
    images = ImageFolder(root=tree, size=size).load()
    assert twins.near(images).sum() == 3
    assert twins.told(images) == [f"2 {LINE}".replace("of 4", "of 5")]


def test_what_is_held_out_of_training_is_no_twin(tree):
    held = Holdout(of=ImageFolder(root=tree, size=72), share=0.5).load()
    names = [name for name, _ in held.files["train"]]
    assert len(names) == 2
    assert twins.near(held).sum() == sum(name in ("train/a/0.jpg", "train/b/3.jpg") for name in names)


def test_it_is_worked_out_once_for_the_same_images(tree, monkeypatch):
    images = ImageFolder(root=tree, size=72).load()
    first = twins.near(images).tolist()
    monkeypatch.setattr(twins, "thumbnails", lambda *of: 1 / 0)
    assert twins.near(images).tolist() == first
    monkeypatch.setattr(reading, "trusting", False)
    with pytest.raises(ZeroDivisionError):
        twins.near(images)


def test_the_rough_comparison_leaves_no_twin_out():
    """Against every pair, pixel by pixel, of images around the bound."""
    rng = np.random.default_rng(0)
    trained = rng.uniform(0, 255, (20, 3, 32, 32)).astype(np.float32)
    shift = rng.uniform(14, 18, (60, 1, 1, 1))
    tested = (trained[rng.integers(0, 20, 60)] + shift * rng.uniform(0, 1, (60, 3, 32, 32))).astype(np.float32)
    due = [bool(min(np.abs(a - b).mean() for a in trained) < 8) for b in tested]
    assert 10 < sum(due) < 50
    assert twins.compared(trained, tested) == due


def test_only_photos_and_few_enough_are_compared(tree, monkeypatch):
    assert twins.near(Digits().load()) is None
    assert twins.told(Digits().load()) == []
    monkeypatch.setattr(twins, "PAIRS", 15)
    images = ImageFolder(root=tree, size=72).load()
    assert twins.near(images) is None
    assert twins.told(images) == ["photos saved anew for training and test were not looked for: 16 pairs are too many"]


def test_other_photos_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    for split, shade in (("train", 40), ("val", 60)):
        for name, colour in (("a", (shade, 0, 0)), ("b", (0, 0, shade))):
            (tmp_path / split / name).mkdir(parents=True)
            picture(colour).save(tmp_path / split / name / "0.png")
    images = ImageFolder(root=tmp_path, size=72).load()
    assert twins.near(images).tolist() == [True, True], "20 of 255 in one channel of three are 6.7 on average"
