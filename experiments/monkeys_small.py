"""Monkeys at 48 px: `monkeys` in small, the same ladder, networks of a few layers; for two cores.

    python -m harness.ablate monkeys_small --set data.of.root=DIR

Cost: 21 runs of 18 epochs, the last three of 24; an epoch of 878 images takes 3.3 s of one core, of the TinyNet 5,
three quarters of that imgaug's: a quarter of an hour on two quiet cores, and ten minutes more for
`monkeys_policy_small`, whose first rung is the baseline here. Batch 32 for 128, one epoch of warmup for 5, six without
a lower loss to stop for 30. Found: 51.59 ± 2.45 % of the 272 test images for the baseline (chance has 10), and no gain
of the six resolved, with three seeds of s.d. 2 to 5. Published: 94.1 %, of 224 px, 300 epochs, and weights picked on
the images that they are reported for; why the two cannot be compared tells `monkeys`.
"""

from functools import partial

from experiments import monkeys
from harness.parts.models import ResNet, Timm
from harness.parts.stopping import EarlyStopping
from harness.spec import Spec, declares
from harness.tricks.adamp import adamp
from harness.tricks.cosine import cosine
from harness.tricks.fp16 import fp16
from harness.tricks.warmup import warmup


def in_small(spec: Spec) -> Spec:
    """What the study of 224 px becomes on two cores: these slots, and no other."""
    data = spec.data.but(of=spec.data.of.but(size=48))  # type: ignore[attr-defined]
    model = ResNet(blocks=(1, 1, 1, 1), width=16)
    return spec.but(
        data=data, model=model, batch_size=32, epochs=18, stop=(EarlyStopping(patience=6, keep="val_top1"),)
    )


@declares("model")
def tinynet(spec: Spec) -> Spec:
    """TinyNet-E: EfficientNet-B0 made smaller, in the place of the ResNet (Han et al. 2020)."""
    return spec.but(model=Timm(name="tinynet_e"))


BASELINE = in_small(monkeys.BASELINE)
TRICKS = (partial(warmup, epochs=1), cosine, fp16, tinynet, adamp, monkeys.longer)
SEEDS = monkeys.SEEDS
