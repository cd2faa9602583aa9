"""The scores of an evaluation, by hand, and by the two writings of them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.stats import unpacked
from harness.tasks import of, scored
from harness.tasks.classify import Classify, CrossEntropy, Marking, packed, told_apart

TASK = Classify()
Z = torch.tensor([[2.0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 3, 1], [5, 4, 3, 2, 1, 0]])
LABELS = torch.tensor([0, 5, 5])  # right; second; last of six
IMAGES = SimpleNamespace(classes=tuple("abcdef"), labels=lambda split: LABELS.numpy(), counts={"test": 3, "val": 3})


def marked(split="test"):
    marking, examiner = TASK.marking(IMAGES, split), TASK.examiner(IMAGES)
    for part in (slice(0, 2), slice(2, 3)):
        marking.add(Z[part], LABELS[part])
        examiner.saw((), Z[part])
    return (*marking.scores(split), examiner)


def test_by_hand():
    scores, kept, _ = marked()
    loss = -torch.log_softmax(Z.double(), 1)[[0, 1, 2], LABELS].mean().item()
    assert scores == {
        "test_loss": pytest.approx(loss, rel=1e-6),
        "top1": pytest.approx(100 / 3),
        "top5": pytest.approx(200 / 3),
    }
    assert kept["correct"] == "80", "the first of three bits"
    assert kept["gaps"][0] == pytest.approx(1.8), "2 - (0 + 0 + 0 + 0 + 1) / 5"
    assert len(kept["gaps"]) == 201


def test_held_out_scores_have_names_of_their_own():
    assert set(marked("val")[0]) == {"val_loss", "val_top1", "val_top5"}
    assert set(TASK.watched) < set(TASK.scores)
    assert TASK.headline in TASK.scores


def test_the_second_marking_gives_the_same():
    scores, kept, examiner = marked()
    due, otherwise = examiner.marked("test", kept)
    assert due == {name: pytest.approx(value, rel=1e-6) for name, value in scores.items()}
    assert otherwise == 0.0
    assert examiner.marked("test", {"correct": "40"})[1] == 1.0
    assert examiner.gaps == pytest.approx(kept["gaps"], rel=1e-4)


def test_what_a_record_keeps_is_what_was_answered():
    scores, kept, examiner = marked()
    examiner.marked("test", kept)
    examiner.over("test")
    assert examiner.record() == {"correct": kept["correct"], "answers": packed(torch.tensor([0, 4, 0]))}
    assert all(check.ok for check in examiner.checks(scores, kept))
    assert [check.ok for check in examiner.checks({"top1": 50.0}, {"correct": "c0"})] == [False, False]


def test_logits_are_kept_of_the_test_images_alone():
    _, kept, _ = marked()
    assert kept["labels"].tolist() == LABELS.tolist()
    assert (kept["logits"].dtype, kept["logits"].tolist()) == (torch.float16, Z.tolist())
    assert marked("val")[1].keys() == {"correct", "gaps"}


def test_logits_that_rounding_makes_equal_still_give_the_answer():
    """In half precision 10 and 10.001 are one number, and the first would be taken for the answer."""
    z = torch.tensor([[10.0, 10.001, 3], [7, 7, 7]])
    made = told_apart(z.half(), torch.tensor([1, 1]))
    assert made.argmax(1).tolist() == [1, 1]
    assert made.tolist() == [[10 - 2**-7, 10, 3], [7 - 2**-8, 7, 7 - 2**-8]]
    assert told_apart(torch.full((1, 3), math.nan).half(), torch.tensor([1])).isnan().all()


def test_too_many_logits_are_not_kept_and_the_record_says_so():
    assert TASK.keeps(32_000, 1000) == (64_000_000, "")
    why = "logits of 50,000 test images x 1,000 classes are 100 MB, more than 64 MB"
    assert TASK.keeps(50_000, 1000) == (0, why)
    marking = Marking(TASK, 1000, 50_000)
    marking.add(torch.zeros(2, 1000), torch.tensor([0, 1]))
    kept = marking.scores("test")[1]
    assert kept["no_logits"] == why
    assert "logits" not in kept


@pytest.mark.parametrize(
    ("what", "fails"),
    [
        ("nothing", []),
        (
            "labels",
            ["labels kept with the logits that are not the data's", "top-1 that is reported, from the logits kept"],
        ),
        (
            "order",
            [
                "answers that the logits kept do not give",
                "logits kept, from those seen: largest gap, in steps of half precision",
            ],
        ),
        ("scale", ["logits kept, from those seen: largest gap, in steps of half precision"]),
        ("fewer", ["answers that the logits kept do not give", "top-1 that is reported, from the logits kept"]),
    ],
)
def test_logits_that_are_not_those_answered_are_refused(what, fails):
    scores, kept, examiner = marked()
    match what:
        case "labels":
            kept["labels"] = torch.tensor([1, 5, 5])
        case "order":
            kept["logits"] = kept["logits"].roll(1, 0)
        case "scale":
            kept["logits"] = 1.1 * kept["logits"]
        case "fewer":
            kept["logits"] = kept["logits"][:2]
    examiner.marked("test", kept)
    examiner.over("test")
    found = {check.what for check in examiner.checks(scores, kept) if not check.ok}
    assert set(fails) <= found
    assert bool(found) == bool(fails)


@pytest.mark.parametrize("classes", [2, 300, 65_536])
def test_answers_packed_come_back(classes):
    answers = np.random.default_rng(0).integers(0, classes, 1000)
    assert unpacked(packed(torch.from_numpy(answers))).tolist() == answers.tolist()


def test_cross_entropy_and_its_slope_by_hand():
    """Of logits (0, 0) and targets (1, 0): log 2, and (1/2 - 1, 1/2)."""
    value, slope = CrossEntropy().reference(np.array([[1.0, 0]]), np.zeros((1, 2)))
    assert value == pytest.approx(math.log(2))
    np.testing.assert_allclose(slope, [[-0.5, 0.5]])


def test_targets_are_one_hot_twice():
    once, again = TASK.targets(torch.tensor([2, 0]), 3), TASK.targets_again(np.array([2, 0]), 3)
    assert once.tolist() == again.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_an_empty_slot_is_classification(tiny):
    assert of(tiny) == of(tiny.but(task=Classify())) == Classify()
    assert tiny.but(task=Classify()).id != tiny.id


def test_a_record_names_its_headline_metric_where_it_is_not_top_1(tiny):
    class Other(Classify):
        headline = "mIoU"

    assert scored(tiny) == scored(tiny.but(task=Classify())) == {}
    assert scored(tiny.but(task=Other())) == {"score": "mIoU"}


def test_losses_add_up_to_the_same_bits_whatever_the_test_batch():
    labels = np.random.default_rng(0).integers(0, 10, 300)
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(300, 10)).astype(np.float32))
    images = SimpleNamespace(labels=lambda split: labels, size=8, classes=range(10), counts={"test": 300})
    found = set()
    for size in (64, 128, 320):
        marking = Classify().marking(images, "test")
        for some, own in zip(z.split(size), torch.from_numpy(labels).split(size), strict=True):
            marking.add(some, own)
        found.add(marking.scores("test")[0]["test_loss"])
    assert len(found) == 1
