"""A study of a user's own, called like a word of the loop, with a part of its own and what no shipped study imports."""

import json
import pickle

from harness.tricks.boxmix import boxmix

from harness import Problem
from harness.evidence import Check
from harness.parts.augment import Shift
from harness.spec import Spec
from harness.tricks.mixup import mixup
from tests.kit.tiny import BASELINE


class Own(Shift):
    def proof(self, spec, trace):
        yield Check("its name", "own", pickle.loads(pickle.dumps("own")), bool(json and Problem))


def own(spec: Spec) -> Spec:
    """own shift: by a pixel, as the other does."""
    return spec.having("augment", Own())


TRICKS = (own, mixup, boxmix)
SEEDS = (0, 1)
BASELINE = BASELINE.but(augment=())
