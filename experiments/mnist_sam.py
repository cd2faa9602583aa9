"""MNIST, SAM with smoothing and mixup: does it add to them, or have they taken its benefit? Every set of the three.

    python -m harness.ablate mnist_sam --design factorial --fraction 0

Cost: 64 runs, some eight minutes on two quiet cores. 1,000 training images, all 10,000 test images; one layer of 256;
40 epochs of cosine decay, mixup's too (`epochs=1`); 8 seeds. What the report behind `mnist_optimizers` left to
experiments to come. An interaction below 0 says that SAM gives less where the other is, by twice as much. Found: SAM
+0.53 [+0.38, +0.69]; × label smoothing -0.10 [-0.18, -0.02], less together; × mixup -0.04 [-0.15, +0.08], not
resolved. So SAM adds to both: 0.72 points alone, 0.42 on smoothing, 0.54 on mixup, 0.45 on the two.

The rate and ρ = 0.1 are where SAM has something to give. At 0.1, a better rate for the baseline (90.0 of 10,000 other
training images where 0.05 has 89.4, four seeds), it gave nothing (89.9). The whole factorial there, by `--set
optimizer.lr=0.1`, says so too: SAM -0.11 [-0.28, +0.07], not resolved; × label smoothing -0.19 [-0.30, -0.08], less
together. With 5,000 images and ρ = 0.05 it gave nothing either. A step of SAM takes two gradients, which other rungs
could spend on twice the epochs.
"""

from functools import partial

from experiments import mnist_optimizers
from harness.parts.data import Torchvision
from harness.parts.models import Dense
from harness.parts.optimizers import NAG
from harness.tricks.cosine import cosine
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.sam import sam

BASELINE = cosine(
    mnist_optimizers.BASELINE.but(
        data=Torchvision(name="MNIST", limit=1_000),
        model=Dense(hidden=(256,)),
        optimizer=NAG(lr=0.05, per=None),
        epochs=40,
    )
)
TRICKS = (label_smoothing, partial(mixup, epochs=1), partial(sam, rho=0.1))
SEEDS = range(8)
