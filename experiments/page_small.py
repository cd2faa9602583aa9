"""Page in small: epochs to 60 % on 5,000 images of CIFAR-10, for two cores.

    python -m harness.ablate page_small --target 60
    python -m harness.report page_small@target-60 --published

Cost: some six lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`page`, by its network at an eighth of its width, in batches of 64, with batch norm of 16 images of it, and tested on
2,000 images.
"""

from functools import partial

from experiments import page
from harness.parts.data import Torchvision

BASELINE = page.BASELINE.but(
    data=Torchvision(name="CIFAR10", limit=5_000, limit_test=2_000),
    model=page.BASELINE.model.but(widths=(8, 16, 32, 64)),
    batch_size=64,
)
TRICKS = tuple(partial(page.ghost_norm, size=16) if trick is page.ghost_norm else trick for trick in page.TRICKS)
SEEDS = range(5)
EPOCHS = tuple(each for each in page.EPOCHS if each <= 24)
