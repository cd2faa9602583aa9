"""Blood cells: Table 8 of "Bag of Tricks" in small, detectors on networks that learned monkeys; for two cores.

    python -m harness.ablate transfer_detection --set data.root=VOCDEVKIT --set model.backbone.data.root=PHOTOS
    python -m harness.report transfer_detection --table 8

VOCDEVKIT holds VOC2007 with the blood cells of BCCD: 205 photos to learn from, 87 held out to choose settings by, 72 to
test on; three classes. PHOTOS holds train/ and val/ of "10 Monkey Species". Cost: 27 detectors of 2 epochs, 21 networks
of 24 epochs, 40 with mixup, and two teachers; `--dry-run` tells the hours here. The last rungs are controls: from
scratch, and on a network that was never trained and is kept as it was drawn. Where no gain of training the network is
seen over these, gains between networks cannot be.
Settings were sought by the images held out (`--set 'data.test=[["2007","val"]]'`), one seed each, for one in which a
trained network helps. mAP, of the trained network and from scratch, with the backbone's share of the rate:
    8 epochs, rate .02: 55.11 at half, 63.16; rate .05: 70.78 at twice, 72.33
    8 epochs of 40 photos, rate .05: 51.96 at twice, 54.89 at six times, 54.92 at once; rate .1: 56.52 at six, 54.43
    4 epochs, rate .05: 65.02 at six times, 69.31 at twice; 1 epoch, rate .1: 49.41 at six times
    2 epochs, rate .1: 59.48 at six times; 55.06 at once, 59.07 at six times (the study's)
    8 epochs, all kept but the head: 57.26, and 60.49 as drawn
Networks that were trained have longer weights, which the same rate turns less: six times it makes up for that.
Published, of ResNet-50 and the real VOC: see `voc_detection`.
"""

from functools import partial

from experiments import photos, voc_detection
from harness.parts.augment import Flip, RandomAreaCrop
from harness.parts.data import ImageFolder
from harness.parts.data.boxes import VOC
from harness.parts.decay import DecayAll
from harness.parts.grouping import HeadRates
from harness.parts.models import ResNet
from harness.parts.optimizers import NAG
from harness.parts.schedules import Piecewise
from harness.spec import Branches, Spec, declares, stack
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.warmup import LinearWarmup, warmup
from harness.tricks.zero_gamma import zero_gamma


@declares("schedule.warmup", "init", "decay", "model.variant")
def efficient(spec: Spec) -> Spec:
    """D-efficient: ResNet-D with warmup, zero γ and no bias decay; FP16 would be emulated on CPUs."""
    return stack(spec, (partial(warmup, epochs=1), zero_gamma, no_bias_decay, resnet_d))


@declares("model.backbone", "model.frozen_stages")
def from_scratch(spec: Spec) -> Spec:
    """from scratch: the same network, of which nothing is learned before, and all is trained."""
    return spec.but(model=spec.model.but(backbone=spec.model.network, frozen_stages=0))  # type: ignore[attr-defined]


@declares("model.backbone", "model.frozen_stages")
def frozen_random(spec: Spec) -> Spec:
    """frozen, as drawn: the stages below the head are never trained."""
    scratch = from_scratch(spec).model
    return spec.but(model=scratch.but(frozen_stages=len(scratch.stage_names) - 1))  # type: ignore[attr-defined]


NETWORK = ResNet(blocks=(1, 1, 1, 1), bottleneck=False, width=32, variant="B")
BACKBONE = photos.BASELINE.but(
    data=ImageFolder(root="data/photos", size=96),
    model=NETWORK,
    optimizer=NAG(lr=0.05, per=None),
    batch_size=32,
    epochs=24,
    augment=(RandomAreaCrop(area=(0.35, 1.0)), Flip()),
)
BASELINE = voc_detection.BASELINE.but(
    data=VOC(root="data/VOCdevkit", train=(("2007", "train"),), test=(("2007", "test"),), short=240, long=320),
    model=voc_detection.BASELINE.model.but(
        backbone=BACKBONE,
        frozen_stages=0,
        frozen_norms=False,
        anchors=(16, 32, 64, 128),
        anchor_samples=128,
        region_samples=64,
        pooled=7,
    ),
    decay=DecayAll(),
    optimizer=NAG(lr=0.1, per=None),
    rates=HeadRates(backbone=6.0, heads=1.0),
    schedule=Piecewise(warmup=LinearWarmup(epochs=1), shape=Cosine()),
    epochs=2,
    clip=(),
)
DISTILLATION = partial(
    distillation,
    model=NETWORK.but(blocks=(2, 2, 2, 2)),
    tricks=(resnet_d, cosine, label_smoothing),
)
MIXUP = partial(mixup, alpha=0.2)
TRICKS = (Branches(voc_detection.rungs(efficient, DISTILLATION, MIXUP), (from_scratch,), (frozen_random,)),)
SEEDS = range(3)
