"""The numbers of a classifier's gallery, against hand counts, numpy and a forward of the tests' own."""

import re

import numpy as np
import pytest
import torch

from harness import Problem
from harness.gallery import classified as gallery
from harness.gallery.__main__ import index
from harness.rng import stream
from harness.stats import wilson
from tests.kit.tiny import BASELINE


def test_answers_are_those_of_the_weights(store):
    found = gallery.answers(BASELINE, 0, store)
    images, labels = BASELINE.data.load().arrays["test"]
    net = BASELINE.model.build(1, 10)
    net.load_state_dict(store.weights(BASELINE.id, 0))
    mean, std = (np.float32(BASELINE.data.load().__dict__[name][0]) for name in ("mean", "std"))
    with torch.no_grad():
        z = net.eval()(torch.from_numpy((images.astype(np.float32) - mean) / std)).double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert (found.said == z.argmax(1)).mean() > 0.999, "but for a tie that another batch breaks"
    assert found.sure == pytest.approx(p.max(1), abs=1e-3)
    assert found.truth.tolist() == labels.tolist()
    record = store.read(BASELINE.id, 0)
    assert 100 * (found.said == labels).mean() == pytest.approx(record["metrics"]["top1"])


def test_answers_that_are_not_the_records_are_told(store):
    record = store.read(BASELINE.id, 0)
    found = gallery.answers(BASELINE, 0, store)
    gallery.check(found, record)
    other = gallery.Answers(found.truth, (found.said + (np.arange(300) < 3)) % 10, found.sure)
    differ = int(((other.said == other.truth) != (found.said == found.truth)).sum())
    assert differ
    with pytest.raises(Problem, match=rf"seed 0: {differ} of 300 test images are answered otherwise"):
        gallery.check(other, record)


def test_confusion_is_counted_by_class_and_answer():
    found = gallery.Answers(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 2]), np.ones(6))
    assert gallery.confusion(found, 4).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]


def test_accuracy_is_of_all_of_200_and_of_those_held_out():
    truth = np.arange(1000) % 10
    said = np.where(np.arange(1000) < 700, truth, (truth + 1) % 10)
    found = gallery.Answers(truth, said, np.ones(1000))
    record = {"metrics": {"val_top1": 62.5}, "images": {"val": 40}}
    near = np.arange(1000) % 5 == 0
    every, few, apart, held = gallery.accuracies(found, record, near)
    assert apart[1:] == (560, 800)
    assert every == ("all 1,000 test images", 700, 1000)
    drawn = stream(0, "gallery", "drawn").permutation(1000)[:200]
    assert few == ("200 test images drawn at random", int((drawn < 700).sum()), 200)
    assert held[1:] == (25, 40)
    few_tests = gallery.Answers(truth[:50], said[:50], np.ones(50))
    assert gallery.accuracies(few_tests, {"metrics": {}}, near[:50] & False) == [("all 50 test images", 50, 50)]


def test_the_index_has_the_intervals():
    text = index("x<b>", ["labels"], [gallery.table([("all", 81, 263)])], "of [a](b)")
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert re.search(r"\| all +\| +81 \| +263 \| +30.80 \| +25.53 to 36.62 \|", text)
    assert "![Labels](labels.png)" in text
    assert r"x\<b\>" in text
    assert r"\[a\](b)" in text


def test_a_test_set_that_is_in_training_whole_is_said():
    found = gallery.Answers(np.zeros(3, int), np.array([0, 1, 0]), np.ones(3))
    told = gallery.accuracies(found, {"metrics": {}}, np.ones(3, bool))
    assert [row[1:] for row in told] == [(2, 3), (0, 0)]
    first, second = gallery.table(told).itertuples(index=False, name=None)
    assert first[:4] == ("all 3 test images", "2", "3", "66.67")
    assert second[1:] == ("–", "0", "–", "–")
    assert re.match("test images without a twin in training, .*: there is none$", second[0])
