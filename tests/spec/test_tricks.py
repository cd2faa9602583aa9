from functools import partial

import pytest

from harness import Problem
from harness.parts.models import FCN
from harness.spec import declared, on_backbone, stack
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup


def test_stack_applies_in_order(tiny):
    assert stack(tiny, [lambda s: s.but(epochs=s.epochs + 1), lambda s: s.but(epochs=s.epochs * 2)]).epochs == 14


def test_tricks_take_their_strength_by_partial(tiny):
    assert partial(mixup, alpha=0.4)(tiny).mix[0].alpha == 0.4


def test_a_trick_on_the_backbone_changes_that_alone_and_keeps_its_name(tiny):
    spec = tiny.but(model=FCN(backbone=tiny))
    on = on_backbone(partial(warmup, epochs=2))
    made = on(spec)
    assert made.model.backbone == warmup(tiny, epochs=2)
    assert made.but(model=spec.model) == spec
    assert (on.__name__, declared(on), on.__doc__) == ("warmup", ("model.backbone",), warmup.__doc__)
    with pytest.raises(Problem, match="stands on no run: warmup is made in the specification of one"):
        on(tiny)
