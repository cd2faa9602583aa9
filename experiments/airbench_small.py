"""airbench in small: epochs to 60 % on 10,000 images of CIFAR-10, for two cores.

    python -m harness.ablate airbench_small --target 60
    python -m harness.report airbench_small@target-60 --published

Cost: some six lengths a rung, five runs each, of 3 to 24 epochs; `--dry-run` tells how long a round takes here. As
`airbench`, by the network of `cifar10` and with half an epoch of warm-up. β learn 8 times as fast, not 64: batches are
a sixteenth as large, so there are as many more steps.
"""

from functools import partial

from experiments import airbench, airbench_flips_small
from experiments.airbench import alternating_flip, bias_rate, lookahead, multi_crop
from experiments.airbench_flips import reshuffling
from harness.tricks.warmup import warmup

BASELINE = warmup(reshuffling(airbench_flips_small.BASELINE), epochs=0.5)
TRICKS = (partial(bias_rate, factor=8.0), lookahead, multi_crop, alternating_flip)
SEEDS = range(5)
EPOCHS = tuple(each for each in airbench.EPOCHS if each <= 24)
