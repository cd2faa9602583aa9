"""Metrics of logits: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, recall_score

from harness import Problem, metrics
from harness.metrics import METRICS, Metric, Told, chosen, labelled, named_well, uneven, unlabelled
from harness.tasks.classify import Classify, Marking


@pytest.fixture(params=range(3))
def answered(request):
    """Labels and logits of 500 images of 7 classes, better than chance, of which the first class is the largest."""
    rng = np.random.default_rng(request.param)
    labels = rng.choice(7, 500, p=[0.4, *[0.1] * 6])
    return labels, rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[labels]


def test_what_scikit_learn_has_is_the_same(answered):
    labels, logits = answered
    said = logits.argmax(1)
    assert metrics.balanced_accuracy(*answered) == pytest.approx(100 * balanced_accuracy_score(labels, said))
    assert metrics.macro_f1(*answered) == pytest.approx(100 * f1_score(labels, said, average="macro"))
    assert metrics.worst_class(*answered) == pytest.approx(100 * min(recall_score(labels, said, average=None)))


def test_the_loss_of_a_record_is_log_loss(answered):
    labels, logits = answered
    marking = Marking(Classify(), 7)
    marking.add(torch.from_numpy(logits), torch.from_numpy(labels))
    told = METRICS["loss"].of({"metrics": marking.scores("test")[0]})  # type: ignore[call-arg]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert told == pytest.approx(log_loss(labels, p), rel=1e-6)


def test_classes_by_hand():
    """Class 0: 3 of 4 right. Class 1: 0 of 1. Class 2: 1 of 1. Class 3 has no image, and is said once."""
    labels, said = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 0, 0, 1, 3, 2])
    logits = np.eye(4)[said]
    assert metrics.balanced_accuracy(labels, logits) == pytest.approx(100 * (3 / 4 + 0 + 1) / 3)
    assert metrics.worst_class(labels, logits) == 0
    assert metrics.worst_class(labels[[0, 3, 5]], logits[[0, 3, 5]]) == 50
    f1 = [2 * 1 * (3 / 4) / (1 + 3 / 4), 0, 1, 0]  # class 3 was said, and is none
    assert metrics.macro_f1(labels, logits) == pytest.approx(100 * np.mean(f1))


def sure(*confidences):
    """Logits of images of two classes that are answered 0 with these probabilities."""
    return np.array([[math.log(p), math.log(1 - p)] for p in confidences])


@pytest.mark.parametrize(
    ("labels", "confidences", "due"),
    [
        ([0, 0], (0.95, 0.95), 5),
        ([0, 1], (0.95, 0.95), 45),  # half are right
        ([0, 1], (0.55, 0.55), 5),
        ([0, 1, 0, 0], (0.55, 0.55, 0.95, 0.95), (5 + 5) / 2),
        ([1, 0], (0.55, 0.95), (55 + 5) / 2),  # each in a bin of its own: gaps do not cancel
        ([0, 1], (0.94, 0.96), 45),  # in one bin they do
    ],
)
def test_calibration_error_by_hand(labels, confidences, due):
    assert metrics.ece(np.array(labels), sure(*confidences)) == pytest.approx(due)


def test_calibration_error_is_of_probabilities():
    labels, logits = np.array([0, 1]), sure(0.95, 0.6)
    assert metrics.ece(labels, logits + 1000) == pytest.approx(metrics.ece(labels, logits))
    assert metrics.ece(labels, np.array([[1e4, 0], [0, 1e4]])) == 0, "certain, and right"
    assert math.isnan(metrics.ece(labels, np.full((2, 2), math.nan)))


def test_each_says_which_way_is_better():
    lower = {name for name, metric in METRICS.items() if metric.better == "lower"}
    assert lower == {"loss", "ece", "seconds"}
    assert {name for name, metric in METRICS.items() if isinstance(metric, Told)} == {"top1", "top5", "loss", "seconds"}


def test_a_study_may_have_its_own_and_what_is_none_is_one_line():
    own = Metric(lambda labels, logits: 1.0, "EUR", "lower")
    assert chosen("cost", {"cost": own}) is own
    assert chosen("ece") is METRICS["ece"]
    with pytest.raises(Problem, match="--metric rmse: no such metric; there are: top1, .*, seconds, cost$"):
        chosen("rmse", {"cost": own})
    assert named_well("cost")
    assert not any(map(named_well, ("ece", "two words", "../x", "", 3, "é")))


@pytest.mark.parametrize(
    ("label", "name", "due"),
    [
        ("digits", "ece", "digits@ece"),
        ("digits@shapley-3f2a1c", "ece", "digits@shapley-3f2a1c-ece"),
        ("digits", "top1", "digits"),
        ("digits", "", "digits"),
    ],
)
def test_a_report_by_another_metric_has_a_label_of_its_own(label, name, due):
    assert labelled(label, name) == due
    assert unlabelled(due, name) == label


def test_a_test_set_is_uneven_above_one_and_a_half():
    assert not uneven(np.array([10, 15, 12]))
    assert uneven(np.array([10, 16, 12]))
    assert uneven(np.array([0, 1]))
    assert not uneven(np.array([7]))
