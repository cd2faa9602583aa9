"""Optimizers on MNIST: SAM, AdamP and Expectigrad beside those that they build on, accuracy by epoch.

    python -m harness.ablate mnist_optimizers
    python -m harness.report mnist_optimizers --at 10 20 30 40 50 60 70 80 90 100

Cost: 21 runs of 100 epochs, an epoch 3 s on one core by SGD and Adam, 4 to 5 by the others: 1½ hours on two cores.
After a report on three optimizers of "Descending through a Crowded Valley" (Schmidt et al. 2021): a dense layer of 784
units, batch 128, a constant rate of 0.001, 100 epochs. Its Table II is reports/published/mnist_optimizers.csv: SAM
0.81, AdamP 0.69 and Expectigrad 0.90 at the end. Here two epochs give more: plain SGD and SAM 0.86, Adam, AdamP and
Expectigrad 0.97. Found after 100, in percent, three seeds: SGD 96.06 ± 0.04, and over it SAM +0.30, NAG +2.03, Adam
+2.23, Expectigrad +2.46, each resolved; over Adam neither AdamW nor AdamP. Expectigrad's training loss ends at 2e-5 and
its test loss hardly rises, where that of Adam and AdamP has trebled since epoch 5.

Where the report is at odds with itself, or silent, here is: all 60,000 training images, where its text trains "on the
test set", of 10,000; the dense network of its Table I, where it says CNN; pixels normalised by their mean and s.d.;
Glorot's uniform weights, the default of Keras, whose layers it names; ReLU between the layers, of which it says
nothing; SAM on plain SGD, as its Algorithm 1 steps, with the authors' ρ = 0.05; no decay, but AdamW's; the 96 images
that fill no batch left out of each epoch. What it calls validation is the test set. `data.root` (default data/) holds
MNIST/raw, downloaded there where that works.

Its AdamP, to within 8 points at every tenth epoch, from a rate 4,000 times smaller and as few images; which of the
causes of too small a step it had cannot be told from its numbers, for plain SGD at 2.5e-5 is within 6 of them:

    python -m harness.ablate mnist_optimizers --limit 10000 --set optimizer.lr=2.5e-7 --only adam.adamp --seeds 1
    python -m harness.ablate mnist_optimizers --limit 10000 --set optimizer.lr=2.5e-5 --only baseline
"""

from harness.parts.data import Torchvision
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import Dense
from harness.parts.optimizers import NAG, SGD, Adam, AdamW, Expectigrad
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise, Step
from harness.spec import Branches, Spec, declares
from harness.tricks.adamp import adamp
from harness.tricks.sam import sam

BASELINE = Spec(
    data=Torchvision(name="MNIST"),
    model=Dense(hidden=(784,), size=28),
    init=(Xavier(),),
    decay=DecayAll(weight=0),
    optimizer=SGD(lr=0.001, momentum=0, per=None),
    schedule=Piecewise(shape=Step(at=())),  # cut nowhere: a constant rate
    batch_size=128,
    epochs=100,
    precision=FP32(),
)


@declares("optimizer")
def nag(spec: Spec) -> Spec:
    """NAG: SGD with Nesterov momentum 0.9 (Nesterov 1983)."""
    return spec.but(optimizer=NAG(lr=spec.optimizer.rate(spec.batch_size), per=None))


@declares("optimizer")
def adam(spec: Spec) -> Spec:
    """Adam: steps divided by the root of a running mean of squares (Kingma and Ba 2015)."""
    return spec.but(optimizer=Adam(lr=spec.optimizer.rate(spec.batch_size)))


@declares("optimizer", "decay.weight")
def adamw(spec: Spec, weight: float = 0.01) -> Spec:
    """AdamW, λ = 0.01: decoupled weight decay (Loshchilov and Hutter 2019), at torch's default.

    The rest of the study has none. Without it AdamW is Adam, bit for bit.
    """
    optimizer = AdamW(lr=spec.optimizer.rate(spec.batch_size))
    return spec.but(optimizer=optimizer, decay=spec.decay.but(weight=weight))


@declares("optimizer")
def expectigrad(spec: Spec) -> Spec:
    """Expectigrad: steps divided by the root of the mean of all squares so far (Daley and Amato 2020)."""
    return spec.but(optimizer=Expectigrad(lr=spec.optimizer.rate(spec.batch_size)))


TRICKS = (Branches((nag,), (adam, Branches((adamw,), (adamp,))), (expectigrad,), (sam,)),)
SEEDS = range(3)
