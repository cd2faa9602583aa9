from functools import partial

from harness.spec import stack
from harness.tricks.mixup import mixup


def test_stack_applies_in_order(tiny):
    assert stack(tiny, [lambda s: s.but(epochs=s.epochs + 1), lambda s: s.but(epochs=s.epochs * 2)]).epochs == 14


def test_tricks_take_their_strength_by_partial(tiny):
    assert partial(mixup, alpha=0.4)(tiny).mix[0].alpha == 0.4
