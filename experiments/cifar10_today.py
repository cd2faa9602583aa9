"""CIFAR-10, today's tricks: which of twelve are still worth it on a small budget? Each is left out of the whole stack.

    python -m harness.ablate cifar10_today --design leave-one-out

Cost: 65 runs of 3,000 images and 12 epochs, about 40 minutes on two cores. The baseline is `cifar10`'s, a ResNet of
three blocks; no trick makes training longer, so each stands at the same number of images seen. The strengths are those
of the papers, but for half an epoch of warm-up and an EMA of every 4 steps, since a run has 1,116. Papers train for ten
to fifty times as long: what regularises there may only slow a network that is still learning. What it found:
reports/recipes/today/.
"""

from functools import partial

from experiments import cifar10
from harness.parts.data import Torchvision
from harness.tricks.cosine import cosine
from harness.tricks.cutmix import cutmix
from harness.tricks.ema import ema
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.random_erasing import random_erasing
from harness.tricks.resnet_d import resnet_d
from harness.tricks.squeeze_excitation import squeeze_excitation
from harness.tricks.stochastic_depth import stochastic_depth
from harness.tricks.trivial_augment import trivial_augment
from harness.tricks.tta import tta

BASELINE = cifar10.BASELINE.but(data=Torchvision(name="CIFAR10", limit=3_000), epochs=12)
TRICKS = (
    cifar10.WARMUP,
    cosine,
    no_bias_decay,
    resnet_d,
    squeeze_excitation,
    stochastic_depth,
    trivial_augment,
    random_erasing,
    label_smoothing,
    cutmix,
    partial(ema, decay=0.95, every=4),
    tta,
)
SEEDS = range(5)
