import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.parts.models import (
    RESNET50,
    ResNet,
    cost,
)


@pytest.mark.parametrize(("variant", "gmacs"), [("A", 3.8), ("B", 4.1), ("C", 4.3), ("D", 4.3)])
def test_cost_of_variants_as_table_5_prints(variant, gmacs):
    params, macs = cost(RESNET50.but(variant=variant), 3, 1000, 224)
    assert 25.5e6 < params < 25.6e6
    assert macs / 1e9 == pytest.approx(gmacs, abs=0.06)  # the paper cuts 3.86 to 3.8


def test_cost_by_hand():
    plain = ResNet(blocks=(1,), bottleneck=False, width=2, small=True)  # on 1 x 4 x 4, three classes
    stem, block, fc = (2 * 1 * 9, 2 * 2), 2 * (2 * 2 * 9 + 2 * 2), 2 * 3 + 3
    assert cost(plain, 1, 3, 4) == (sum(stem) + block + fc, 16 * (2 * 1 * 9) + 16 * 2 * (2 * 2 * 9) + 2 * 3)

    bottleneck = ResNet(blocks=(1, 1), width=2, small=True)  # 4 x 4, and 2 x 2 after the second block's first 1 x 1
    convs = [1 * 2 * 9 * 16]  # the stem
    convs += [2 * 2 * 16, 2 * 2 * 9 * 16, 2 * 8 * 16, 2 * 8 * 16]  # 2 → 2 → 2 → 8, shortcut 2 → 8
    convs += [8 * 4 * 4, 4 * 4 * 9 * 4, 4 * 16 * 4, 8 * 16 * 4]  # 8 → 4 → 4 → 16 on 2 x 2, shortcut 8 → 16
    assert cost(bottleneck, 1, 3, 4)[1] == sum(convs) + 16 * 3
    in_3x3 = 8 * 4 * 16 - 8 * 4 * 4  # B: the first 1 x 1 still sees 4 x 4
    assert cost(bottleneck.but(variant="B"), 1, 3, 4)[1] == sum(convs) + 16 * 3 + in_3x3


def test_multiply_adds_of_the_first_forward_are_torchs(live, tiny):
    """torch counts each as two."""
    _, trace = live(tiny)
    with FlopCounterMode(display=False) as counter:
        tiny.model.build(1, 10)(torch.zeros(1, 1, 8, 8).expand(2, -1, -1, -1))
    assert sum(trace.macs.values()) == counter.get_total_flops() / 2 / 2
