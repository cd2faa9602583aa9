"""airbench in small: epochs to 64 % on 5,000 images of CIFAR-10, for two cores.

    python -m harness.ablate airbench_small --target 64
    python -m harness.report airbench_small@target-64 --published

Cost: some four lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`airbench`, by its network at a quarter of its width, an eighth in the last two blocks, in batches of 64, and tested on
2,000 images. Statistics of batch norm keep .9 of what they were, not .6, since batches are a sixteenth as large; and
since there are as many more steps, β learn 8 times as fast, not 64. The rate is 5 for 1.5 at 1,024 images:
in five epochs of seed 0 all rungs together come to 66.4 % by it, and to 57.1 by 1.5.
"""

from functools import partial

from experiments import airbench
from harness.parts.data import Torchvision

BASELINE = airbench.BASELINE.but(
    data=Torchvision(name="CIFAR10", limit=5_000, limit_test=2_000),
    model=airbench.BASELINE.model.but(widths=(16, 32, 32), momentum=0.9),
    optimizer=airbench.BASELINE.optimizer.but(lr=5.0),
    batch_size=64,
)
TRICKS = (*airbench.TRICKS[:2], partial(airbench.bias_rate, factor=8.0), *airbench.TRICKS[3:])
SEEDS = range(5)
EPOCHS = tuple(each for each in airbench.EPOCHS if each <= 24)
