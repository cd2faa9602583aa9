import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment as Torchvision

from harness import Problem
from harness.tricks.randaugment import MOST, RandAugment, randaugment
from tests.tricks.test_trivial_augment import drawing, images

assert drawing  # the fixture
rng = np.random.default_rng


@pytest.mark.parametrize(("operations", "magnitude"), [(2, 9), (1, 30), (3, 17)])
def test_as_torchvisions_by_the_same_draws(operations, magnitude, drawing):
    x = images(150, 3, 24, 32)
    ours = RandAugment(operations=operations, magnitude=magnitude)(x, rng(1))
    drawing(rng(1))
    theirs = Torchvision(num_ops=operations, magnitude=magnitude)
    for image, made in zip(x, ours, strict=True):
        pixels = image.byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), np.asarray(theirs(Image.fromarray(pixels))))
    assert not torch.equal(ours, x)


def test_space_and_defaults_are_torchvisions():
    assert tuple(MOST) == tuple(Torchvision._AUGMENTATION_SPACE)
    ours, theirs = RandAugment(), Torchvision()
    assert (ours.operations, ours.magnitude, ours.bins) == (
        theirs.num_ops,
        theirs.magnitude,
        theirs.num_magnitude_bins,
    )


@pytest.mark.parametrize(
    "fields", [{}, {"operations": 4, "magnitude": 30}, {"magnitude": 0}, {"bins": 5, "magnitude": 3}]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_second_writing_does_the_same(channels, fields):
    x, part = images(100, channels, 20, 32), RandAugment(**fields)
    np.testing.assert_array_equal(part(x, rng(3)).numpy(), part.reference(x.double().numpy(), rng(3)))


def test_a_magnitude_that_there_is_not_is_said(tiny):
    with pytest.raises(Problem, match="RandAugment's magnitude=31 is not below bins=31"):
        randaugment(tiny, magnitude=31).agree()
    assert randaugment(randaugment(tiny), magnitude=5).augment[-1] == RandAugment(magnitude=5)
