import numpy as np
import pytest
import torch

from harness.tricks.cutout import Cutout, cutout

rng = np.random.default_rng


@pytest.mark.parametrize(("length", "shape"), [(0.5, (32, 32)), (0.25, (9, 13)), (2.0, (6, 4)), (0.3, (1, 1))])
def test_the_second_writing_does_the_same(length, shape):
    x = torch.from_numpy(rng(0).uniform(1, 255, size=(30, 3, *shape)))
    for seed in range(5):
        part = Cutout(length=length, value=(3, 4, 5))
        np.testing.assert_array_equal(part(x, rng(seed)).numpy(), part.reference(x.numpy(), rng(seed)))


def test_a_square_of_16_px_whose_centre_may_lie_at_the_edge():
    """As the authors' program has it: rows y - 8 to y + 8 of 32, clipped, y any of the 32."""
    holes = [Cutout().hole(32, 32, rng(seed)) for seed in range(3000)]
    sides = {(bottom - top, right - left) for top, left, bottom, right in holes}
    assert max(sides) == (16, 16)
    assert min(down for down, _ in sides) == 8, "the centre lies in row 0"
    tops = np.array([top for top, *_ in holes])
    assert (tops == 0).mean() == pytest.approx(9 / 32, abs=0.03)
    assert set(tops) == set(range(24))


def test_by_hand():
    class Fixed:
        def __init__(self, *drawn):
            self.drawn = list(drawn)

        def integers(self, side):
            return self.drawn.pop(0)

    made = Cutout(length=1, value=(9.0,))(torch.zeros(2, 1, 2, 3), Fixed(0, 0, 1, 2))
    assert made[0, 0].tolist() == [[9, 0, 0], [0, 0, 0]]
    assert made[1, 0].tolist() == [[0, 9, 9], [0, 9, 9]]


def test_one_trick_once(tiny):
    assert cutout(cutout(tiny), length=0.25).augment == (*tiny.augment, Cutout(length=0.25))
