"""Places365: Table 7 of "Bag of Tricks", ResNet-50-D on another set of images, efficient and with the refinements.

    python -m harness.ablate places365 --set data.root=DIR
    python -m harness.report places365 --table 7

DIR holds the standard set at 256 px as train/CLASS/FILE and val/CLASS/FILE. Cost: 6 runs of ResNet-50-D, 120 and 200
epochs of 1.8 million images. Published: validation top-1 56.34 and 56.70, top-5 86.87 and 87.33. The labels of its test
set are not public, so there is nothing to set beside the paper's test columns.
"""

from experiments import imagenet_refinements
from harness.parts.data import ImageFolder
from harness.spec import Spec, declares, stack
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup


@declares("schedule.shape", "targets", "mix", "epochs")
def best(spec: Spec) -> Spec:
    """best: cosine decay, label smoothing and mixup; no distillation, by the table's caption."""
    return stack(spec, (cosine, label_smoothing, mixup))


BASELINE = imagenet_refinements.BASELINE.but(data=ImageFolder(root="data/places365"))
TRICKS = (best,)
SEEDS = range(3)
