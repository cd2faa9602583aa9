"""Photos that a device decodes and resizes, here the CPU in a GPU's stead, against Pillow and plain weights."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness import Problem
from harness.parts.augment import OnPixels
from harness.parts.data import ImageFolder, nvjpeg, tensors
from harness.parts.data.nvjpeg import Window
from harness.parts.data.reading import opened
from tests.kit.folders import CPU, batches, picture, smooth
from tests.kit.stops import trained
from tests.mutants.breaking import edited
from tests.parts.data.test_tensors import spec_of, tree  # noqa: F401  # a fixture

pytest.importorskip("torchcodec")


def folder(root, **more) -> ImageFolder:
    return ImageFolder(root=root, size=72, decoder="nvjpeg", **more)


@pytest.mark.parametrize("size", [(505, 403), (80, 75), (72, 72), (72, 300), (31, 40)])
@pytest.mark.parametrize("to", [(72, 72), (9, 200), (200, 9)])
def test_sizes_are_torchs_and_those_of_whole_numbers_to_the_bit(size, to):
    (width, height), (tall, wide) = size, to
    x = np.asarray(smooth(*size)).copy()
    x[: height // 2] = np.random.default_rng(0).integers(0, 256, x[: height // 2].shape)
    ours = torch.from_numpy(x).permute(2, 0, 1).int()
    for old, new in ((width, wide), (height, tall)):
        begins, weights, places = nvjpeg.taps(old, new, 0, new)
        ours = nvjpeg.resized(ours, torch.from_numpy(begins), torch.from_numpy(weights), places).transpose(1, 2)
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), tensors.in_whole_numbers(x, tall, wide))
    assert torch.equal(ours.byte(), tensors.sized(torch.from_numpy(x).permute(2, 0, 1), tall, wide))


def test_a_batch_is_each_image_cut_and_resized(tmp_path):
    smooth(213, 97).save(tmp_path / "a.jpg")
    smooth(90, 120).save(tmp_path / "b.png")
    smooth(64, 80).convert("L").save(tmp_path / "c.jpg")
    smooth(64, 80).convert("CMYK").save(tmp_path / "d.jpg")
    names = ["a.jpg", "b.png", "c.jpg", "d.jpg"]
    windows = [Window(5, 20, 60, 100, 72, 72), Window(0, 0, 120, 90, 109, 82, 18, 5)]
    windows += [Window(5, 10, 60, 50, 72, 72), Window(0, 0, 80, 64, 103, 82, 15, 5)]
    asked = iter(windows)
    told = []

    def window(height, width):
        told.append((height, width))
        return next(asked)

    batch = nvjpeg.encoded((opened(tmp_path / name) for name in names), window, 72)
    assert told == [(97, 213), (120, 90), (80, 64), (80, 64)]
    assert batch.sides.tolist() == [[0, 0], [120, 90], [80, 64], [80, 64]], "what is no RGB JPEG comes decoded"
    assert batch.lengths.tolist()[0] == (tmp_path / "a.jpg").stat().st_size
    for name, (top, left, h, w, tall, wide, down, right), x in zip(
        names, windows, nvjpeg.shown(batch, 72, CPU), strict=True
    ):
        whole = torch.from_numpy(np.array(Image.open(tmp_path / name).convert("RGB"))).permute(2, 0, 1)
        due = functional.resize(whole[:, top : top + h, left : left + w], [tall, wide], antialias=True)
        assert torch.equal(x, due[:, down : down + 72, right : right + 72])


@pytest.mark.parametrize("more", [{}, {"fit": "squash"}])
def test_a_run_on_them_proves_itself_and_is_another_run(tree, more):  # noqa: F811
    spec = spec_of(folder(tree, **more))
    result = trained(spec).result
    assert result["status"] == "finished", [row for row in result["evidence"] if not row["ok"]]
    rows = [row for row in result["evidence"] if "from Pillow's" in row["what"]]
    assert [(row["expected"], row["seen"], row["ok"]) for row in rows] == [("below 2", "0", True)], "libjpeg's, both"
    other = {spec_of(ImageFolder(root=tree, size=72, decoder=name, **more)).id for name in (None, "torchcodec")}
    assert spec.id not in other


@pytest.mark.parametrize(
    ("owner", "old", "new", "parts"),
    [
        ("encoded", "(top, left, height, width)", "(top, left - 1 if left else 1, height, width)", {"audit", "test"}),
        ("central", "(tall - size) // 2", "(tall - size) // 2 + 1", {"test"}),
        ("shown", "x.byte()", "x.add(1).byte()", {"audit", "test"}),
        ("pixels", "x.permute(1, 2, 0)", "(255 - x).permute(1, 2, 0)", {"audit", "test", "ImageFolder"}),
    ],
)
def test_pixels_that_are_others_are_refused(tree, owner, old, new, parts, monkeypatch):  # noqa: F811
    edited(nvjpeg, owner, old, new)(monkeypatch)
    result = trained(spec_of(folder(tree))).result
    assert result["status"] == "refused"
    assert {row["part"] for row in result["evidence"] if not row["ok"]} == parts


def test_a_network_gets_an_image_as_its_test_images_are(tree):  # noqa: F811
    from harness.outcomes.networks import Network

    for more in ({}, {"fit": "squash"}):
        spec = spec_of(folder(tree, **more))
        images = spec.data.load()
        file = images.root / images.files["test"][0][0]
        network = Network(spec, 0, {}, spec.model.build(3, 2).eval(), images)
        torch.testing.assert_close(network.prepared(file)[0], next(images.test(2, CPU))[0][0])


def test_batches_come_the_same_from_other_processes_and_from_this_one(tree, monkeypatch):  # noqa: F811
    images = folder(tree).load()
    made = {}
    for decoders in ("0", "1"):
        monkeypatch.setenv("HARNESS_DECODERS", decoders)
        made[decoders] = batches(images, 12)
    assert multiprocessing.active_children() == []
    for one, other in zip(*made.values(), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_an_image_that_breaks_later_is_named(tree):  # noqa: F811
    images = folder(tree).load()
    path = tree / "train/cat/0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Problem, match="0.jpg"):
        batches(images, 12)


def test_one_that_torchcodec_does_not_decode_and_pillow_does_is_pillows(tmp_path, monkeypatch):
    import torchcodec.decoders

    picture((200, 40, 10), seed=1).save(tmp_path / "a.jpg")

    def fails(source, device):
        raise RuntimeError("of which one it is not said")

    monkeypatch.setattr(torchcodec.decoders, "decode_jpeg", fails)
    image = opened(tmp_path / "a.jpg")
    high, wide = image.height, image.width
    x = nvjpeg.shown(nvjpeg.encoded([image], lambda h, w: Window(0, 0, high, wide, 72, 72), 72), 72, CPU)[0]
    due = tensors.in_whole_numbers(np.asarray(Image.open(tmp_path / "a.jpg")), 72, 72)
    assert np.array_equal(x.permute(1, 2, 0).numpy(), due)


def test_what_it_cannot_do_is_said(tree):  # noqa: F811
    class Dark(OnPixels):
        def on_pixels(self, images, rng):
            return images // 2

    with pytest.raises(Problem, match="gives colours: leave data.grey out"):
        spec_of(folder(tree, grey=True)).agree()
    with pytest.raises(Problem, match="Dark works where processes decode photos: leave data.decoder='nvjpeg' out"):
        spec_of(folder(tree)).but(augment=(Dark(),)).agree()
