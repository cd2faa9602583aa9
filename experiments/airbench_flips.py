"""airbench, flips: alternating flip by reshuffling (Jordan 2024), a published factorial of two tricks on CIFAR-10.

    python -m harness.ablate airbench_flips --design factorial
    python -m harness.report airbench_flips@factorial --published

Cost: 20 runs of 50,000 images, 10 epochs; `--dry-run` tells how long here. For two cores: `airbench_flips_small`.
Published, mean of 1,000 runs each: 93.40 with random flips in one order for all epochs, 93.48 with alternating ones,
93.92 with random flips reshuffled, 94.01 with both. Gaps of a tenth of a point need hundreds of runs: `harness.plan
airbench_flips --design factorial --detect 0.1` tells how many.

The network here is a ResNet-18 of a quarter of its width, not airbench's.
"""

from functools import partial

from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import RESNET18
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Spec, declares, stack
from harness.tricks.alternating_flip import alternating_flip
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.one_order import one_order
from harness.tricks.warmup import warmup


@declares("sampler")
def reshuffling(spec: Spec) -> Spec:
    """reshuffling: another order of the images in each epoch."""
    return spec.but(sampler=None)


BASELINE = stack(
    Spec(
        data=Torchvision(name="CIFAR10"),
        model=RESNET18.but(width=16, small=True),
        init=(Xavier(),),
        decay=DecayAll(weight=5e-4),
        optimizer=NAG(lr=0.1, per=256),
        schedule=Piecewise(),
        batch_size=256,
        epochs=10,
        augment=(Flip(), Shift(pixels=2)),
        precision=FP32(),
    ),
    (one_order, partial(warmup, epochs=2), cosine, partial(label_smoothing, smoothing=0.2)),
)
TRICKS = (alternating_flip, reshuffling)
SEEDS = range(5)
