from itertools import pairwise

import numpy as np
import pytest
import torch

from harness import Problem
from harness.parts.augment import Flip, Shift
from harness.rng import streams
from harness.tricks.alternating_flip import AlternatingFlip, alternating_flip

PLACES = np.array([4, 0, 17, 2, 9, 30, 31, 8])


def turned(epoch, places=PLACES, seed=0):
    """Which images are mirrored."""
    x = torch.arange(3.0).expand(len(places), 1, 2, 3)
    made = AlternatingFlip().knowing(epoch, places, streams(seed))(x, np.random.default_rng(0))
    assert all(
        torch.equal(image, whole) or torch.equal(image, whole.flip(2)) for image, whole in zip(made, x, strict=True)
    )
    return [bool(image[0, 0, 0] == 2) for image in made]


def test_an_image_is_mirrored_in_every_second_epoch():
    epochs = [turned(epoch) for epoch in range(5)]
    for before, after in pairwise(epochs):
        assert [not was for was in before] == after
    assert 0 < sum(epochs[0]) < len(PLACES), "which begin so is drawn"
    assert epochs[0] != turned(0, seed=1)


def test_it_is_the_images_and_not_their_places_in_a_batch_that_alternate():
    forth, back = turned(3), turned(3, PLACES[::-1].copy())
    assert forth == back[::-1]
    assert [turned(3, np.array([place]))[0] for place in PLACES] == forth


def test_as_airbench_does_it():
    """Its loader mirrors by a coin an image before the first epoch, and in odd epochs all images once more."""
    x = torch.rand(8, 3, 4, 4)
    coins = torch.tensor(turned(0))
    first = torch.where(coins[:, None, None, None], x.flip(-1), x)
    for epoch in range(4):
        theirs = first.flip(-1) if epoch % 2 == 1 else first
        ours = AlternatingFlip().knowing(epoch, PLACES, streams(0))
        assert torch.equal(ours(x, np.random.default_rng(0)), theirs)
        again = ours.reference(x.double().numpy(), np.random.default_rng(0))
        np.testing.assert_array_equal(again, theirs.double().numpy())


def test_it_takes_the_place_of_coins(tiny):
    spec = alternating_flip(tiny.but(augment=(Flip(), Shift(pixels=2))))
    assert spec.augment == (AlternatingFlip(), Shift(pixels=2))


def test_of_no_known_images_it_says_so():
    with pytest.raises(Problem, match="call `part.knowing"):
        AlternatingFlip()(torch.zeros(1, 1, 2, 2), np.random.default_rng(0))


def test_a_run_with_it_has_all_checks(tiny, live):
    trained, trace = live(alternating_flip(tiny.but(augment=())))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert all(gaps["images"] < 1e-6 for gaps in trace.auditor.found)
