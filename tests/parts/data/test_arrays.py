import numpy as np
import pytest

from experiments.digits import BASELINE
from harness import Problem
from harness.evidence import Trace
from harness.parts.data import Arrays, Split, arrays, digests
from harness.rng import streams

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
Y = np.arange(30) % 3 + 4  # classes 4, 5 and 6
FOUR = {"x_train": X[:20], "y_train": Y[:20], "x_test": X[20:], "y_test": Y[20:]}


def saved(root, stored, folder=False):
    if folder:
        root.mkdir()
        for name, array in stored.items():
            np.save(root / f"{name}.npy", array)
        return root
    np.savez(root.with_suffix(".npz"), **stored)
    return root.with_suffix(".npz")


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("form", ["NHWC", "NCHW", "NHW", "NHW1", "labels N x 1", "names"])
def test_it_serves_the_arrays_as_they_are(tmp_path, folder, form):
    stored, due = dict(FOUR), X.transpose(0, 3, 1, 2)
    if form == "NCHW":
        stored |= {name: stored[name].transpose(0, 3, 1, 2) for name in ("x_train", "x_test")}
    if form in ("NHW", "NHW1"):
        due = due[:, :1]
        last = slice(1) if form == "NHW1" else 0
        stored |= {name: stored[name][..., last] for name in ("x_train", "x_test")}
    if form == "labels N x 1":
        stored |= {name: stored[name][:, None].astype(np.uint8) for name in ("y_train", "y_test")}
    if form == "names":
        words = {"x": "images", "y": "labels"}
        stored = {"_".join([name[2:], words[name[0]]]): array for name, array in stored.items()}
    part = Arrays(root=saved(tmp_path / "a", stored, folder))
    images = part.load()
    assert images.counts == {"train": 20, "test": 10}
    assert images.classes == ("4", "5", "6")
    assert part.channels == images.channels == due.shape[1]
    assert images.size == 6
    assert np.array_equal(images.arrays["train"][0], due[:20])
    assert np.array_equal(images.arrays["test"][0], due[20:])
    assert images.arrays["test"][1].tolist() == (Y[20:] - 4).tolist()
    assert images.mean == pytest.approx(due[:20].mean((0, 2, 3)), abs=1e-3)
    assert images.std == pytest.approx(due[:20].std((0, 2, 3)), abs=1e-3)
    assert images.notes == ["the test set is test, by its name; data.test names another"]


def test_its_id_is_of_the_content(tmp_path):
    one = Arrays(root=saved(tmp_path / "a", FOUR))
    other = Arrays(root=saved(tmp_path / "b", FOUR, folder=True), test="test")
    assert BASELINE.but(data=one).id == BASELINE.but(data=other).id
    changed = FOUR["x_test"].copy()
    changed[3, 0, 0, 0] ^= 1
    third = Arrays(root=saved(tmp_path / "c", FOUR | {"x_test": changed}))
    assert third.load().digest != one.load().digest
    same = [split for split, own in digests(third.load()).items() if own == digests(one.load())[split]]
    assert same == ["train"]


def test_without_a_test_set_a_split_makes_one(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    path = saved(tmp_path / "a", {"images": X, "labels": Y})
    part = Arrays(root=path, split=Split(share=0.3), names=tmp_path / "names.txt")
    images = part.load()
    assert images.counts == {"train": 21, "test": 9}
    assert images.classes == ("e", "f", "g"), "the first line is of 0"
    assert np.bincount(images.labels("test")).tolist() == [3, 3, 3]
    stored = {image.tobytes(): label for image, label in zip(X.transpose(0, 3, 1, 2), Y, strict=True)}
    served = [
        stored.pop(image.tobytes()) == label + 4
        for split in images.counts
        for image, label in zip(*images.arrays[split], strict=True)
    ]
    assert all(served)
    assert not stored
    assert Arrays(root=path, split=Split(share=0.3), limit=6, limit_test=3).load().counts == {"train": 6, "test": 3}
    with pytest.raises(Problem, match="data.split is for data without a test set, and there is test"):
        Arrays(root=saved(tmp_path / "b", FOUR), split=Split()).load()


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"x": X, "y": Y}, "no x_test and y_test\\): name it in data.test, or set data.split=Split"),
        ({"a": X}, "no x_train and y_train; there are: a: name data.train"),
        (FOUR | {"x_train": X[:20] / 255}, "x_train is float64 20 x 6 x 6 x 3; uint8 N x H x W"),
        (FOUR | {"x_train": X[:20, :5]}, "x_train is uint8 20 x 5 x 6 x 3; uint8 N x H x W"),
        (FOUR | {"x_test": X[20:, :4, :4]}, "training and test images are of other sizes, or channels"),
        (FOUR | {"y_train": Y[:19]}, "y_train is int64 19; 20 whole numbers are needed, one an image"),
        (FOUR | {"y_train": np.eye(20)}, "y_train is float64 20 x 20; 20 whole numbers"),
        (FOUR | {"y_test": Y[20:] + 3}, "classes that only test images have: 7, 8, 9: nobody can learn them"),
        (FOUR | {"y_train": Y[:20] * 0}, "1 class of training images"),
        ({k: v for k, v in FOUR.items() if k != "y_test"}, "x_test has no labels: y_test is needed beside it"),
        (FOUR | {"x_train": np.array([{}])}, "cannot be read .ValueError"),
    ],
)
def test_what_will_not_do_is_one_line(tmp_path, stored, says):
    with pytest.raises(Problem, match=says) as caught:
        Arrays(root=saved(tmp_path / "a", stored)).load()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"data.root={tmp_path}")


def test_a_file_that_is_none_is_one_line(tmp_path):
    with pytest.raises(Problem, match=r"cannot be read \(FileNotFoundError"):
        Arrays(root=tmp_path / "a.npz").load()
    (tmp_path / "b.npz").write_bytes(b"PK and no more")
    with pytest.raises(Problem, match=r"b.npz cannot be read"):
        Arrays(root=tmp_path / "b.npz").load()
    with pytest.raises(Problem, match="no .npz and no folder of .npy: x_train"):
        Arrays(root=tmp_path).load()


@pytest.mark.parametrize("more", [{}, {"x_unlabeled": X[:5], "y_unlabeled": np.full(5, -1)}])
def test_labels_are_held_against_the_file_once_more(tmp_path, more):
    """Also beside images that nobody reads, as STL-10 has them."""
    part = Arrays(root=saved(tmp_path / "a", FOUR | more))
    spec, trace = BASELINE.but(data=part), Trace(1, 3, rng=streams(0))
    (check,) = part.proof(spec, trace)
    assert check.ok
    images = part.load()
    images.arrays["train"][1][:] = (images.arrays["train"][1] + 1) % 3
    (check,) = part.proof(spec, trace)
    assert not check.ok
    arrays._arrays.cache_clear()
