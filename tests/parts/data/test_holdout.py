import numpy as np
import pytest
import torch

from experiments import digits
from harness import Problem
from harness.parts.data import ImageFolder, in_memory
from harness.parts.data.holdout import Holdout, blinded, held_out
from harness.spec import Data, parse, plain
from harness.tricks.distillation import distillation
from tests.kit.photos import make

DIGITS = digits.BASELINE.data


class Made(Data):
    """Six images of two classes: 0 and 1 are alike, and the test set has 2 too."""

    @property
    def channels(self):
        return 1

    def load(self):
        x = np.array([7, 7, 1, 2, 3, 4], np.uint8)[:, None, None, None].repeat(8, 2).repeat(8, 3)
        y = np.array([0, 0, 0, 1, 1, 1])
        return in_memory({"train": (x, y), "test": (x[[2, 5]], y[[2, 5]])}, ("a", "b"))


def contents(images, *splits):
    return [set(images.content(split)) for split in splits]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_no_image_is_on_two_sides_and_none_is_lost(share):
    whole, images = DIGITS.load(), Holdout(of=DIGITS, share=share).load()
    train, val, test = contents(images, "train", "val", "test")
    assert not train & val
    assert not val & test
    assert train | val == contents(whole, "train")[0]
    assert images.content("test") == whole.content("test")
    assert images.counts["train"] + images.counts["val"] == whole.counts["train"]
    per_class = np.bincount(images.labels("val")) / np.bincount(whole.labels("train"))
    assert np.abs(per_class - share).max() < 0.02


def test_blind_the_test_set_is_what_was_held_out():
    images, seen = Holdout(of=DIGITS, blind=True).load(), Holdout(of=DIGITS).load()
    assert "val" not in images.counts
    assert images.content("test") == seen.content("val")
    assert images.content("train") == seen.content("train")
    assert images.digest != seen.digest != DIGITS.load().digest


def test_images_are_drawn_and_not_the_first_of_each_class():
    _, out = held_out([str(i) for i in range(200)], np.arange(200) // 100, set(), 0.2)
    assert len(out) == 40
    for places in (out[:20], out[20:] - 100):
        assert places.max() > 60
        assert len(set(np.diff(places))) > 3


def test_a_missing_folder_is_told_by_the_path_to_be_typed(tmp_path):
    with pytest.raises(Problem, match=r"^data\.of\.root=.*no such folder"):
        Holdout(of=ImageFolder(root=tmp_path / "no")).load()


def test_labels_go_with_their_images():
    whole, images = DIGITS.load(), Holdout(of=DIGITS).load()
    named = dict(zip(whole.content("train"), whole.labels("train"), strict=True))
    for split in ("train", "val"):
        assert [named[c] for c in images.content(split)] == images.labels(split).tolist()
        x, y = next(images.test(64, torch.device("cpu"), split))
        assert y.tolist() == images.labels(split)[: len(y)].tolist()
        assert np.allclose(x[0] * whole.std[0] + whole.mean[0], images.arrays[split][0][0], atol=1e-3)


def test_images_alike_stay_together_and_those_of_the_test_set_are_not_held_out():
    for _ in range(2):
        rest, out = held_out(list("xxabcd"), np.array([0, 0, 0, 1, 1, 1]), {"a", "d"}, 0.5)
        assert {0, 1} <= set(out) or {0, 1} <= set(rest)
        assert {2, 5} <= set(rest)
        assert sorted([*rest, *out]) == list(range(6))
    many = np.random.default_rng(0).integers(0, 30, 200)
    labels = many % 3
    rest, out = held_out([str(i) for i in many], labels, {"0", "1"}, 0.3)
    assert not set(many[rest]) & set(many[out])
    assert not {0, 1} & set(many[out])
    assert 0.2 < len(out) / 200 < 0.4


def test_of_made_data_too():
    images = Holdout(of=Made(), share=0.5).load()
    train, val, test = contents(images, "train", "val", "test")
    assert not train & val
    assert not val & test


def test_photos_are_split_by_their_bytes(tmp_path):
    root = tmp_path / "photos"
    make(root, classes=2, train=10, val=3)
    twin = next((root / "train").rglob("*.*"))
    twin.with_name("copy.jpg").write_bytes(twin.read_bytes())
    data = Holdout(of=ImageFolder(root=root, size=72), share=0.3)
    train, val, test = contents(data.load(), "train", "val", "test")
    assert val
    assert not train & val
    assert not val & test
    assert sum(x.shape[0] for x, _ in data.load().test(2, torch.device("cpu"), "val")) == data.load().counts["val"]


def test_a_class_without_images_is_said():
    with pytest.raises(Problem, match=r"data.share=0.005: no image of 0 is left for validation; hold out another"):
        Holdout(of=DIGITS, share=0.005).load()
    with pytest.raises(Problem, match=r"no image of 0 is left for training"):
        Holdout(of=DIGITS, share=0.995).load()


def test_held_out_twice_is_refused_but_blind():
    inner = Holdout(of=DIGITS)
    with pytest.raises(Problem, match="held out already"):
        Holdout(of=inner).load()
    images, below = Holdout(of=inner, blind=True).load(), inner.load()
    assert images.content("val") == below.content("val")
    assert set(images.content("train")) | set(images.content("test")) == set(below.content("train"))


def test_teachers_are_blinded_with_their_student():
    spec = blinded(distillation(digits.BASELINE, model=digits.TEACHER), 0.25)
    assert spec.data == spec.teacher[0].spec.data == Holdout(of=DIGITS, share=0.25, blind=True)
    assert parse(plain(spec)) == spec
    assert spec.id != digits.BASELINE.id


def test_a_teacher_that_learned_what_is_held_out_is_refused():
    late = distillation(digits.BASELINE, model=digits.TEACHER).but(data=Holdout(of=DIGITS))
    with pytest.raises(Problem, match="a teacher has learned images that are held out here"):
        late.agree()
    distillation(digits.BASELINE.but(data=Holdout(of=DIGITS)), model=digits.TEACHER).agree()


def test_what_is_held_out_twice_is_proven_each_by_its_own(tiny, live):
    """As a search has it of a study that holds images out already."""
    trained, _ = live(blinded(tiny.but(data=Holdout(of=tiny.data, share=0.3), epochs=1)))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
