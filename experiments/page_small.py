"""Page in small: epochs to 60 % on 10,000 images of CIFAR-10, for two cores.

    python -m harness.ablate page_small --target 60
    python -m harness.report page_small@target-60 --published

Cost: some six lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`page`, by the network of `cifar10`, on 10,000 images, in batches of 64, with batch norm of 16 images of it.
"""

from functools import partial

from experiments import cifar10, page
from experiments.page import TRICKS as LARGE
from experiments.page import ema, flip_tta, ghost_norm
from harness.parts.data import Torchvision
from harness.tricks.warmup import warmup

BASELINE = warmup(
    page.BASELINE.but(data=Torchvision(name="CIFAR10", limit=10_000), model=cifar10.MODEL, batch_size=64, epochs=12),
    epochs=0.5,
)
TRICKS = (LARGE[0], partial(ghost_norm, size=16), ema, flip_tta)
SEEDS = range(5)
EPOCHS = tuple(each for each in page.EPOCHS if each <= 24)
