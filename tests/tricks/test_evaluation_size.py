import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness import train as loop
from harness.evidence import Upstream
from harness.parts.data import Digits, ImageFolder
from harness.parts.models import Dense
from harness.tricks.distillation import distillation
from harness.tricks.evaluation_size import EvaluationSize, evaluation_size

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [4, 8, 11, 16])
def test_images_in_memory_are_scaled_as_pillow_does(size):
    images = Digits().load().resized(size)
    x = images.reference("test", np.arange(20), [])
    assert x.shape == (20, 1, size, size)
    for own, raw in zip(x, images.arrays["test"][0], strict=False):
        whole = Image.fromarray(raw[0].astype(np.float32), mode="F").resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(own[0], np.asarray(whole), atol=1e-3)


def test_what_is_tested_is_that_and_training_stays(tiny, live):
    (plain, _), (larger, trace) = live(tiny), live(evaluation_size(tiny))
    assert [row for row in larger.result["evidence"] if not row["ok"]] == []
    assert trace.exams.sides == {9}
    assert [e["loss"] for e in larger.result["epochs"]] == [e["loss"] for e in plain.result["epochs"]]
    assert larger.result["network"] == plain.result["network"]
    assert larger.result["metrics"]["test_loss"] != plain.result["metrics"]["test_loss"]


def test_photos_are_decoded_at_that_size(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in "ab":
            (tmp_path / split / kind).mkdir(parents=True)
            pixels = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / kind / "x.png")
    images = ImageFolder(root=tmp_path, size=70).load().resized(80)
    assert images.reference("test", np.arange(2), []).shape == (2, 3, 80, 80)
    assert ImageFolder(root=tmp_path, size=70).load().size == 70


def test_a_crop_ratio_is_timms(tmp_path):
    """Of a photo of 90 x 180 px at 40 px by .8: the short edge to 50 px, then the middle. Where an edge is no whole
    number timm takes the one below, and this the nearest.
    """
    from timm.data import create_transform

    for split in ("train", "val"):
        for kind in "ab":
            (tmp_path / split / kind).mkdir(parents=True)
            pixels = np.random.default_rng(0).integers(0, 256, (90, 180, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / kind / "x.png")
    data = ImageFolder(root=tmp_path, size=70)
    images = EvaluationSize(size=40, crop=0.8).view(data.load())
    theirs = create_transform(40, crop_pct=0.8, interpolation="bilinear", mean=(0.0,) * 3, std=(1 / 255,) * 3)
    due = theirs(Image.fromarray(pixels)).numpy()
    np.testing.assert_allclose(images.reference("test", np.arange(1), [])[0], due, atol=0.51)
    (x, _), *_ = images.test(1, CPU)
    live = x[0].double().numpy() * np.reshape(images.std, (3, 1, 1)) + np.reshape(images.mean, (3, 1, 1))
    np.testing.assert_allclose(live, due, atol=0.51)


def test_a_crop_ratio_is_of_photos(tiny):
    with pytest.raises(Problem, match=r"^evaluation.crop is for photos"):
        evaluation_size(tiny, crop=0.9).agree()


def test_a_network_of_one_size_says_so(tiny):
    spec = tiny.but(model=Dense(hidden=(8,), size=8), evaluation=EvaluationSize(size=9))
    with pytest.raises(Problem, match=r"^evaluation.size=9: .* cannot take images of 9 x 9"):
        spec.agree()


def test_a_teacher_is_asked_again_at_the_size_that_it_was_tested_at(tiny):
    """Its record is of images of that size; of the data's own it answers others right."""

    def inner(spec):
        done = loop.train(spec, 0, CPU, inner)
        return Upstream(done.model, spec.id, done.result)

    spec = distillation(evaluation_size(tiny.but(batch_size=99), 12), model=tiny.model, tricks=())
    done = loop.train(spec, 0, CPU, inner)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []


def test_it_is_planned_without_the_data(tiny, tmp_path):
    spec = evaluation_size(tiny.but(data=ImageFolder(root=tmp_path / "not there")))
    assert spec.evaluation == EvaluationSize()
