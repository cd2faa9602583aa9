import numpy as np
import torch

from harness.parts.data import Digits
from harness.rng import streams
from harness.tricks.one_order import OneOrder, one_order


def test_the_first_epoch_is_as_without_it_and_all_others_are_the_first(tiny, live):
    (plain, was), (trained, trace) = live(tiny), live(one_order(tiny))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trained.result["seen"]["order"] == plain.result["seen"]["order"]
    for number, (labels, *_) in enumerate(trace.fed):
        assert torch.equal(labels, trace.fed[number % 2][0])
    assert not torch.equal(was.fed[0][0], was.fed[2][0])


def test_augmentation_is_drawn_anew(tiny, live):
    _, trace = live(one_order(tiny))
    (one, *_), (other, *_) = trace.images[0], trace.images[2]
    assert not torch.equal(one, other)


def test_the_second_writing_shuffles_alike():
    for seed in range(5):
        one, other = (f(np.zeros(50), np.random.default_rng(seed)) for f in (OneOrder().order, OneOrder().reference))
        assert one.tolist() == other.tolist()


def test_a_batch_is_that_of_the_first_epoch_wherever_an_epoch_begins():
    from dataclasses import replace

    images = replace(Digits().load(), sampler=OneOrder())
    epochs = [images.order(epoch, 100, streams(3)) for epoch in (0, 7)]
    assert all(np.array_equal(a, b) for a, b in zip(*epochs, strict=True))
