"""ADE20K: transfer to segmentation, Table 9 of "Bag of Tricks", FCN on the network of each rung.

    python -m harness.ablate ade20k_segmentation --set data.root=ADE --set model.backbone.data.root=IMAGENET
    python -m harness.report ade20k_segmentation --table 9

ADE is ADEChallengeData2016. Cost: 21 networks of 120 epochs of 20,210 images, and the 21 ResNet-50s that they stand on,
as in `voc_detection`, the same runs. `--dry-run` tells the hours here.
Published, pixel accuracy and mIoU: B-standard 78.08 / 37.05, D-efficient 78.88 / 38.88, cosine 79.25 / 39.33, smoothing
78.64 / 38.75, then distillation 78.97 / 38.90, mixup 78.47 / 37.99, both 78.72 / 38.40: one run each.

The paper names FCN, PSPNet's setting and dilation in stages 3 and 4. What it does not say is gluon-cv's of its month:
output stride 8, a head of 3 x 3 with a quarter of the channels, an auxiliary head on stage 3 of weight .5, crops of 480
px of images whose short side is .5 to 2 times 520, mirrored, batch 16, SGD at .01, ten times that for the heads, decay
1e-4, a rate that falls as (1 - t/T)^.9, 120 epochs. What differs: images are not blurred; batch norm sees the images of
one device; tested is each image once and whole, where gluon-cv's numbers are of six scales, mirrored.
"""

from experiments import imagenet_refinements
from experiments.voc_detection import BACKBONE, efficient, rungs
from harness.parts.augment import Flip, ScaledCrop
from harness.parts.data.masks import ADE20K
from harness.parts.decay import DecayAll
from harness.parts.grouping import HeadRates
from harness.parts.init import Xavier
from harness.parts.models import FCN
from harness.parts.optimizers import SGD
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise, Poly
from harness.spec import Spec
from harness.tasks.segment import Segment

BASELINE = Spec(
    data=ADE20K(root="data/ADEChallengeData2016"),
    model=FCN(backbone=BACKBONE),
    task=Segment(),
    init=(Xavier(),),
    decay=DecayAll(),
    optimizer=SGD(lr=0.01, per=None),
    schedule=Piecewise(shape=Poly()),
    rates=HeadRates(heads=10.0),
    batch_size=16,
    epochs=120,
    augment=(ScaledCrop(), Flip()),
    precision=FP32(),
)
TRICKS = rungs(efficient, imagenet_refinements.ONE_TEACHER)
SEEDS = range(3)
