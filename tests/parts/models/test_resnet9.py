"""ResNet-9 against a second writing of Page's in torch's modules, numbers by hand, and what its fields mean."""

from itertools import combinations

import pytest
import torch
from torch import nn

from harness import Problem, contract
from harness.evidence import Trace
from harness.parts.models import ResNet9, cost
from harness.tricks.zero_gamma import zero_gamma
from tests.kit.networks import is_proved

SLIM = ResNet9(widths=(4, 4, 8, 8))
FIELDS = {"early_pool": True, "celu": 0.075, "frozen_scale": 0.25, "patch_features": True}
WHOLE = ResNet9(scale=0.25, **FIELDS)


class Sum(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + x


def published(whole):
    """For 32 px, without a name or a loop; `whole`: as in the last rungs, with the source's own numbers."""

    def norm(width):
        made = nn.BatchNorm2d(width)
        made.weight.requires_grad = not whole
        return made, nn.CELU(0.3) if whole else nn.ReLU()

    def conv(before, after):
        return nn.Conv2d(before, after, kernel_size=3, padding="same", bias=False), *norm(after)

    def pooled(before, after):
        if not whole:
            return *conv(before, after), nn.MaxPool2d(2)
        return nn.Conv2d(before, after, kernel_size=3, padding="same", bias=False), nn.MaxPool2d(2), *norm(after)

    def two(width):
        return Sum(nn.Sequential(*conv(width, width), *conv(width, width)))

    front = conv(3, 64)
    if whole:
        white = nn.Conv2d(3, 27, kernel_size=3, padding="same", bias=False)
        front = white, nn.Conv2d(27, 64, kernel_size=1, bias=False), *norm(64)
    layers = *pooled(64, 128), two(128), *pooled(128, 256), *pooled(256, 512), two(512)
    return nn.Sequential(*front, *layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, 10, bias=False))


def test_it_costs_what_is_counted_by_hand():
    """6.57 M parameters; sides 32, 16, 8 and 4 after the pools. All five large convolutions cost the same."""
    norms = 2 * (64 + 3 * 128 + 256 + 3 * 512)
    weights = 9 * (3 * 64 + 64 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2) + 512 * 10
    first, large, last = 32**2 * 27 * 64, 32**2 * 9 * 64 * 128, 512 * 10
    assert cost(ResNet9(), 3, 10, 32) == (weights + norms, first + 5 * large + last) == (6_573_120, 379_261_952)
    patches = 27 * 27
    assert cost(WHOLE, 3, 10, 32) == (6_573_120 + patches, 379_261_952 + 32**2 * patches)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("model", "scale"), [(ResNet9(), 1 / 8), (WHOLE, 1 / 16)], ids=["plain", "whole"])
def test_it_is_the_published_network(model, scale, training):
    torch.manual_seed(0)
    ours, theirs = model.build(3, 10), published(model is WHOLE)
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        other.copy_(one)
    x = torch.randn(4, 3, 32, 32)
    z = ours.train(training)(x)
    torch.testing.assert_close(z, scale * theirs.train(training)(x))
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("count", range(len(FIELDS) + 1))
@pytest.mark.parametrize("training", [True, False])
def test_the_second_opinion_says_the_same(count, training):
    for names in combinations(FIELDS, count):
        model = SLIM.but(**{name: FIELDS[name] for name in names})
        net = model.build(1, 10).train(training)
        weights = {n: t.detach().clone() for n, t in net.state_dict().items()}
        x = torch.randn(5, 1, 8, 8)
        conv, linear = nn.functional.conv2d, nn.functional.linear
        again = model.reference(weights, x, training, conv, linear)
        torch.testing.assert_close(net(x), again)


def test_gammas_of_1_stand_for_those_that_are_fixed():
    """γ of ¼ in each norm, β of ¼, and the α as it is said, answer the same to eps."""
    torch.manual_seed(1)
    model = SLIM.but(celu=0.075)
    told, plain = model.but(frozen_scale=0.25).build(3, 10).double(), model.build(3, 10).double()
    state = told.state_dict()
    for name in state:
        if name.endswith("norm.bias"):
            state[name] = torch.randn_like(state[name])
    told.load_state_dict(state)
    quarter = {n: t / 4 if n.endswith(("norm.weight", "norm.bias")) else t for n, t in state.items()}
    plain.load_state_dict(quarter)
    for net in (told, plain):
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.eps = 1e-30
    x = torch.randn(6, 3, 16, 16).double()
    torch.testing.assert_close(told(x), plain(x))


def test_what_learns():
    still = {name for name, _ in WHOLE.build(3, 10).named_parameters() if WHOLE.frozen(name)}
    assert len(still) == 8
    assert all(name.endswith("norm.weight") for name in still)
    assert not any(ResNet9().frozen(name) for name, _ in ResNet9().build(3, 10).named_parameters())


def test_images_that_are_too_small_are_told():
    with pytest.raises(Problem, match=r"^ResNet9\(widths=\(4, 4, 8, 8\), scale=0.125\) cannot take images of 4 x 4: "):
        cost(SLIM, 1, 10, 4)


def test_four_widths():
    with pytest.raises(ValueError, match="widths"):
        ResNet9(widths=(8, 8, 8))


def test_zero_gamma_is_not_for_it(tiny):
    """ReLU comes after the last norm: at γ = 0 neither it nor what is before it would ever learn."""
    with pytest.raises(Problem, match="zero γ knows 0 of the 2 residual blocks"):
        zero_gamma(tiny.but(model=SLIM)).agree()


def test_proof_tells_networks_apart(tiny):
    others = [SLIM.but(widths=(4, 4, 8, 9)), SLIM.but(scale=1.0), *(SLIM.but(**{n: v}) for n, v in FIELDS.items())]
    assert is_proved(SLIM, SLIM, tiny)
    for one, other in combinations([SLIM, *others, SLIM.but(celu=0.3)], 2):
        assert not is_proved(one, other, tiny), (one, other)


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("prep.act", nn.ReLU()),
        ("layer2.act", nn.CELU(0.075)),
        ("layer1.pool", nn.AvgPool2d(2)),
        ("layer3.residual", nn.Identity()),
        ("layer1.norm", nn.BatchNorm2d(4, eps=1e-3)),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("times", nn.Identity()),
    ],
)
def test_proof_misses_a_layer(name, put, tiny):
    model = SLIM.but(early_pool=True, celu=0.15, frozen_scale=0.5)
    net = model.build(1, 10)
    for p in (p for n, p in net.named_parameters() if model.frozen(n)):
        p.requires_grad_(False)
    trace = Trace(1, 10, model=net)
    net(torch.zeros(2, 1, 8, 8))
    assert [check.ok for check in model.proof(tiny, trace)] == [True] * 5
    net.set_submodule(name, put)
    assert not next(iter(model.proof(tiny, trace))).ok


def test_a_run_proves_itself_and_its_scales_stay(live, tiny):
    for model in (SLIM, SLIM.but(scale=0.25, **FIELDS)):
        trained, trace = live(tiny.but(model=model))
        assert trained.result["status"] == "finished"
        gammas = [m.weight for m in trace.model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(gammas) == 8
        assert all((gamma == 1).all() for gamma in gammas) == (model is not SLIM)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_does_nothing_is_noticed(name, live, tiny):
    below = tiny.but(model=SLIM)
    above = tiny.but(model=SLIM.but(**{name: FIELDS[name]}))
    assert not list(contract.noticed(above, below, lambda spec: live(spec)[0]))
