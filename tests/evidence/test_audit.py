def test_cross_entropy_against_scipy():
    rng = np.random.default_rng(0)
    y, z = rng.dirichlet(np.ones(7), size=5), 30 * rng.normal(size=(5, 7))
    loss, slope = cross_entropy(torch.from_numpy(y), torch.from_numpy(z))
    assert loss == pytest.approx(-(y * log_softmax(z, axis=1)).sum(1).mean(), rel=1e-12)
    z = torch.from_numpy(z).requires_grad_()
    nn.functional.cross_entropy(z, torch.from_numpy(2 * y)).backward()
    np.testing.assert_allclose(cross_entropy(torch.from_numpy(2 * y), z)[1], z.grad.numpy(), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(2 * slope, z.grad.numpy(), rtol=1e-9, atol=1e-15)


class Idle(Shift):
    def __call__(self, x, rng):
        return x


class Brightened(Shift):
    """Not by a draw: so that it must show."""

    def __call__(self, x, rng):
        return x + self.pixels


def told(spec, trace, what):
    """Whether the one check whose name begins with `what` holds."""
    (ok,) = (row["ok"] for row in prove(spec, trace) if row["what"].startswith(what))
    return ok


@pytest.mark.parametrize(
    ("trained", "claimed", "gap", "changed"),
    [
        ((Shift(),), (Shift(),), True, True),
        ((), (Shift(),), False, False),
        ((Shift(),), (Shift(pixels=2),), False, True),
        ((Shift(),), (), False, None),
        ((), (), True, None),
        ((Idle(),), (Idle(),), True, False),
        ((Brightened(),), (Brightened(),), True, True),
        ((Brightened(),), (Brightened(pixels=2),), False, True),
    ],
    ids=str,
)
def test_images_are_those_of_the_augmentation_said(trained, claimed, gap, changed, tiny, live):
    _, trace = live(tiny.but(augment=trained, epochs=1))
    spec = tiny.but(augment=claimed, epochs=1)
    assert told(spec, trace, "images of step 1: gap") == gap
    if changed is not None:
        assert told(spec, trace, "images of step 1 that augmentation changed") == changed


def test_few_images_that_happen_to_stay_are_not_told(tiny, live):
    _, trace = live(tiny.but(augment=(Idle(),), epochs=1, batch_size=15))
    assert told(tiny.but(augment=(Idle(),), epochs=1, batch_size=15), trace, "images of step 1 that augmentation")


def test_order_is_that_of_the_seed(tiny, live):
    _, trace = live(tiny)
    trace.rng = streams(1)
    assert not told(tiny, trace, "images of step 1: gap")
    assert not told(tiny, trace, "labels of step 1")


def test_photos_are_drawn_anew_and_their_decoders_sent_home(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 256, size=(90, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    model = ResNet(blocks=(1,), width=4, variant="C")
    spec = mutants.TINY.but(
        data=ImageFolder(root=tmp_path, size=80), model=model, batch_size=16, epochs=1, augment=PAPER
    )
    before = set(multiprocessing.active_children())
    result = loop.train(spec, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "finished"
    assert set(multiprocessing.active_children()) <= before


