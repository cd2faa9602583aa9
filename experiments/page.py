"""Page: epochs to 94 % on CIFAR-10, rung by rung (Page 2019, "How to Train Your ResNet 8: Bag of Tricks").

    python -m harness.ablate page --target 94
    python -m harness.report page@target-94 --published

Cost: some six lengths a rung, five runs each, of 50,000 images; `--dry-run` tells how long a round takes here. For two
cores: `page_small`.
Published, epochs and seconds on a V100 to some 94.1 % in the mean of 50 runs: 24 and 75 s; data on the GPU 70 s;
max-pool moved 25 and 64, label smoothing 23 and 59, CELU 20 and 52, ghost batch norm 18 and 46, frozen scales 17 and
43, whitened input patches 14 and 36, EMA 13 and 33.5, mirrored test images and no cutout 10 and 26. His rule: .1 point
is an epoch. Data on the GPU are the same runs, and no rung here.

As published: the network, ResNet-9, in all its forms; batches of 512, Nesterov momentum of .9, weight decay of .0005 on
all parameters; a rate that rises over a fifth of training to .4, .6 from ghost batch norm on and 1 from whitening on,
and falls to 0, to a tenth with the EMA; a shift of up to 4 px; an average by .99^5 at every fifth step.
Otherwise: weights are drawn by Xavier's rule, not torch's; the rate of the first step is 0, not that of his first; what
a shift brings in and what cutout hides are black, not a reflection and the mean; cutout is centred anywhere, and cut
off at the edge, where his is always whole, and in the place of his 5 px it has 4; with the EMA the rate falls to the
end, and not for all but the last two epochs; ghost batch norm keeps statistics of 32 images at a time one after the
other, not the mean of sixteen; patches are whitened by their covariance about their mean, not about 0; numbers are
FP32, not half (`--set precision=FP16`); epochs are whole ones.
"""

from functools import partial

from experiments import airbench
from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import ResNet9
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Spec, declares, stack
from harness.tricks import ema as averages
from harness.tricks import whitening as patches
from harness.tricks.cutout import Cutout, cutout
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.norm_bias_rate import norm_bias_rate
from harness.tricks.triangular import triangular
from harness.tricks.tta import tta


@declares("model.early_pool")
def max_pool_moved(spec: Spec) -> Spec:
    """max-pool moved: right after the convolution, before norm and activation."""
    return spec.but(model=spec.model.but(early_pool=True))


@declares("model.celu")
def celu(spec: Spec, alpha: float = 0.075) -> Spec:
    """CELU: max(0, x) + min(0, α(exp(x/α) - 1)) in the place of ReLU, wherever one is."""
    return spec.but(model=spec.model.but(celu=alpha))


@declares("microbatch", "optimizer.lr")
def ghost_norm(spec: Spec, size: int = 32, lr: float = 0.6) -> Spec:
    """ghost batch norm: statistics of 32 images at a time, of a batch of 512; and a rate of .6."""
    return faster(spec.but(microbatch=size), lr)


@declares("model.frozen_scale", "model.scale", "rates", "decay")
def frozen_scales(spec: Spec, factor: float = 64.0) -> Spec:
    """frozen scales: γ stay at ¼, and β learn 64 times as fast, with a 64th of the weight decay.

    So their decay, a rate times a weight, is as before. Logits are ¼ of what they would be, and are doubled.
    """
    model = spec.model.but(frozen_scale=0.25, scale=0.25)
    return norm_bias_rate(spec.but(model=model, decay=spec.decay.but(betas=spec.decay.weight / factor)), factor)


@declares("model.patch_features", "init", "augment", "optimizer.lr")
def whitening(spec: Spec, lr: float = 1.0, length: float = 5 / 32) -> Spec:
    """patch whitening: of 3 x 3, then a 1 x 1 that learns; a rate of 1, and less cutout."""
    augment = tuple(part.but(length=length) if isinstance(part, Cutout) else part for part in spec.augment)
    made = spec.but(model=spec.model.but(patch_features=True), augment=augment)
    return faster(patches.whitening(made, eps=0.01, negatives=False), lr)


@declares("average", "schedule.shape")
def ema(spec: Spec) -> Spec:
    """EMA: every five steps, at .99 a step; and the rate falls to a tenth, not to 0."""
    return averages.ema(triangular(spec, peak=0.2, start=0.0, end=0.1), decay=0.99**5, every=5)


@declares("evaluation", "augment")
def flip_tta(spec: Spec) -> Spec:
    """mirrored test images: and no cutout."""
    return tta(spec.but(augment=tuple(part for part in spec.augment if not isinstance(part, Cutout))))


def faster(spec: Spec, lr: float) -> Spec:
    """At least this peak rate, at 512 images: of two tricks that raise it the greater counts, in either order."""
    return spec if spec.optimizer.rate(512) >= lr else spec.but(optimizer=spec.optimizer.but(lr=lr))


BASELINE = stack(
    Spec(
        data=Torchvision(name="CIFAR10"),
        model=ResNet9(),
        init=(Xavier(),),
        decay=DecayAll(weight=5e-4),
        optimizer=NAG(lr=0.4, per=512),
        schedule=Piecewise(),
        batch_size=512,
        epochs=10,
        augment=(Flip(), Shift(pixels=4)),
        precision=FP32(),
    ),
    (partial(triangular, peak=0.2, start=0.0, end=0.0), partial(cutout, length=0.25)),
)
SMOOTHING = partial(label_smoothing, smoothing=0.2)
TRICKS = (max_pool_moved, SMOOTHING, celu, ghost_norm, frozen_scales, whitening, ema, flip_tta)
SEEDS = range(5)
EPOCHS = airbench.EPOCHS
