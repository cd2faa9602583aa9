"""A user's study with a part of its own."""

OWN = '''"""A study with a part of its own."""
from collections.abc import Iterable
from harness.evidence import Check
from harness.spec import Augment
from tests.kit.tiny import BASELINE

BASELINE = BASELINE.but(epochs=1)
GAIN = 0.9

def dimmed(x):
    return x * GAIN

class Dimmed(Augment):
    def __call__(self, x, rng):
        return dimmed(x)
    def proof(self, spec, trace):
        yield Check("dimmed", "yes", "yes", True)

def dim(spec):
    return spec.having("augment", Dimmed())

TRICKS = (dim,)
SEEDS = (0, 1)
'''
