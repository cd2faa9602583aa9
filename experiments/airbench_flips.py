"""airbench, flips: alternating flip by reshuffling (Jordan 2024), a published factorial of two tricks on CIFAR-10.

    python -m harness.ablate airbench_flips --design factorial
    python -m harness.report airbench_flips@factorial --published

Cost: 20 runs of 50,000 images, 10 epochs; `--dry-run` tells how long here. For two cores: `airbench_flips_small`.
Published, mean of 1,000 runs each: 93.40 with random flips in one order for all epochs, 93.48 with alternating ones,
93.92 with random flips reshuffled, 94.01 with both. Gaps of a tenth of a point need hundreds of runs: `harness.plan
airbench_flips --design factorial --detect 0.1` tells how many.

It is on the last rung of `airbench`, but for its flip, at 10 epochs for 9.9.
"""

from experiments import airbench
from harness.spec import Spec, declares, stack
from harness.tricks.alternating_flip import alternating_flip
from harness.tricks.one_order import one_order


@declares("sampler")
def reshuffling(spec: Spec) -> Spec:
    """reshuffling: another order of the images in each epoch."""
    return spec.but(sampler=None)


BASELINE = one_order(stack(airbench.BASELINE, airbench.TRICKS[:-1]))
TRICKS = (alternating_flip, reshuffling)
SEEDS = range(5)
