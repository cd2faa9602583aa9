import numpy as np
import pytest
from pydantic import ValidationError

from harness import Problem
from harness.parts.data.splits import Split, chosen

CLASSES = ("a", "b")


def apart(split, content, labels):
    rest, out = split.apart(content, np.array(labels), CLASSES)
    assert sorted([*rest, *out]) == list(range(len(content))), "each on one side, in order"
    assert list(rest) == sorted(rest)
    return rest.tolist(), out.tolist()


def test_each_class_gives_its_share():
    labels = [0] * 40 + [1] * 10
    rest, out = apart(Split(share=0.2), [f"{i}" for i in range(50)], labels)
    assert [sum(labels[i] == k for i in out) for k in (0, 1)] == [8, 2]
    assert len(rest) == 40


def test_it_is_drawn_from_content_alone_and_by_the_seed():
    content, labels = [f"{i * 7919 % 100:02}" for i in range(100)], [i % 2 for i in range(100)]
    out = {content[i] for i in apart(Split(), content, labels)[1]}
    order = np.random.default_rng(0).permutation(100)
    moved = [content[i] for i in order], [labels[i] for i in order]
    assert {moved[0][i] for i in apart(Split(), *moved)[1]} == out
    other = {content[i] for i in apart(Split(seed=1), content, labels)[1]}
    assert other != out
    assert len(other) == len(out) == 20


def test_images_alike_stay_on_one_side():
    content = [f"{i // 5}" for i in range(100)]  # each five times
    for seed in range(5):
        rest, out = apart(Split(share=0.5, seed=seed), content, [i // 50 for i in range(100)])
        assert not {content[i] for i in rest} & {content[i] for i in out}
        assert 40 <= len(out) <= 60


def test_no_class_is_left_without_an_image():
    with pytest.raises(Problem, match=r"data.split.share=0.2: no image of b is left for test; take another share"):
        apart(Split(), list("0123456789a"), [0] * 10 + [1])
    with pytest.raises(Problem, match="no image of a is left for training"):
        apart(Split(share=0.9), ["same"] * 5 + list("0123456789"), [0] * 5 + [1] * 10)
    for share in (0, 1, -1):
        with pytest.raises(ValidationError):
            Split(share=share)


@pytest.mark.parametrize(
    ("found", "told", "due", "notes"),
    [
        ({"train", "val"}, {}, ("train", "val"), []),
        ({"train", "test"}, {}, ("train", "test"), ["the test set is test, by its name; data.test names another"]),
        (
            {"Training", "Valid"},
            {},
            ("Training", "Valid"),
            ["the test set is Valid, by its name; data.test names another"],
        ),
        (
            {"train", "test", "val", "extra"},
            {},
            ("train", "val"),
            ["the test set is val, by its name; not read: test; data.test names another"],
        ),
        ({"train", "test", "val"}, {"test": "test"}, ("train", "test"), []),
        ({"train", "test"}, {"train": "test", "test": "train"}, ("test", "train"), []),
        ({"a", "b"}, {"train": "a", "test": "b"}, ("a", "b"), []),
        ({"a", "b"}, {}, (None, None), []),
        ({"train"}, {}, ("train", None), []),
        (set(), {}, (None, None), []),
    ],
)
def test_splits_are_known_by_what_they_are_called(found, told, due, notes):
    trained, tested, said = chosen(found, told.get("train"), told.get("test"), "here")
    assert ((trained, tested), said) == (due, notes)


def test_a_split_that_is_told_is_there():
    with pytest.raises(Problem, match=r"data.test=tset: no such split in here; there are: test, train"):
        chosen({"train", "test"}, None, "tset", "here")
    with pytest.raises(Problem, match=r"data.test=train is data.train too"):
        chosen({"train"}, "train", "train", "here")
