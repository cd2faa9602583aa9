import pytest
import torch
from torch import nn

from harness import Problem
from harness.parts.optimizers import NAG, SGD, Adam, AdamP, AdamW, Expectigrad
from harness.tricks.adamp import adamp
from harness.tricks.fp16 import fp16
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.zero_gamma import zero_gamma


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_keeps_all_that_adam_has(kind, tiny):
    given = kind(lr=0.02, per=128, betas=(0.8, 0.99), eps=1e-6)
    spec = adamp(tiny.but(optimizer=given))
    assert spec.optimizer == AdamP(lr=0.02, per=128, betas=(0.8, 0.99), eps=1e-6)
    assert spec.but(optimizer=tiny.optimizer) == tiny


def test_keeps_its_own_settings(tiny):
    spec = tiny.but(optimizer=AdamP(delta=0.2, wd_ratio=0.5, nesterov=True))
    assert adamp(spec) == spec
    assert linear_scaling(spec).optimizer == spec.optimizer.but(per=256)


@pytest.mark.parametrize("other", [NAG(), SGD(), Expectigrad()], ids=str)
def test_what_is_no_adam_is_refused_in_a_line(other, tiny):
    with pytest.raises(Problem, match=f"^adamp: {type(other).__name__} is no Adam, give the baseline .*$"):
        adamp(tiny.but(optimizer=other))


def grown(trained, spec):
    """By what factor the weights that batch norm follows became longer, each layer's."""
    torch.manual_seed(0)
    from harness.train import build

    before, after = build(spec, 0, torch.device("cpu")).state_dict(), trained.model.state_dict()
    convs = [name for name, module in trained.model.named_modules() if isinstance(module, nn.Conv2d)]
    return torch.stack([after[f"{name}.weight"].norm() / before[f"{name}.weight"].norm() for name in convs])


def test_scale_invariant_weights_grow_less(tiny, live):
    """What it is for (their figure 3): twelve steps of the same rate, from the same weights, without weight decay."""
    spec = tiny.but(optimizer=AdamW(lr=0.03), decay=tiny.decay.but(weight=0.0))
    adam, projected = (grown(live(s)[0], s) for s in (spec, adamp(spec)))
    assert (projected > 1).all(), "the step is orthogonal, so the weights still grow, by Pythagoras"
    assert (projected - 1 < adam - 1).all()
    assert (projected - 1).mean() < 0.8 * (adam - 1).mean()


@pytest.mark.parametrize("also", [fp16, zero_gamma, lambda spec: fp16(zero_gamma(spec))], ids=["fp16", "γ", "both"])
def test_proves_itself_with_others(also, tiny, live):
    """Behind γ = 0 the first gradients are exactly 0, which is no step left out for an overflow."""
    trained, _ = live(adamp(also(tiny.but(optimizer=Adam(lr=0.01)))))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
