"""Photos decoded by torchcodec and resized by torch, against Pillow, torchvision's transforms and whole numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from experiments import digits
from harness import Problem
from harness.outcomes.networks import Network
from harness.parts.augment import PAPER
from harness.parts.data import ImageFolder, tensors
from harness.parts.data.reading import opened
from harness.spec import Spec
from tests.kit.folders import CPU, batches, picture, smooth
from tests.kit.stops import trained
from tests.mutants.breaking import edited

pytest.importorskip("torchcodec")
SIZES = [(505, 403), (80, 75), (72, 72), (72, 300), (31, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("to", "places"), [((72, 72), 15), ((9, 200), 14)])
def test_sizes_are_those_of_whole_numbers_to_the_bit(size, to, places):
    x = np.asarray(smooth(*size)).copy()
    x[: len(x) // 2] = np.random.default_rng(0).integers(0, 256, x[: len(x) // 2].shape)
    ours = tensors.sized(torch.from_numpy(x).permute(2, 0, 1), *to)
    assert np.array_equal(tensors.shown(ours), tensors.in_whole_numbers(x, *to))
    theirs = functional.resize(torch.from_numpy(x).permute(2, 0, 1), list(to), antialias=True)
    assert torch.equal(ours, theirs)


def test_a_jpeg_has_pillows_pixels_and_the_rest_comes_from_pillow(tmp_path):
    image, grey = smooth(213, 97), smooth(64, 80).convert("L")
    for name, each in (("a.jpg", image), ("b.png", image), ("c.jpg", grey), ("d.jpg", image.convert("CMYK"))):
        each.save(tmp_path / name)
        due = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert np.array_equal(tensors.shown(tensors.decoded(opened(tmp_path / name))), due), name


def test_what_is_cut_out_is_cut_first(tmp_path):
    smooth(213, 97).save(tmp_path / "a.jpg")
    image = opened(tmp_path / "a.jpg")
    x = torch.from_numpy(np.array(Image.open(tmp_path / "a.jpg"))).permute(2, 0, 1)

    class At:
        def box(self, height, width, rng):
            assert (height, width) == (97, 213)
            return 5, 20, 60, 100

    ours = tensors.cut_out(image, 72, At(), np.random.default_rng())
    assert np.array_equal(ours, tensors.shown(functional.resized_crop(x, 5, 20, 60, 100, [72, 72], antialias=True)))
    due = functional.center_crop(functional.resize(x, [82], antialias=True), [72])
    assert np.abs(tensors.centred(image, 72, None) - tensors.shown(due).astype(int)).max() == 0


@pytest.fixture
def tree(tree):
    """Whose test images are none of the training images."""
    for seed, file in enumerate(sorted((tree / "val").glob("*/*"))):
        picture((200, 40 * (file.parent.name == "cat"), 10), seed=50 + seed).save(file)
    return tree


def folder(tree, **more) -> ImageFolder:
    return ImageFolder(root=tree, size=72, decoder="torchcodec", **more)


def spec_of(data) -> Spec:
    network = digits.BASELINE.model.but(blocks=(1,), width=4, small=False)
    return digits.BASELINE.but(data=data, model=network, augment=PAPER, batch_size=6, epochs=2)


@pytest.mark.parametrize("more", [{}, {"fit": "squash"}, {"grey": True}])
def test_a_run_on_them_proves_itself_and_is_another_run(tree, more):
    spec = spec_of(folder(tree, **more))
    plain = spec_of(ImageFolder(root=tree, size=72, **more))
    augment = () if more.get("grey") else PAPER
    assert trained(spec.but(augment=augment)).result["status"] == "finished"
    assert spec.id != plain.id


@pytest.mark.parametrize(
    ("owner", "old", "new"),
    [
        ("cut_out", "x[:, top : top + h", "x[:, 1 + top : top + h"),
        ("centred", "(h - size) // 2", "(h - size) // 2 + 1"),
    ],
)
def test_pixels_that_are_others_are_refused(tree, owner, old, new, monkeypatch):
    edited(tensors, owner, old, new)(monkeypatch)
    result = trained(spec_of(folder(tree))).result
    assert result["status"] == "refused"
    assert {row["part"] for row in result["evidence"] if not row["ok"]} <= {"audit", "test"}


def test_a_network_gets_an_image_as_its_test_images_are(tree):
    for more in ({}, {"fit": "squash"}, {"grey": True}):
        spec = spec_of(folder(tree, **more))
        images = spec.data.load()
        file = images.root / images.files["test"][0][0]
        network = Network(spec, 0, {}, spec.model.build(images.channels, 2).eval(), images)
        torch.testing.assert_close(network.prepared(file)[0], next(images.test(2, CPU))[0][0])


def test_an_image_that_breaks_later_is_named(tree):
    images = folder(tree).load()
    path = tree / "train/cat/0.jpg"
    path.write_bytes(path.read_bytes()[:-200] if path.exists() else b"")
    with pytest.raises(Problem, match="0.jpg"):
        batches(images, 12)


def test_small_images_have_no_decoder_of_their_own(tree):
    with pytest.raises(Problem, match="is for photos, above 64 px"):
        spec_of(ImageFolder(root=tree, size=64, decoder="torchcodec")).agree()
