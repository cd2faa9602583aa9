"""airbench, flips in small: the factorial of `airbench_flips` on 5,000 images, for two cores.

    python -m harness.ablate airbench_flips_small --design factorial
    python -m harness.report airbench_flips_small@factorial --published

Cost: 40 runs of 12 epochs, ten of each cell; `--dry-run` tells how long here. It is on the last rung of
`airbench_small`, but for its flip.
"""

from experiments import airbench_flips, airbench_small
from harness.spec import stack
from harness.tricks.one_order import one_order

BASELINE = one_order(stack(airbench_small.BASELINE, airbench_small.TRICKS[:-1])).but(epochs=12)
TRICKS = airbench_flips.TRICKS
SEEDS = range(10)
