"""Ten species of monkeys at 64 px: from scratch, and from weights of another data set; how much of them to train.

    python -m harness.ablate cifar10 --only baseline --seeds 1 \\
        --set 'model={"kind": "ResNet", "blocks": [1, 1, 1, 1], "width": 16}'
    cp runs/store/ID/0/weights.pt weights.pt        # of the run that `python -m harness.store list` names
    python -m harness.ablate monkeys_finetune --set data.root=DIR

DIR holds train/ and val/, as `monkeys` tells. The first command trains the network of this study once on 10,000 images
of CIFAR-10 (any folder of photos does: `--set 'data={"kind": "ImageFolder", "root": "PHOTOS", "size": 64}'`); `WEIGHTS`
is where the third finds what it left, or `--set init.file='{"kind": "File", "path": "FILE"}'` says where. Their content
is in the ids: with other weights they are other runs. All from one pretraining, so intervals speak of what was trained
after it. Cost: 15 runs of 12 epochs, two seconds each on a quiet core: six minutes, and as much for the first command.

Found, with weights that blood cells left (1,082 crops of BCCD as an ImageFolder, 6 epochs), 4 epochs here, two seeds:
42.83 % from scratch, 41.54 from the weights, 35.85 with rates that fall, 38.42 with two groups frozen, 26.29 of the
head alone, whose epochs take less than half as long; none is resolved. Photos of things are untried.

The ways to go on from the weights are each set against training all of them at one rate: rates that fall by .7 from
group to group, the stem and the first stage frozen, and the head alone.
"""

from pathlib import Path

from harness.parts.augment import Flip, RandomAreaCrop
from harness.parts.data import ImageFolder
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import ResNet
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.pretrained import Pretrained
from harness.parts.schedules import Piecewise
from harness.spec import Branches, File, Spec, declares
from harness.tricks.cosine import Cosine
from harness.tricks.freeze import freeze
from harness.tricks.layerwise_rates import layerwise_rates
from harness.tricks.linear_probe import linear_probe
from harness.tricks.warmup import LinearWarmup

WEIGHTS = File(path=Path("weights.pt"))


@declares("init")
def pretrained(spec: Spec) -> Spec:
    """pretrained: all but the head begins as another data set left it."""
    return spec.having("init", Pretrained(file=WEIGHTS))


BASELINE = Spec(
    data=ImageFolder(root="data/monkeys", size=64),
    model=ResNet(blocks=(1, 1, 1, 1), width=16),
    init=(Xavier(),),
    decay=DecayAll(weight=1e-4),
    optimizer=NAG(lr=0.1, per=256),
    schedule=Piecewise(warmup=LinearWarmup(epochs=1), shape=Cosine()),
    batch_size=32,
    epochs=12,
    augment=(Flip(), RandomAreaCrop()),
    precision=FP32(),
)
TRICKS = (pretrained, Branches((layerwise_rates,), (freeze,), (linear_probe,)))
SEEDS = range(3)
