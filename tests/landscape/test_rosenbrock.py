"""The toy example, against timm and the authors' own drawings."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.landscape.__main__ import parser
from harness.landscape.rosenbrock import WAYS, descend, on_sphere, place, projected, rosenbrock_function, slope

GD, DECAY, PROJECTION = WAYS


def test_the_function_by_hand():
    x, y = np.array([1.0, -2.0, 0.0, 2.0]), np.array([1.0, 2.0, 1.0, 4.0])
    assert rosenbrock_function(x, y).tolist() == [0, 9 + 300 * 4, 1 + 300, 1]


def test_places_on_a_sphere_are_longitude_and_latitude_whatever_the_radius():
    x, y = np.random.default_rng(0).uniform(-2.2, 2.2, size=(2, 50))
    w = on_sphere(x, y)
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1)
    np.testing.assert_allclose(w[:, 2], np.sin(y / 1.5))
    for radius in (1.0, 3.7):
        np.testing.assert_allclose(place(radius * w), [x, y])


@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_the_slope_is_what_finite_differences_give(radius):
    for x, y in np.random.default_rng(0).uniform(-2, 2, size=(20, 2)):
        w = radius * on_sphere(x, y)
        sides = 1e-6 * np.eye(3)
        wanted = [(rosenbrock_function(*place(w + d)) - rosenbrock_function(*place(w - d))) / 2e-6 for d in sides]
        np.testing.assert_allclose(slope(w), wanted, rtol=1e-5, atol=1e-3)
        assert slope(w) @ w == pytest.approx(0, abs=1e-8 * np.linalg.norm(slope(w)))
        np.testing.assert_allclose(slope(2 * w), slope(w) / 2, atol=1e-9)


def timms(step, w, gradient):
    """timm's Π_w, of one filter."""
    from timm.optim.adamp import projection

    rows = (torch.from_numpy(np.array(row))[None] for row in (w, gradient, step))
    made, ratio = projection(*rows, delta=0.1, wd_ratio=0.1, eps=1e-15)
    assert ratio == 0.1, "it was projected"
    return made[0].numpy()


def test_projection_is_that_of_timm():
    rng = np.random.default_rng(0)
    for w, step, other in rng.normal(size=(20, 3, 3)) * 3:
        gradient = np.cross(w, other)  # at right angles to w, as of scale-invariant weights
        made = projected(step, w)
        np.testing.assert_allclose(made, timms(step, w, gradient), rtol=1e-9, atol=1e-12)
        assert made @ w == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(projected(made, w), made, atol=1e-12)


@pytest.mark.parametrize("way", [GD, DECAY], ids=lambda way: way.title)
def test_momentum_and_decay_are_those_of_torch(way):
    weight = nn.Parameter(torch.from_numpy(on_sphere(-2.0, 2.0)))
    optimizer = torch.optim.SGD([weight], lr=way.rate, momentum=0.9, weight_decay=way.decay)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=200)
    for wanted in descend(way)[1:40]:
        g = torch.from_numpy(slope(weight.detach().numpy()))
        weight.grad = g / g.norm()
        optimizer.step()
        falling.step()
        np.testing.assert_allclose(weight.detach().numpy(), wanted, atol=1e-9)


def test_with_the_projection_momentum_keeps_what_timm_leaves_of_it():
    w, momentum = on_sphere(-2.0, 2.0), np.zeros(3)
    for t, wanted in enumerate(descend(PROJECTION)[1:40]):
        g = slope(w)
        momentum = timms(0.9 * momentum + g / np.linalg.norm(g), w, g)
        w = w - PROJECTION.rate * (200 - t) / 200 * momentum
        np.testing.assert_allclose(w, wanted, atol=1e-9)


DRAWN = {  # (x, y) after steps 1 to 8, 20 and 40, of the authors' vector graphics
    GD: "-1.652 1.996 -1.052 1.959 -.911 1.892 -1.039 1.816 -1.309 1.728 -1.635 1.616 -1.712 1.520 -1.647 1.449 "
    "-.926 .818 -.601 .336",
    DECAY: "-1.556 1.991 -.828 1.930 -.693 1.823 -.846 1.700 -1.125 1.556 -1.445 1.388 -1.513 1.254 -1.443 1.162 "
    "-.746 .331 .338 .036",
    PROJECTION: "-1.721 1.998 -1.222 1.975 -1.083 1.930 -1.187 1.878 -1.442 1.816 -1.463 1.762 -1.326 1.719 "
    "-1.075 1.680 -.963 1.064 -.406 .148",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_steps_are_those_that_the_authors_drew(way):
    steps = [*range(1, 9), 20, 40]
    drawn = np.array(DRAWN[way].split(), float).reshape(10, 2)
    ours = np.stack(place(descend(way)[steps]), axis=1)
    np.testing.assert_allclose(ours, drawn, atol=0.008)
    np.testing.assert_allclose(ours[:8], drawn[:8], atol=0.0015)


def test_norms_beside_the_source(tmp_path, capsys):
    """Within 5 %, and the greatest of the way with weight decay, not its last."""
    greatest = {way: np.linalg.norm(descend(way), axis=1).max() for way in WAYS}
    for way, norm in greatest.items():
        assert norm == pytest.approx(way.source, rel=0.05)
    options = parser().parse_args(["rosenbrock", "--to", str(tmp_path)])
    options.run(options)
    told = capsys.readouterr().out
    for way, norm in greatest.items():
        line = next(line for line in told.splitlines() if line.startswith(f"{way.title}  "))
        assert line.removeprefix(way.title).split()[:2] == [f"{way.source:g}", f"{norm:.3g}"]
    assert {path.name for path in tmp_path.iterdir()} == {f"rosenbrock.{kind}" for kind in ("png", "svg")}
