import numpy as np
import pytest

from experiments.digits import BASELINE
from harness import Problem
from harness.parts.augment import PAPER, Flip
from harness.parts.data import ImageFolder, Split, digests, folders
from harness.rng import streams
from tests.kit.folders import CPU, batches, pixels
from tests.kit.own_data import as_folder, photo, photos


@pytest.fixture
def pets(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return as_folder(tmp_path / "pets", photos())


def anew(**fields):
    folders._loaded.cache_clear()
    return ImageFolder(**fields).load()


# --- one channel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("fit", [None, "squash"])
def test_grey_is_the_luma_of_the_same_pixels(pets, size, fit):
    """By the standard's weights, within the roundings of three numbers."""
    colour = anew(root=pets, size=size, fit=fit)
    part = ImageFolder(root=pets, size=size, fit=fit, grey=True)
    grey = part.load()
    assert part.channels == grey.channels == 1
    assert grey.mean == pytest.approx((0.299 * 123.68 + 0.587 * 116.779 + 0.114 * 103.939,), abs=1e-3)
    assert len(grey.std) == 1
    (three, y), (one, again) = next(iter(colour.test(4, CPU))), next(iter(grey.test(4, CPU)))
    assert y.tolist() == again.tolist()
    assert one.shape == (4, 1, size, size)
    red, green, blue = pixels(colour, three).permute(1, 0, 2, 3)
    due = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (pixels(grey, one)[:, 0] - due).abs().max() < 0.51
    assert due.std() > 20


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("augment", [(), (Flip(),), PAPER[:1]])
def test_training_in_grey_is_what_the_reference_says(pets, size, augment):
    images = anew(root=pets, size=size, grey=True)
    (x, y), *_ = batches(images, 8, augment=augment)
    rng = streams(0)
    places = images.order(0, 8, rng)[0]
    from harness.parts.draws import drawing

    due = images.reference("train", places, drawing(augment, rng, 0, 0))
    assert y.tolist() == images.labels("train")[places].tolist()
    assert np.abs(pixels(images, x).numpy() - due).max() < 1.01


def test_grey_is_another_run_and_colour_is_what_it_was(pets):
    colour, grey = (BASELINE.but(data=ImageFolder(root=pets, size=16, grey=on)) for on in (False, True))
    assert colour.id == BASELINE.but(data=ImageFolder(root=pets, size=16)).id != grey.id


# --- digests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 72])
def test_digests_are_of_what_is_in_a_split(pets, tmp_path, size):
    one = anew(root=pets, size=size)
    pets.rename(tmp_path / "moved")
    moved = anew(root=tmp_path / "moved", size=size)
    assert (digests(moved), moved.digest) == (digests(one), one.digest)
    (tmp_path / "moved/val").rename(tmp_path / "moved/test")
    called = anew(root=tmp_path / "moved", size=size)
    assert (digests(called), called.digest) == (digests(one), one.digest), "what folders are called is no content"
    assert called.notes == ["the test set is test, by its name; data.test names another"]
    file = next((tmp_path / "moved/test/dog").iterdir())
    file.write_bytes(photo(77))
    other = anew(root=tmp_path / "moved", size=size)
    assert digests(other)["train"] == digests(one)["train"]
    assert digests(other)["test"] != digests(one)["test"]
    file.rename(tmp_path / "moved/test/cat/other.png")
    torn = anew(root=tmp_path / "moved", size=size)
    assert len({digests(images)["test"] for images in (one, other, torn)}) == 3, "nor is a class what it was"


# --- a split of one's own -------------------------------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path, monkeypatch):
    """root/CLASS/FILE: ten of each, and of the first cat a copy."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    root = tmp_path / "pets"
    for number in range(20):
        place = root / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(photo(number))
    (root / "cat/copy.png").write_bytes(photo(0))
    return root


@pytest.mark.parametrize("size", [16, 72])
def test_a_folder_a_class_is_split_by_content(classes, size):
    images = anew(root=classes, size=size, split=Split(share=0.3))
    assert images.counts["train"] + images.counts["test"] == 21
    assert np.bincount(images.labels("test")).tolist() in ([3, 3], [4, 3], [2, 3])
    assert not set(images.content("train")) & set(images.content("test"))
    again = anew(root=classes, size=size, split=Split(share=0.3))
    assert again.digest == images.digest
    assert images.content("test") == again.content("test")
    other = anew(root=classes, size=size, split=Split(share=0.3, seed=1))
    assert other.digest != images.digest
    assert set(other.content("test")) != set(images.content("test"))


def test_train_alone_is_the_same_data_as_no_folder_at_all(classes, tmp_path):
    bare = anew(root=classes, size=72, split=Split())
    classes.rename(tmp_path / "train")
    (tmp_path / "deep").mkdir()
    (tmp_path / "train").rename(tmp_path / "deep/train")
    within = anew(root=tmp_path / "deep", size=72, split=Split())
    assert (within.digest, digests(within)) == (bare.digest, digests(bare))
    few = anew(root=tmp_path / "deep", size=72, split=Split(), limit=4, limit_test=2)
    assert few.counts == {"train": 4, "test": 2}
    assert set(few.content("train")) < set(within.content("train"))
    with pytest.raises(Problem, match="a slice of 1 images of what data.split makes"):
        anew(root=tmp_path / "deep", size=72, split=Split(), limit=1)


def test_where_a_split_is_due_or_idle_is_said(classes, tmp_path):
    with pytest.raises(Problem, match=r"no folder train/ or val/, but 2 others \(cat, dog\): .* data.split=Split"):
        anew(root=classes)
    both = as_folder(tmp_path / "both", photos())
    with pytest.raises(Problem, match="data.split is for data without a test set, and there is val/: leave one"):
        anew(root=both, split=Split())
