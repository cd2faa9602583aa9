"""CIFAR-10, networks: Table 1 of "Bag of Tricks" in small, networks of a few blocks for its deep ones.

    python -m harness.ablate cifar10_models
    python -m harness.report cifar10_models --table 1

Cost: 31 runs, some twenty minutes on two quiet cores by `--dry-run`. The batch stays at 32 with all tricks, as in
`cifar10`, whose last rung that is.
"""

from functools import partial

from experiments.cifar10 import DISTILLATION, WARMUP, in_small
from experiments.imagenet_efficient import HEURISTICS
from experiments.imagenet_models import BASELINE as LARGE
from experiments.imagenet_models import densenet201, resnext50, se_resnet50, se_resnext50, tricks
from harness.parts.models import Timm
from harness.spec import Branches, Spec, declares, stack


@declares("schedule.warmup", "init", "decay", "precision")
def heuristics(spec: Spec) -> Spec:
    """efficient: all but the larger batch."""
    return stack(spec, (WARMUP, *HEURISTICS[1:]))


BASELINE = in_small(LARGE)
FOUR = (("layers", (1, 1, 1, 1)), ("channels", (16, 32, 64, 128)))
GROUPS = (*FOUR, ("cardinality", 8), ("base_width", 16))
DENSE = (("block_config", (2, 4, 4)), ("growth_rate", 16))
TRICKS = (
    Branches(
        (partial(resnext50, model=Timm(name="resnext50_32x4d", options=GROUPS)),),
        (partial(se_resnet50, model=Timm(name="seresnet50", options=FOUR)),),
        (partial(se_resnext50, model=Timm(name="seresnext50_32x4d", options=GROUPS)),),
        (partial(densenet201, model=Timm(name="densenet201", options=DENSE)),),
        (partial(tricks, recipe=heuristics, distilled=DISTILLATION),),
    ),
)
SEEDS = range(5)
