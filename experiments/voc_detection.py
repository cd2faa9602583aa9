"""Pascal VOC: transfer to detection, Table 8 of "Bag of Tricks", Faster R-CNN on the network of each rung.

    python -m harness.ablate voc_detection --set data.root=VOCDEVKIT --set model.backbone.data.root=IMAGENET
    python -m harness.report voc_detection --table 8

VOCDEVKIT holds VOC2007 and VOC2012. Cost: 21 detectors of 20 epochs of 16,551 images, and the 21 ResNet-50s that they
stand on, detector and network of one seed, with two teachers: all but those of the first row are runs of
`imagenet_refinements`, and what is trained already is not trained again. `--dry-run` tells the hours here.
Published, mAP: B-standard 77.54, D-efficient 78.30, cosine 79.23, smoothing 80.71, then distillation 80.96, mixup
81.10, both 81.33: one run each.

The paper says little: VOC07+12 trainval against VOC07 test, "linear warmup and long training schedule", the base
networks. What it does not say is gluon-cv's of its month (December 2018): C4 with RoIAlign, short side 600, long side
up to 1,000, mirrored images, stem, stage 1 and every batch norm frozen, SGD at .001 by the mean over four images, 20
epochs, a cut at 14 (the second, at 20, never comes), decay 5e-4, gradients' values cut at 5. Its script has warmup off
for VOC, and the paper says that it was on: it is on here, over 1/10 of an epoch. Its script reports the best epoch by
test mAP: here it is the last. "B-standard" is nowhere described: here it is ResNet-50-B, trained as the baseline is.
"""

from experiments import imagenet_efficient, imagenet_refinements
from harness.parts.augment import Flip
from harness.parts.clipping import ClipValue
from harness.parts.data.boxes import VOC
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import FasterRCNN
from harness.parts.optimizers import SGD
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise, Step
from harness.spec import Branches, Spec, Trick, declares, on_backbone, stack
from harness.tasks.detect import Detect
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.resnet_b import resnet_b
from harness.tricks.resnet_d import resnet_d
from harness.tricks.warmup import LinearWarmup


@declares("model.variant", "batch_size", "schedule.warmup", "init", "decay", "precision")
def efficient(spec: Spec) -> Spec:
    """D-efficient: ResNet-D, trained at batch × 4 with warmup, zero γ, no bias decay and FP16."""
    return resnet_d(imagenet_efficient.efficient(spec))


def rungs(efficient: Trick, distilled: Trick, mixed: Trick = mixup) -> tuple[Trick | Branches, ...]:
    """The rows of Tables 8 and 9 above the first, each made in the specification of the backbone's run."""

    @declares("mix", "epochs", "teacher")
    def mixup_distillation(spec: Spec) -> Spec:
        """mixup and distillation: both."""
        return stack(spec, (mixed, distilled))

    last = Branches(*((on_backbone(trick),) for trick in (distilled, mixed, mixup_distillation)))
    return (*map(on_backbone, (efficient, cosine, label_smoothing)), last)


BACKBONE = resnet_b(imagenet_efficient.BASELINE)
BASELINE = Spec(
    data=VOC(root="data/VOCdevkit"),
    model=FasterRCNN(backbone=BACKBONE, frozen_stages=2, frozen_norms=True),
    task=Detect(),
    init=(Xavier(),),
    decay=DecayAll(weight=5e-4),
    optimizer=SGD(lr=0.001, per=None),
    schedule=Piecewise(warmup=LinearWarmup(epochs=0.1), shape=Step(at=(0.7,))),
    batch_size=4,
    epochs=20,
    augment=(Flip(),),
    precision=FP32(),
    clip=(ClipValue(most=5.0),),
)
TRICKS = rungs(efficient, imagenet_refinements.ONE_TEACHER)
SEEDS = range(3)
