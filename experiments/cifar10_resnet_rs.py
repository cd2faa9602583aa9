"""CIFAR-10, ResNet-RS: the ladder of `resnet_rs` in small, for two cores.

    python -m harness.ablate cifar10_resnet_rs
    python -m harness.report cifar10_resnet_rs --published

Cost: 33 runs of 10,000 images, the first two rungs of 6 epochs and the others of 12; `--dry-run` tells how long here.
As `cifar10`: its network of three blocks, data, rate and batch. The EMA is of some 100 steps, RandAugment half as
strong. Do two rungs fall here too, and does less weight decay help where the others regularise? Signs and order can be
compared.
"""

from functools import partial

from experiments import cifar10, resnet_rs
from experiments.resnet_rs import TRICKS as LARGE
from harness.spec import Trick

LONG, EMA, RANDAUGMENT = LARGE[1], LARGE[2], LARGE[5]
SMALL: dict[Trick, Trick] = {
    LONG: partial(resnet_rs.long_training, epochs=12),
    EMA: partial(resnet_rs.ema, decay=0.99),
    RANDAUGMENT: partial(resnet_rs.randaugment, magnitude=7),
}
BASELINE = cifar10.in_small(resnet_rs.BASELINE).but(epochs=6)
TRICKS = tuple(SMALL.get(trick, trick) for trick in LARGE)
SEEDS = range(3)
