import numpy as np
import pytest
import torch
from scipy import stats

from harness.evidence import prove
from harness.spec import Mix
from harness.tricks.mixup import Mixup, mixup, mixup_batch


def drawn(seed, alpha=0.2, n=64):
    """The λ of each of `n` images of one batch, read from one-hot targets of `n` classes; NaN beside itself."""
    y = torch.eye(n, dtype=torch.float64)
    _, mixed = Mixup(alpha=alpha)(torch.zeros(n, 1, 1, 1), y, np.random.default_rng(seed))
    shares = mixed.numpy()
    own = np.diag(shares).copy()
    own[(shares > 0).sum(1) == 1] = np.nan
    return own


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_batch_against_a_loop(lam):
    rng = np.random.default_rng(0)
    x, y, perm = rng.normal(size=(6, 3, 4, 5)), rng.dirichlet(np.ones(7), size=6), rng.permutation(6)
    mixed_x, mixed_y = mixup_batch(torch.from_numpy(x), torch.from_numpy(y), lam, torch.from_numpy(perm))
    for i in range(6):
        np.testing.assert_allclose(mixed_x[i].numpy(), lam * x[i] + (1 - lam) * x[perm[i]], atol=1e-12)
        np.testing.assert_allclose(mixed_y[i].numpy(), lam * y[i] + (1 - lam) * y[perm[i]], atol=1e-12)


def test_images_and_targets_have_the_same_partner_and_share():
    n = 32
    x, y = torch.arange(n).double().view(n, 1, 1, 1), torch.eye(n, dtype=torch.float64)
    mixed_x, mixed_y = Mixup()(x, y, np.random.default_rng(3))
    torch.testing.assert_close(mixed_x.flatten(), mixed_y @ torch.arange(n).double())
    torch.testing.assert_close(mixed_y.sum(1), torch.ones(n, dtype=torch.float64))
    torch.testing.assert_close(mixed_y.sum(0), torch.ones(n, dtype=torch.float64), msg="each is a partner once")
    assert torch.equal(x.flatten(), torch.arange(n).double()), "the input is left as it was"


def test_one_share_a_batch():
    shares = drawn(1)
    assert np.isfinite(shares).sum() > 55
    assert np.nanmax(shares) - np.nanmin(shares) < 1e-12


def test_shares_are_beta():
    shares = np.array([np.nanmin(drawn(seed)) for seed in range(2000)])
    assert stats.kstest(shares, "beta", args=(0.2, 0.2)).pvalue > 0.01
    assert stats.kstest(shares, "beta", args=(0.4, 0.4)).pvalue < 1e-6, "the test tells strengths apart"
    stronger = np.array([np.nanmin(drawn(seed, alpha=0.4)) for seed in range(2000)])
    assert stats.kstest(stronger, "beta", args=(0.4, 0.4)).pvalue > 0.01


@pytest.mark.parametrize(("before", "after"), [(120, 200), (20, 33), (6, 10)])
def test_trains_longer_once(before, after, tiny):
    spec = tiny.but(epochs=before)
    assert mixup(spec).epochs == after
    assert mixup(mixup(spec)).epochs == after
    assert mixup(mixup(spec), alpha=0.4).mix == (Mixup(alpha=0.4),)
    assert mixup(mixup(spec), alpha=0.4).epochs == after
    assert mixup(spec, epochs=1).epochs == before
    assert mixup(spec).but(mix=(), epochs=before) == spec


def test_own_evidence_catches_its_absence(tiny, live):
    spec = mixup(tiny, epochs=1)
    _, trace = live(tiny)
    assert [row["ok"] for row in prove(spec, trace) if row["part"] == "Mixup"][:1] == [False]


@pytest.mark.parametrize("fault", ["targets", "images", "constant"])
def test_own_evidence_catches_half_a_mixup(fault, tiny, live):
    """Targets alone, images alone, and one λ for the whole training."""

    class Faulty(Mixup):
        def __call__(self, x, y, rng):
            if fault == "constant":
                return mixup_batch(x, y, 0.7, torch.from_numpy(rng.permutation(len(x))))
            mixed_x, mixed_y = super().__call__(x, y, rng)
            return (x, mixed_y) if fault == "targets" else (mixed_x, y)

    trained, _ = live(tiny.but(mix=(Faulty(),)))
    assert trained.result["status"] == "refused"
    assert any(row["part"] == "Faulty" and not row["ok"] for row in trained.result["evidence"])


def test_batches_whose_partners_have_the_same_class_hide_nothing_and_are_left_out(tiny, live):
    """Batches of four: one in some hundred shows no λ, and an honest run met one nearly always, in sixteen of two."""
    small = tiny.but(batch_size=2, epochs=1)
    trained, _ = live(mixup(small, epochs=1))
    assert trained.result["status"] == "finished"


def test_two_in_one_run_draw_apart_and_the_first_as_if_alone(tiny, live):
    (_, alone), (both, trace) = (live(tiny.but(mix=mix)) for mix in ((Mixup(),), (Mixup(), Mixup())))
    assert [row for row in both.result["evidence"] if not row["ok"]] == []
    for (_, _, mixed), (_, _, between, after) in zip(alone.fed, trace.fed, strict=True):
        assert torch.equal(mixed, between)
        assert not torch.equal(after, between)
    first, second = (trace.drew(tiny.but(mix=(Mixup(), Mixup())), place, 0).random() for place in (0, 1))
    assert first != second


class InPlace(Mix):
    """Writes into the batch that it is given."""

    def __call__(self, x, y, rng):
        x[:, :, :2] = 0
        return x, y


def test_a_mixer_that_writes_in_place_spoils_no_evidence_of_the_one_before(tiny, live):
    trained, _ = live(tiny.but(mix=(Mixup(), InPlace()), epochs=2))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
