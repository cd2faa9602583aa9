"""CIFAR-10, torchvision's recipe: the ladder of `torchvision_recipe` in small, for two cores.

    python -m harness.ablate cifar10_torchvision_recipe
    python -m harness.report cifar10_torchvision_recipe --published

Cost: 39 runs of 10,000 images, the first three rungs of 6 epochs and the others of 12; `--dry-run` tells how long
here. As `cifar10`: its network of three blocks, its data and its rate. 6 epochs stand for 90 and 12 for 600, half an
epoch of warm-up for 5; images are tested at 40 px and then, as resize tuning, at 36, where they are trained at 32; the
EMA is of every 4 steps. What a recipe of 600 epochs does in 12 need not be what it does in 600: signs and order of
gains are what can be compared. What it found, on 5,000 images: reports/recipes/torchvision/.
"""

from functools import partial

from experiments import cifar10, torchvision_recipe
from experiments.torchvision_recipe import TRICKS as LARGE
from experiments.torchvision_recipe import ema, fixres_mitigations, inference_resize, long_training, lr_optimizations
from harness.parts.data import Torchvision
from harness.spec import Spec, Trick


def in_small(spec: Spec) -> Spec:
    """What the study of ImageNet becomes on CIFAR-10 and two cores: these slots, and no other."""
    return spec.but(
        data=Torchvision(name="CIFAR10", limit=10_000),
        model=cifar10.MODEL.but(variant="B"),
        optimizer=spec.optimizer.but(lr=0.4),
        batch_size=32,
        epochs=6,
    )


SMALL: dict[Trick, Trick] = {
    lr_optimizations: partial(lr_optimizations, batch_size=128, lr=0.5, warm=0.5),
    long_training: partial(long_training, epochs=12),
    fixres_mitigations: partial(fixres_mitigations, train=None, test=40),
    inference_resize: partial(inference_resize, size=36, crop=None),
    ema: partial(ema, decay=0.95, every=4),
}
BASELINE = in_small(torchvision_recipe.BASELINE)
TRICKS = tuple(SMALL.get(trick, trick) for trick in LARGE)
SEEDS = range(3)
