"""airbench, flips in small: the factorial of `airbench_flips` on 10,000 images, for two cores.

    python -m harness.ablate airbench_flips_small --design factorial
    python -m harness.report airbench_flips_small@factorial --published

Cost: 40 runs of 12 epochs, ten of each cell; `--dry-run` tells how long here. As `cifar10`: its network of three
blocks.
"""

from experiments import airbench_flips, cifar10
from harness.parts.data import Torchvision

BASELINE = airbench_flips.BASELINE.but(
    data=Torchvision(name="CIFAR10", limit=10_000), model=cifar10.MODEL, batch_size=64, epochs=12
)
TRICKS = airbench_flips.TRICKS
SEEDS = range(10)
