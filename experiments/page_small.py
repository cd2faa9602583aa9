"""Page in small: epochs to 60 % on 10,000 images of CIFAR-10, for two cores.

    python -m harness.ablate page_small --target 60
    python -m harness.report page_small@target-60 --published

Cost: some six lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`page`, by its network at a quarter of its width, on 10,000 images, in batches of 64, with batch norm of 16 images of it.
"""

from functools import partial

from experiments import page
from harness.parts.data import Torchvision

BASELINE = page.BASELINE.but(
    data=Torchvision(name="CIFAR10", limit=10_000),
    model=page.BASELINE.model.but(widths=(8, 16, 32, 64)),
    batch_size=64,
)
TRICKS = tuple(partial(page.ghost_norm, size=16) if trick is page.ghost_norm else trick for trick in page.TRICKS)
SEEDS = range(5)
EPOCHS = tuple(each for each in page.EPOCHS if each <= 24)
