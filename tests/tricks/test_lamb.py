"""LAMB and Lion as tricks; their steps are tested by `tests/parts/test_optimizers.py`."""

import pytest

from harness import Problem
from harness.parts.optimizers import NAG, AdamP, Lamb, Lion
from harness.tricks.lamb import lamb
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.lion import lion


@pytest.mark.parametrize(("trick", "kind", "lr"), [(lamb, Lamb, 5e-3), (lion, Lion, 3e-4)])
def test_takes_the_place_of_the_optimizer(trick, kind, lr, tiny):
    plain = tiny.but(optimizer=NAG(per=None))
    assert trick(plain) == plain.but(optimizer=kind(lr=lr))
    assert trick(linear_scaling(plain)) == linear_scaling(trick(plain)), "a rate that is scaled stays so"
    for other in (AdamP(), *{Lamb(), Lion()} - {kind()}):
        with pytest.raises(Problem, match=rf"^{trick.__name__}: optimizer={type(other).__name__} is there already"):
            trick(tiny.but(optimizer=other))
