"""Page in small: epochs to 60 % on 10,000 images of CIFAR-10, for two cores.

    python -m harness.ablate page_small --target 60
    python -m harness.report page_small@target-60 --published

Cost: some six lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`page`, by the network and the data of `airbench_small`, a batch of 64, and batch norm of 16 images of it.
"""

from functools import partial

from experiments import airbench_small, page
from experiments.page import TRICKS as LARGE
from experiments.page import ema, flip_tta, ghost_norm

SMALL = airbench_small.BASELINE
BASELINE = page.BASELINE.but(
    data=SMALL.data, model=SMALL.model, batch_size=SMALL.batch_size, epochs=SMALL.epochs, schedule=SMALL.schedule
)
TRICKS = (LARGE[0], partial(ghost_norm, size=16), ema, flip_tta)
SEEDS = range(5)
EPOCHS = airbench_small.EPOCHS
