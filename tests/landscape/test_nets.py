"""The loss around trained networks, against numpy; and the command."""

import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem, study
from harness.engine import execute
from harness.landscape.__main__ import parser
from harness.landscape.nets import circle, climb, directions, filter_normalised, landscape, losses, table
from harness.parts.models import ResNet
from harness.store import Store

CPU = torch.device("cpu")


SOURCE = '''"""Two rungs."""
from tests.kit.tiny import BASELINE
from harness.tricks.sam import sam
BASELINE = BASELINE.but(epochs=1)
TRICKS = (sam,)
SEEDS = (3, 4)
'''


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3, 2, 2), (4, 7)])
def test_each_filter_gets_the_length_of_its_weights(shape):
    rng = np.random.default_rng(0)
    weight, draw = rng.normal(size=(2, *shape)) * 3
    made = filter_normalised(torch.from_numpy(weight), torch.from_numpy(draw)).numpy()
    for filter_, drawn, own in zip(made, draw, weight, strict=True):
        assert math.sqrt((filter_**2).sum()) == pytest.approx(math.sqrt((own**2).sum()))
        assert np.ptp(filter_ / drawn) == pytest.approx(0, abs=1e-12), "the direction is that drawn"


def small(seed=0):
    torch.manual_seed(seed)
    return ResNet(blocks=(1,), width=4, small=True).build(1, 10)


def test_biases_and_batch_norm_stay_and_all_else_moves():
    model = small()
    for along in directions(model, 0):
        for (name, weight), step in zip(model.named_parameters(), along, strict=True):
            assert step.shape == weight.shape
            assert bool(step.any()) == (weight.ndim > 1), name


def test_layers_of_one_shape_get_draws_of_their_own():
    layers = [nn.Linear(5, 3, bias=False) for _ in range(2)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1.0)
    one, other = directions(nn.Sequential(*layers), 0)[0]
    assert not torch.allclose(one, other)


def unscaled(model, seed):
    return [d / d.flatten(1).norm(dim=1)[0] for d in directions(model, seed)[0] if d.ndim == 2]


def test_two_networks_get_the_same_draws_and_another_seed_others():
    """Of the last layer: directions of one filter, less its length."""
    (one,), (same,), (other,) = unscaled(small(0), 0), unscaled(small(1), 0), unscaled(small(0), 1)
    torch.testing.assert_close(one[0], same[0])
    assert abs(float(one[0] @ other[0])) < 0.9
    x, y = directions(small(), 0)
    assert not torch.allclose(x[0], y[0])


class Softmax(nn.Module):
    """Logits Wx + b, with batch norm before it that has seen other images."""

    def __init__(self, rng, classes=3, pixels=4):
        super().__init__()
        self.norm = nn.BatchNorm1d(pixels, affine=False)
        self.norm.running_mean.copy_(torch.from_numpy(rng.normal(size=pixels)))
        self.norm.running_var.copy_(torch.from_numpy(rng.uniform(1, 2, size=pixels)))
        self.linear = nn.Linear(pixels, classes)

    def forward(self, x):
        return self.linear(self.norm(x.flatten(1)))


@pytest.fixture
def softmax():
    """A network, two batches of unlike sizes, and what it computes, in numpy: (loss, gradient) of (W, b)."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Softmax(rng).double().eval()
    x, y = rng.normal(size=(7, 1, 2, 2)), rng.integers(0, 3, size=7)
    batches = [(torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in (slice(0, 5), slice(5, 7))]
    mean, var = model.norm.running_mean.numpy().copy(), model.norm.running_var.numpy().copy()

    def exact(w, b):
        inner = (x.reshape(7, 4) - mean) / np.sqrt(var + 1e-5)
        z = inner @ w.T + b
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        gap = (p - np.eye(3)[y]) / 7
        return -np.log(p[np.arange(7), y]).mean(), (gap.T @ inner, gap.sum(0))

    return model, batches, exact


def test_losses_are_those_at_the_weights_moved(softmax):
    model, batches, exact = softmax
    w, b = (p.detach().numpy().copy() for p in model.parameters())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = along = directions(model, 0)
    points = np.array([[0.0, 0.0], [0.5, -1.0], [2.0, 0.25]])
    found = losses(model, batches, along, points)
    wanted = [exact(w + a * x[0].numpy() + c * y[0].numpy(), b)[0] for a, c in points]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert len(set(found.round(3))) == 3
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_sharpness_is_the_rise_at_rho_up_the_gradient(softmax):
    model, batches, exact = softmax
    w, b = (p.detach().numpy().copy() for p in model.parameters())
    loss, (gw, gb) = exact(w, b)
    norm = math.sqrt((gw**2).sum() + (gb**2).sum())
    wanted = exact(w + 0.3 * gw / norm, b + 0.3 * gb / norm)[0] - loss
    assert climb(model, batches, rho=0.3) == pytest.approx(wanted, rel=1e-9)
    assert 0 < climb(model, batches) < wanted


def test_a_landscape_has_rows_by_y_and_columns_by_x(softmax):
    model, batches, _ = softmax
    ticks = np.linspace(-1, 1, 3)
    made = landscape("it", model, batches, 0, ticks)
    at = partial(losses, model, batches, directions(model, 0))
    assert made.grid[0, 2] == pytest.approx(float(at(np.array([[1.0, -1.0]]))[0]))
    assert made.grid[0, 2] != pytest.approx(made.grid[2, 0], rel=1e-3)
    assert made.centre == made.grid[1, 1]
    around = 0.5 * np.array([[math.cos(i * math.pi / 8), math.sin(i * math.pi / 8)] for i in range(16)])
    assert made.rise == pytest.approx(at(around).mean() - made.centre)
    lines = table([("it", made)]).decode().splitlines()
    assert lines[0] == "rung,x,y,loss"
    assert len(lines) == 10
    rung, x, y, loss = lines[3].split(",")
    assert (rung, float(x), float(y)) == ("it", 1.0, -1.0)
    assert float(loss) == pytest.approx(made.grid[0, 2], rel=1e-6)


def test_a_circle():
    points = circle(2.0, 12)
    np.testing.assert_allclose(np.hypot(*points.T), 2)
    np.testing.assert_allclose(points.sum(0), 0, atol=1e-12)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a study of two rungs."""
    import experiments

    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "sharp.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(experiments, "__path__", [str(tmp_path / "experiments"), *experiments.__path__])
    monkeypatch.delitem(sys.modules, "experiments.sharp", raising=False)
    yield tmp_path
    sys.modules.pop("experiments.sharp", None)


def command(*words):
    options = parser().parse_args(["nets", "sharp", *words, "--device", "cpu"])
    options.run(options)


def test_networks_are_drawn_side_by_side(home, capsys):
    plan = study.plan(study.load("sharp"))
    for rung in plan.rungs:
        execute(rung.spec, 3, Store(), CPU)
    command("baseline", "sam", "--points", "3", "--images", "50", "--to", "made")
    told = capsys.readouterr().out
    assert "50 training images, 3 x 3 points to ±1, seed 3" in told
    found = np.genfromtxt(home / "made" / "landscape.csv", delimiter=",", names=True, dtype=None, encoding=None)
    assert list(found["rung"]) == ["baseline"] * 9 + ["sam"] * 9
    for rung in ("baseline", "sam"):
        own = found[found["rung"] == rung]
        centre = own["loss"][(own["x"] == 0) & (own["y"] == 0)].item()
        numbers = next(line for line in told.splitlines() if line.startswith(rung)).split()[1:]
        assert float(numbers[0]) == pytest.approx(centre, rel=1e-3)
        assert float(numbers[1]) == pytest.approx(own["loss"].min(), rel=1e-3)
    spec = plan.rungs[0].spec
    images = spec.data.load()
    pixels, labels = (part[np.arange(50) * 597 // 50] for part in images.arrays["train"])
    model = spec.model.build(1, 10)
    model.load_state_dict(Store().weights(spec.id, 3))
    with torch.no_grad():
        z = model.eval()(torch.from_numpy((pixels - images.mean[0]) / images.std[0]).float()).double().numpy()
    exact = (np.log(np.exp(z).sum(1)) - z[np.arange(50), labels]).mean()
    assert found["loss"][4] == pytest.approx(exact, rel=1e-4), "of the trained weights, on every 12th training image"
    made = {f"landscape.{kind}" for kind in ("png", "svg", "csv")}
    assert {path.name for path in (home / "made").iterdir()} == made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sam"], "sam, seed 3, is not trained yet: python -m harness.ablate sharp --only sam"),
        (["sam", "--set", "epochs=2"], "python -m harness.ablate sharp --set epochs=2 --only sam"),
        (["sam", "--seed", "9"], "--seed 9: no such run of sam; the study's seeds: 3, 4"),
        (["Sam"], "sharp has no rung Sam; there are: baseline, sam"),
        (["sam", "--points", "10"], "--points 10: must be odd"),
        (["sam", "--span", "0"], "--span 0: must be above 0"),
        (["sam", "--span", "nan"], "--span nan: must be above 0"),
        (["sam", "--images", "0"], "--images 0: must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(home, words, said):
    with pytest.raises(Problem) as problem:
        command(*words)
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


def test_more_images_than_there_are(home):
    for rung in study.plan(study.load("sharp")).rungs[:1]:
        execute(rung.spec, 3, Store(), CPU)
    with pytest.raises(Problem, match="--images 598: baseline has 597 training images"):
        command("baseline", "--images", "598")
