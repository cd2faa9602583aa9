"""ImageNet, efficient training: Tables 2 to 4 of "Bag of Tricks", its section 3 at batch 256 and 1,024.

    python -m harness.ablate imagenet_efficient --set data.root=DIR
    python -m harness.report imagenet_efficient --table 4

Cost on ImageNet: 42 runs of 120 epochs; `--dry-run` tells the GPU-hours here, the paper 13.3 minutes an epoch of the
baseline and 4.4 of ResNet-50's last rung, on 8 V100. `--limit 10000` takes a slice.
Published, top-1: ResNet-50 75.87 at batch 256 in FP32; warmup 76.03, zero γ 76.19, no bias decay 76.16, FP16 76.15; at
batch 1,024 linear scaling alone 75.17, warmup 75.93, zero γ 76.37, no bias decay 76.03, FP16 76.21. Inception-V3 from
77.32 to 77.50, MobileNet from 69.03 to 71.90. The paper has one seed each; here there are three.
"""

from experiments import photos
from harness.parts.data import Files, ImageFolder
from harness.parts.models import INCEPTION_V3, MOBILENET
from harness.spec import Branches, Spec, Trick, declares, stack
from harness.tricks.fp16 import fp16
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma


@declares("batch_size")
def large_batch(spec: Spec) -> Spec:
    """batch × 4: 1,024 for 256, and by linear scaling four times the rate."""
    return spec.but(batch_size=4 * spec.batch_size)


HEURISTICS = (warmup, zero_gamma, no_bias_decay, fp16)


@declares("batch_size", "schedule.warmup", "init", "decay", "precision")
def efficient(spec: Spec, heuristics: tuple[Trick, ...] = HEURISTICS) -> Spec:
    """efficient: batch × 4, warmup, zero γ where there are residual blocks, no bias decay, FP16."""
    return stack(large_batch(spec), heuristics)


@declares("model", "data.size", "init")
def inception_v3(spec: Spec) -> Spec:
    """Inception-V3: at 299 px where others have 224, without zero γ: it has no residual blocks."""
    if not isinstance(spec.data, Files):
        raise ValueError(f"Inception-V3 needs images of a size that can be chosen, not {spec.data!r}")
    data = spec.data.but(size=round(spec.data.size * 299 / 224))
    return without_zero_gamma(spec).but(model=INCEPTION_V3, data=data)


@declares("model", "init")
def mobilenet(spec: Spec) -> Spec:
    """MobileNet: without zero γ, having no residual blocks."""
    return without_zero_gamma(spec).but(model=MOBILENET)


def without_zero_gamma(spec: Spec) -> Spec:
    return spec.but(init=tuple(part for part in spec.init if not isinstance(part, ZeroGamma)))


BASELINE = photos.BASELINE.but(data=ImageFolder(root="data/imagenet"))
TRICKS = (
    Branches(
        HEURISTICS,
        (large_batch, *HEURISTICS),
        (inception_v3, efficient),
        (mobilenet, efficient),
    ),
)
SEEDS = range(3)
