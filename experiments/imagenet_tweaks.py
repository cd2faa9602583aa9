"""ImageNet, model tweaks: Table 5 of "Bag of Tricks", ResNet-50, -B, -C and -D by the recipe of its section 3.

    python -m harness.ablate imagenet_tweaks --set data.root=DIR
    python -m harness.report imagenet_tweaks --table 5

Cost on ImageNet: 12 runs of ResNet-50, 120 epochs each; the first of them are `imagenet_efficient`'s last.
Published, top-1: 76.21, B 76.66, C 76.87, D 77.16, for 3.8, 4.1, 4.3 and 4.3 GFLOPs.
"""

from experiments import imagenet_efficient
from harness.tricks.resnet_b import resnet_b
from harness.tricks.resnet_c import resnet_c
from harness.tricks.resnet_d import resnet_d

BASELINE = imagenet_efficient.efficient(imagenet_efficient.BASELINE)
TRICKS = (resnet_b, resnet_c, resnet_d)
SEEDS = range(3)
