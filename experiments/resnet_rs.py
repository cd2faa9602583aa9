"""ResNet-RS: Table 1 of "Revisiting ResNets" (Bello et al. 2021), ResNet-200 at 256 px on ImageNet.

    python -m harness.ablate resnet_rs --set data.root=DIR
    python -m harness.report resnet_rs --published

Cost on ImageNet: 33 runs of ResNet-200 at 256 px, the last nine rungs of 350 epochs: out of reach of one GPU;
`--dry-run` tells the hours. For two cores: `cifar10_resnet_rs`. Weight decay by regularisation, its Table 2:
`resnet_rs_decay`.
Published, top-1, runs not said: 79.0, cosine 79.3, 350 epochs 78.8, EMA 79.1, label smoothing 80.4, stochastic depth
80.6, RandAugment 81.0, dropout 80.7, weight decay 1e-4 to 4e-5 82.2, squeeze-and-excitation 82.9, ResNet-D 83.4. Two
rungs fall, and a later one makes good for the second: what ablation is for.

Values are of the recipe that its authors released for this network; that Table 1 used just these is likely, and not
said. The length of the first two rungs is not said either: 90 epochs here. RandAugment's 15 is of torchvision's 30
magnitudes; theirs are counted otherwise.
"""

from functools import partial

from experiments import torchvision_recipe
from experiments.torchvision_recipe import long_training
from harness.parts.data import ImageFolder
from harness.parts.models import ResNet
from harness.spec import Spec, declares
from harness.tricks.cosine import cosine
from harness.tricks.dropout_on_fc import dropout_on_fc
from harness.tricks.ema import ema
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.randaugment import randaugment
from harness.tricks.resnet_d import resnet_d
from harness.tricks.squeeze_excitation import squeeze_excitation
from harness.tricks.stochastic_depth import stochastic_depth

RESNET200 = ResNet(blocks=(3, 24, 36, 3), variant="B")


@declares("decay.weight")
def less_decay(spec: Spec, weight: float = 4e-5) -> Spec:
    """less weight decay: 4e-5 for 1e-4, now that other tricks regularise."""
    return spec.but(decay=spec.decay.but(weight=weight))


BASELINE = torchvision_recipe.BASELINE.but(
    data=ImageFolder(root="data/imagenet", size=256), model=RESNET200, batch_size=4096
)
TRICKS = (
    cosine,
    partial(long_training, epochs=350),
    partial(ema, decay=0.9999),
    label_smoothing,
    partial(stochastic_depth, rate=0.1),
    partial(randaugment, magnitude=15),
    partial(dropout_on_fc, rate=0.25),
    less_decay,
    partial(squeeze_excitation, ratio=0.25),
    resnet_d,
)
SEEDS = range(3)
