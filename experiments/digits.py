"""Digits: the ten-rung stack of "Bag of Tricks" on scikit-learn's 8 x 8 digits, the main job, made for two cores.

    python -m harness.ablate

Cost: 51 runs, five to six minutes on two cores. 597 training and 1,200 test images; a bottleneck ResNet of three
blocks; 5 seeds. The paper's recipe scaled down: 15 epochs stand for its 120 and 25 for its 200, 1 of warmup for its 5.
"""

from functools import partial

from optuna.distributions import CategoricalDistribution, FloatDistribution

from harness.parts.augment import Shift
from harness.parts.data import Digits
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import ResNet
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Spec
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import zero_gamma

BASELINE = Spec(
    data=Digits(),
    model=ResNet(blocks=(1, 1, 1), width=16, small=True),
    init=(Xavier(),),
    decay=DecayAll(weight=1e-4),
    optimizer=NAG(lr=0.1, per=256),
    schedule=Piecewise(),
    batch_size=32,
    epochs=15,
    augment=(Shift(pixels=1),),
    precision=FP32(),
)
TEACHER = BASELINE.model.but(blocks=(2, 2, 2))  # to the student what ResNet-152 is to ResNet-50: the same, deeper

TRICKS = (
    partial(warmup, epochs=1),
    zero_gamma,
    no_bias_decay,
    fp16,
    resnet_d,
    cosine,
    label_smoothing,
    mixup,
    partial(distillation, model=TEACHER),
)
SEEDS = range(5)
SPACE = {  # of `python -m harness.search`; a rung's are those that it has
    "optimizer.lr": FloatDistribution(0.02, 1, log=True),
    "optimizer.momentum": FloatDistribution(0.5, 0.98),
    "decay.weight": FloatDistribution(1e-5, 1e-2, log=True),
    "batch_size": CategoricalDistribution((16, 32, 64)),
    "schedule.warmup.epochs": FloatDistribution(0.25, 3),
    "targets.smoothing": FloatDistribution(0.02, 0.3),
    "mix.alpha": FloatDistribution(0.05, 1, log=True),
    "teacher.temperature": FloatDistribution(1, 20, log=True),
}
