"""airbench: epochs to 94 % on CIFAR-10, rung by rung (Jordan 2024), of the tricks that there are here.

    python -m harness.ablate airbench --target 94
    python -m harness.report airbench@target-94 --published

Cost: some twenty runs a rung, of up to 64 epochs and 50,000 images; `--dry-run` tells how long a round takes here. For
two cores: `airbench_small`.
Published, epochs and seconds on an A100 to a mean of 94 %: 45 and 18.3 s; frozen patch whitening 21 and 8.0, identity
initialization 18 and 6.8, 64 times the rate on biases of batch norms 13.5 and 5.1, Lookahead 12.0 and 4.6, six views
of each test image 10.8 and 4.2, alternating flip 9.9 and 3.83 (94.01 % in the mean of 1,000 runs), compiled 3.29 s.

Whitening and identity initialization are no rungs here, and the network is that of `airbench_flips`, not airbench's:
what stands on one of them is over another rung than in the paper. Epochs are whole ones here.
"""

from experiments import airbench_flips
from harness.spec import Spec, declares
from harness.tricks import lookahead as slow
from harness.tricks.alternating_flip import alternating_flip
from harness.tricks.norm_bias_rate import norm_bias_rate
from harness.tricks.tta import tta


@declares("rates")
def bias_rate(spec: Spec, factor: float = 64.0) -> Spec:
    """64 × rate on biases: of batch norms."""
    return norm_bias_rate(spec, factor=factor)


@declares("average")
def lookahead(spec: Spec) -> Spec:
    """Lookahead: every five steps, less and less of the way."""
    return spec.having("average", slow.Lookahead(every=5, alpha=1 - 0.95**5, power=3))


@declares("evaluation")
def multi_crop(spec: Spec) -> Spec:
    """multi-crop TTA: six views of each test image, mirrored and shifted by a pixel."""
    return tta(spec, shift=1)


BASELINE = airbench_flips.reshuffling(airbench_flips.BASELINE)
TRICKS = (bias_rate, lookahead, multi_crop, alternating_flip)
SEEDS = range(5)
EPOCHS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64)
