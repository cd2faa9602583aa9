import pytest
import torch

from harness.evidence import Trace
from harness.parts.decay import DecayAll
from harness.parts.models import ResNet
from harness.parts.optimizers import NAG
from harness.tricks.no_bias_decay import DecayWeights, no_bias_decay

BLOCK = ("body.0", "body.3", "body.6")  # convolutions of a bottleneck block; 1, 4 and 7 are batch norms


def net(**changes):
    return ResNet(blocks=(1, 1), width=4, small=True).but(**changes).build(1, 10)


def decayed(model, decay):
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: g["weight_decay"] for g in decay.groups(model) for p in g["params"]}


def test_names_that_are_decayed():
    rates = decayed(net(), DecayWeights(weight=5e-4))
    wanted = {"stem.0.weight", "fc.weight"}
    wanted |= {f"stage{stage}.0.{layer}.weight" for stage in (1, 2) for layer in (*BLOCK, "shortcut.0")}
    assert {name for name, rate in rates.items() if rate == 5e-4} == wanted
    norms = ("body.1", "body.4", "body.7", "shortcut.1")
    spared = {f"stage{stage}.0.{norm}.{p}" for stage in (1, 2) for norm in norms for p in ("weight", "bias")}
    assert {name for name, rate in rates.items() if rate == 0} == spared | {"stem.1.weight", "stem.1.bias", "fc.bias"}


@pytest.mark.parametrize("changes", [{"bottleneck": False}, {"variant": "D"}, {"variant": "C", "small": False}])
def test_matrices_are_decayed_and_vectors_are_not(changes):
    model = net(**changes)
    rates = decayed(model, DecayWeights(weight=1e-4))
    shapes = {name: p.ndim for name, p in model.named_parameters()}
    assert rates == {name: 1e-4 if ndim > 1 else 0.0 for name, ndim in shapes.items()}
    assert sum(len(group["params"]) for group in DecayWeights().groups(model)) == len(shapes), "each once"


def test_keeps_the_weight(tiny):
    assert no_bias_decay(tiny.but(decay=DecayAll(weight=3e-4))).decay == DecayWeights(weight=3e-4)
    assert no_bias_decay(tiny).but(decay=tiny.decay) == tiny


def test_a_step_without_gradient_moves_weights_only():
    model = net()
    optimizer = NAG().build(DecayWeights(weight=0.01).groups(model), 256)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        shrunk = 1 - 0.1 * 1.9 * 0.01 if p.ndim > 1 else 1
        torch.testing.assert_close(p.detach(), before[name] * shrunk)


@pytest.mark.parametrize(
    "spares", [lambda name, p: False, lambda name, p: name.endswith("bias"), lambda name, p: True, None]
)
def test_proof(spares, tiny):
    """Caught where nothing is spared, where biases are but γ is not, and where all is; not where it is as it says."""
    model = net()
    spare = spares or (lambda name, p: p.ndim == 1)
    groups = [
        {"params": [p for n, p in model.named_parameters() if bool(spare(n, p)) == free], "weight_decay": rate}
        for free, rate in ((True, 0.0), (False, 1e-4))
    ]
    trace = Trace(1, 10, model=model, optimizer=NAG().build([g for g in groups if g["params"]], 256))
    assert all(check.ok for check in DecayWeights().proof(tiny, trace)) == (spares is None)
