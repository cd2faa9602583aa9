"""airbench: epochs to 94 % on CIFAR-10, rung by rung (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU").

    python -m harness.ablate airbench --target 94
    python -m harness.report airbench@target-94 --published

Cost: some six lengths a rung, five runs each, of up to 64 epochs and 50,000 images; `--dry-run` tells how long a round
takes here. For two cores: `airbench_small`.
Published, epochs and seconds on an A100 to a mean of 94 %: 45 and 18.3 s; frozen patch whitening 21 and 8.0, identity
initialization 18 and 6.8, 64 times the rate on biases of batch norms 13.5 and 5.1, Lookahead 12.0 and 4.6, six views
of each test image 10.8 and 4.2, alternating flip 9.9 and 3.83 (94.01 % in the mean of 1,000 runs). Compiled it is
3.29 s, the same runs, and no rung here.

As published: the network, batches of 1,024, Nesterov momentum of .85 at a peak rate of 1.5 (its 11.5 over 1 + 1/.15,
which is how its code reads), weight decay of .0153/11.5, a triangular rate, smoothing of .2, a shift of two px, and a
mirror image of each test image from the first rung on. Otherwise: weights are drawn by Xavier's rule, not torch's;
what a shift brings in is black, not a reflection; biases and β have no weight decay; the whitening layer's bias learns
in all epochs, not in three; numbers are FP32, not half (`--set precision=FP16`); epochs are whole ones.
"""

from functools import partial

from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.init import Xavier
from harness.parts.models import Airbench
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Spec, declares, stack
from harness.tricks import lookahead as slow
from harness.tricks.alternating_flip import alternating_flip
from harness.tricks.dirac import dirac
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.no_bias_decay import DecayWeights
from harness.tricks.norm_bias_rate import norm_bias_rate
from harness.tricks.triangular import triangular
from harness.tricks.tta import tta
from harness.tricks.whitening import whitening


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


BASELINE = stack(
    Spec(
        data=Torchvision(name="CIFAR10"),
        model=Airbench(),
        init=(Xavier(),),
        decay=DecayWeights(weight=0.00133),
        optimizer=NAG(lr=1.5, momentum=0.85, per=1024),
        schedule=Piecewise(),
        batch_size=1024,
        epochs=10,
        augment=(Flip(), Shift(pixels=2)),
        precision=FP32(),
    ),
    (triangular, partial(label_smoothing, smoothing=0.2), tta),
)
TRICKS = (whitening, dirac, bias_rate, lookahead, multi_crop, alternating_flip)
SEEDS = range(5)
EPOCHS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64)
