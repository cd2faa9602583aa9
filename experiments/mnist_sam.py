"""Does SAM add to label smoothing and mixup, or have they taken its benefit? Every set of the three, on MNIST.

    python -m harness.ablate mnist_sam --design factorial --fraction 0

The question that the report behind `mnist_optimizers` leaves to experiments to come. SAM × label smoothing and SAM ×
mixup are the answer: below 0, SAM gives less where the other is there. A baseline that overfits, so that there is
something to gain: 5,000 images, one layer of 256, 20 epochs; its rate was chosen among 0.02, 0.05, 0.1 and 0.2 by a
fifth of the training images. Mixup trains no longer here than the others: `epochs=1`. SAM's steps cost two gradients.
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
        data=Torchvision(name="MNIST", limit=5_000),
        model=Dense(hidden=(256,)),
        optimizer=NAG(lr=0.1, per=None),
        epochs=20,
    )
)
TRICKS = (label_smoothing, partial(mixup, epochs=1), sam)
SEEDS = range(8)
