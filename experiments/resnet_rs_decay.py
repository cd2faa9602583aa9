"""ResNet-RS, weight decay: Table 2 of "Revisiting ResNets" (Bello et al. 2021), a published interaction, ResNet-50.

    python -m harness.ablate resnet_rs_decay --set data.root=DIR
    python -m harness.report resnet_rs_decay --published

Cost on ImageNet: 18 runs of ResNet-50, 350 epochs each. For two cores: `cifar10_resnet_rs_decay`.
Published, top-1 at weight decay 1e-4 and 4e-5, runs not said: 79.7 and 78.7 without regularisation, 82.4 and 82.3 with
RandAugment and label smoothing, 82.2 and 82.7 with dropout too: the less decay, the more others regularise.

Its table calls both values "ResNet-50", and not the recipe beside them; here it is that of `resnet_rs`, cosine, long
training and EMA included.
"""

from functools import partial

from experiments import resnet_rs
from experiments.resnet_rs import TRICKS as LADDER
from experiments.resnet_rs import dropout_on_fc, label_smoothing, less_decay, randaugment
from harness.parts.models import RESNET50
from harness.spec import Branches, Spec, declares, stack


@declares("augment", "targets")
def ra_ls(spec: Spec, magnitude: int = 15) -> Spec:
    """RandAugment and smoothing: the two together."""
    return stack(spec, (partial(randaugment, magnitude=magnitude), label_smoothing))


BASELINE = stack(resnet_rs.BASELINE.but(model=RESNET50.but(variant="B")), LADDER[:3])
DROPOUT = partial(dropout_on_fc, rate=0.25)
TRICKS = (Branches((less_decay,), (ra_ls, Branches((less_decay,), (DROPOUT, less_decay)))),)
SEEDS = range(3)
