"""Networks: ResNets, linear layers, airbench's, the ResNet-9, timm's; detectors and segmenters that stand on them."""

from harness.parts.models.airbench import Airbench
from harness.parts.models.cost import Sides, answer, area, cost, macs_check, sides, single
from harness.parts.models.dense import Dense
from harness.parts.models.faster_rcnn import FasterRCNN
from harness.parts.models.fcn import FCN
from harness.parts.models.resnet import (
    CONVNEXT_T,
    RESNET18,
    RESNET34,
    RESNET50,
    RESNET101,
    RESNET152,
    Residual,
    ResNet,
    Weights,
    structure_of,
    with_fields,
    with_variant,
)
from harness.parts.models.resnet9 import ResNet9
from harness.parts.models.timm import (
    DENSENET201,
    INCEPTION_V3,
    MOBILENET,
    OTHERS,
    RESNEXT50,
    SE_RESNET50,
    SE_RESNEXT50,
    Timm,
    dropping,
    outline,
)
