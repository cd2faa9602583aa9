import hashlib
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms.v2 import AutoAugment as Torchvision

from harness.tricks.auto_augment import AutoAugment, auto_augment, policies
from tests.tricks.test_trivial_augment import drawing, images

assert drawing  # the fixture
rng = np.random.default_rng
every_policy = pytest.mark.parametrize("learned", ["imagenet", "cifar10", "svhn"])


@every_policy
def test_as_torchvisions_by_the_same_draws(learned, drawing):
    x = images(150, 3, 24, 32)
    ours = AutoAugment(learned=learned)(x, rng(1))
    drawing(rng(1))
    theirs = Torchvision(AutoAugmentPolicy(learned))
    for image, made in zip(x, ours, strict=True):
        pixels = image.byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), np.asarray(theirs(Image.fromarray(pixels))))
    assert not torch.equal(ours, x)


@every_policy
@pytest.mark.parametrize("channels", [1, 3])
def test_the_second_writing_does_the_same(channels, learned):
    x, part = images(100, channels, 20, 32), AutoAugment(learned=learned)
    np.testing.assert_array_equal(part(x, rng(3)).numpy(), part.reference(x.double().numpy(), rng(3)))


def test_the_policies_are_those_of_the_day_that_runs_were_made():
    """Of another table the same specification would be another run."""
    told = hashlib.sha256(repr([policies(p.value) for p in AutoAugmentPolicy]).encode()).hexdigest()[:16]
    assert told == "01ab5f5435a547a2"
    names = {name for policy in AutoAugmentPolicy for name, *_ in chain(*policies(policy.value))}
    assert "Invert" in names
    assert "Identity" not in names


def test_another_policy_takes_the_place_of_the_first(tiny):
    assert auto_augment(auto_augment(tiny), learned="svhn").augment[-1] == AutoAugment(learned="svhn")
    with pytest.raises(ValueError, match="learned"):
        auto_augment(tiny, learned="mnist")
