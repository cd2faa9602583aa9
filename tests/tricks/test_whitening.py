import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.decomposition import PCA
from torch import nn

from harness import Problem
from harness.parts.data import Digits
from harness.parts.init import Xavier
from harness.parts.models import Airbench, Dense, ResNet, ResNet9
from harness.rng import streams
from harness.spec import Init
from harness.train import build
from harness.tricks.dirac import dirac
from harness.tricks.whitening import Whitening, patch_covariance, places, whitening, whitening_filters
from harness.tricks.zero_gamma import zero_gamma

SLIM = Airbench(widths=(8, 8))


@pytest.fixture(scope="module")
def air(tiny):
    return tiny.but(model=SLIM)


def patches(x, high, wide):
    """Every patch of images N x C x H x W as a row, by numpy alone."""
    cut = sliding_window_view(x, (high, wide), axis=(2, 3))
    return cut.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * high * wide)


@pytest.mark.parametrize(("high", "wide"), [(2, 2), (3, 2), (1, 1)])
def test_the_covariance_is_numpys(high, wide):
    x = np.random.default_rng(0).normal(2, 3, size=(7, 3, 5, 6)).astype(np.float32)
    found = patch_covariance(torch.from_numpy(x), high, wide)
    assert found.numpy() == pytest.approx(np.cov(patches(x.astype(float), high, wide).T, bias=True), rel=1e-9)


def test_filters_are_scikit_learns():
    """Its PCA with `whiten`, but for the sign of each; and the other half are their negatives."""
    x = np.random.default_rng(1).normal(size=(400, 6)) @ np.random.default_rng(2).normal(size=(6, 6))
    filters = whitening_filters(torch.from_numpy(np.cov(x.T)), 1e-12).numpy()
    due = PCA(whiten=True).fit(x)
    due = due.components_ / due.explained_variance_[:, None] ** 0.5
    signs = np.sign((filters[:6] * due).sum(1, keepdims=True))
    assert filters[:6] == pytest.approx(signs * due, rel=1e-6)
    assert np.array_equal(filters[6:], -filters[:6])
    assert np.cov(filters[:6] @ x.T) == pytest.approx(np.eye(6), abs=1e-6)


def test_eps_makes_little_of_what_hardly_varies():
    filters = whitening_filters(torch.diag(torch.tensor([4.0, 0.01], dtype=torch.float64)), 0.05)
    assert filters.abs().numpy() == pytest.approx(np.array([[1 / 4.05**0.5, 0], [0, 1 / 0.06**0.5]] * 2), rel=1e-9)


def test_images_are_looked_at_evenly_apart():
    assert places(10, 4).tolist() == [0, 2, 5, 7]
    assert places(3, 9).tolist() == [0, 1, 2]


def test_grey_images_in_colour_are_a_problem():
    x = torch.randn(50, 1, 6, 6).expand(50, 3, 6, 6)
    with pytest.raises(Problem, match="^whitening: patches of the training images do not vary each way by itself"):
        whitening_filters(patch_covariance(x, 2, 2), 5e-4)


def test_the_first_layer_of_a_network_is_set_from_its_training_images(air):
    """Worked out once more by numpy, from digits normalised by hand; the bias and all else are as they were drawn."""
    net, plain = build(whitening(air), 0, torch.device("cpu")), build(air, 0, torch.device("cpu"))
    images = air.data.load()
    x = images.arrays["train"][0].astype(float)
    x = (x - images.mean[0]) / images.std[0]
    rows = patches(x, 2, 2)
    weight = net.get_parameter("first.weight").detach().double().numpy().reshape(8, 4)
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    assert np.cov(weight[:4] @ rows.T, bias=True) == pytest.approx(np.diag(values / (values + 5e-4)), abs=1e-5)
    assert weight @ weight.T == pytest.approx(
        np.kron([[1, -1], [-1, 1]], np.diag(1 / (values + 5e-4))), rel=1e-4, abs=1e-4
    )
    moved = {n for (n, a), b in zip(net.named_parameters(), plain.parameters(), strict=True) if not torch.equal(a, b)}
    assert moved == {"first.weight"}
    assert not net.get_parameter("first.weight").requires_grad
    assert net.get_parameter("first.bias").requires_grad


def test_filters_beyond_are_as_they_were_drawn(tiny):
    spec = tiny.but(model=ResNet(blocks=(1,), width=20, small=True))
    one, other = (
        build(each, 0, torch.device("cpu")).get_parameter("stem.0.weight") for each in (whitening(spec), spec)
    )
    assert torch.equal(one[18:], other[18:])
    assert torch.equal(one[:9], -one[9:18])


def test_without_negatives_one_filter_a_number_will_do(live, tiny):
    """Page's: the layer has as many filters as its patch has numbers; they are the first half of those with."""
    thin = tiny.but(model=ResNet9(widths=(4, 4, 8, 8), patch_features=True))
    with pytest.raises(Problem, match="1 x 3 x 3 takes 18 filters, two for each number, and prep.whiten .* has 9"):
        whitening(thin).agree()
    spec = whitening(thin, eps=0.01, negatives=False)
    net = build(spec, 0, torch.device("cpu"))
    images = spec.data.load()
    x = (images.arrays["train"][0].astype(float) - images.mean[0]) / images.std[0]
    weight = net.get_parameter("prep.whiten.weight").detach().double().numpy().reshape(9, 9)
    values = np.linalg.eigvalsh(np.cov(patches(x, 3, 3).T, bias=True))[::-1]
    assert np.cov(weight @ patches(x, 3, 3).T, bias=True) == pytest.approx(np.diag(values / (values + 0.01)), abs=1e-5)
    assert not net.get_parameter("prep.whiten.weight").requires_grad
    assert net.get_parameter("prep.conv.weight").requires_grad
    wide = tiny.but(model=ResNet(blocks=(1,), width=18, small=True))
    both, one = (whitening(wide, **more) for more in ({}, {"negatives": False}))
    both, one = (build(each, 0, torch.device("cpu")).get_parameter("stem.0.weight") for each in (both, one))
    drawn = build(wide, 0, torch.device("cpu")).get_parameter("stem.0.weight")
    assert torch.equal(one[:9], both[:9])
    assert torch.equal(one[9:], drawn[9:])
    for each in (spec, whitening(wide, negatives=False)):
        trained, _ = live(each)
        assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    narrow = tiny.but(model=ResNet(blocks=(1,), width=8, small=True))
    with pytest.raises(Problem, match="1 x 3 x 3 takes 9 filters, one for each number, and stem.0 .* has 8"):
        whitening(narrow, negatives=False).agree()


def test_it_stays_through_training_and_its_bias_does_not(live, air):
    spec = whitening(air)
    trained, trace = live(spec)
    assert trained.result["status"] == "finished"
    before = build(spec, 0, torch.device("cpu"))
    assert torch.equal(trace.model.get_parameter("first.weight"), before.get_parameter("first.weight"))
    assert not torch.equal(trace.model.get_parameter("first.bias"), before.get_parameter("first.bias"))
    rows = [row for row in trained.result["evidence"] if row["part"] == "Whitening"]
    assert [row["ok"] for row in rows] == [True, True]


@pytest.mark.parametrize("change", ["moved", "not mirrored", "drawn"])
def test_proof_catches(change, live, air):
    spec = whitening(air)
    _, trace = live(spec)
    weight = trace.model.get_parameter("first.weight")
    kept = weight.detach().clone()
    with torch.no_grad():
        if change == "moved":
            weight[0, 0, 0, 0] += 0.01
        elif change == "not mirrored":
            weight[4:] *= -1
        else:
            nn.init.normal_(weight)
    seen = [check.ok for check in spec.init[-1].proof(spec, trace)]
    with torch.no_grad():
        weight.copy_(kept)
    assert seen[0] is False
    assert seen[1] is (change == "not mirrored")
    assert all(check.ok for check in spec.init[-1].proof(spec, trace))


def test_comes_in_one_order_whichever_trick_was_first(air, tiny):
    assert whitening(dirac(air)) == dirac(whitening(air))
    assert whitening(zero_gamma(tiny)) == zero_gamma(whitening(tiny))
    assert [type(part).__name__ for part in whitening(dirac(air)).init] == ["Xavier", "Dirac", "Whitening"]


class Kept(Init):
    """As of a file."""

    loads = True

    def __call__(self, model, rng): ...


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": ResNet(blocks=(1,), width=4, small=True)},
            "1 x 3 x 3 takes 18 filters, .*stem.0 .* has 4",
        ),
        ({"init": (Xavier(), Whitening(layer="fc"))}, "^init.layer='fc': the first convolution is first"),
        ({"init": (Xavier(), Kept(), Whitening(layer="first"))}, "^init=Whitening sets weights that a file has"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(change, said, air):
    spec = air.but(**change)
    spec = spec if "init" in change else whitening(spec)
    with pytest.raises(Problem, match=said):
        spec.agree()


def test_photos_are_refused(air, monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda self: object())
    with pytest.raises(Problem, match="^init=Whitening is for images of up to 64 px"):
        whitening(air).agree()


def test_a_network_without_convolutions_is_refused(tiny):
    with pytest.raises(Problem, match=r"^whitening is about the first convolution, and Dense\(.*\) has none"):
        whitening(tiny.but(model=Dense(size=8)))


def test_it_asks_for_the_images():
    with pytest.raises(Problem, match=r"call `part.knowing\(images\)`"):
        Whitening(layer="first")(SLIM.build(1, 10), streams(0))
