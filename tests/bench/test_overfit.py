"""Learning by heart, with tiny networks and few steps: that it works is what the command itself is for."""

import re

import numpy as np
import pytest
import torch

from harness import Problem, engine
from harness import train as loop
from harness.bench import overfit
from harness.bench.overfit import Learned, learn, show_overfit, specification
from harness.parts.data import ADE20K, VOC
from harness.rng import streams
from tests.kit import scenes
from tests.kit.bench import command

CPU = torch.device("cpu")
LISTS = {"train": (("2007", "train"),), "test": (("2007", "test"),)}


@pytest.fixture(autouse=True)
def decoders(monkeypatch):
    """Few images: no processes."""
    monkeypatch.setenv("HARNESS_DECODERS", "0")


def test_what_is_learned_is_tested(tmp_path):
    scenes.devkit(tmp_path)
    data = VOC(root=tmp_path, short=32, long=64, **LISTS)
    images = Learned(of=data, images=3, times=4).load()
    assert images.counts == {"train": 12, "test": 3}
    names = [scene.name for scene in images.scenes["test"]]
    assert [scene.name for scene in images.scenes["train"]] == names * 4
    assert names == [f"VOC2007/JPEGImages/{name}.jpg" for name in ("wide", "tall", "square")]
    spaced = [scene.name for scene in Learned(of=data, images=2).load().scenes["test"]]
    assert spaced == [f"VOC2007/JPEGImages/{name}.jpg" for name in ("wide", "square")], "of four images every second"
    x, _ = next(images.test(3, CPU))
    order = images.order(0, 12, streams(0))[0]
    trained, _ = next(images.train(0, 12, (), streams(0), CPU))
    for place, image in zip(order % 3, trained, strict=True):
        assert torch.equal(image, x[place])
    assert np.array_equal(images.truth("test", 2), images.truth("train", 5))


def test_no_image_comes_again_before_all_others_did(tmp_path):
    """So that a batch of half of them has none twice."""
    scenes.devkit(tmp_path)
    images = Learned(of=VOC(root=tmp_path, short=32, long=64, **LISTS), images=4, times=6).load()
    orders = [np.concatenate(images.order(epoch, 2, streams(0))) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(24))
        rounds = (order % 4).reshape(6, 4)
        assert all(sorted(one) == [0, 1, 2, 3] for one in rounds)
        assert len({tuple(one) for one in rounds}) > 2
    assert orders[0].tolist() != orders[1].tolist()


def test_other_images_or_times_are_other_data(tmp_path):
    scenes.devkit(tmp_path)
    data = VOC(root=tmp_path, short=32, long=64, **LISTS)
    made = [data, *(Learned(of=data, images=n, times=t) for n, t in ((3, 1), (2, 1), (3, 2)))]
    assert len({each.load().digest for each in made}) == 4


def few(tmp_path, kind):
    if kind == "detection":
        scenes.devkit(tmp_path)
        data = Learned(of=VOC(root=tmp_path, short=32, long=64, **LISTS), images=2, times=2)
        return scenes.detector(tmp_path, data)
    data = ADE20K(root=scenes.streets(tmp_path), short=32, long=64)
    return scenes.segmenter(tmp_path, Learned(of=data, images=2, times=2))


@pytest.mark.parametrize(("kind", "score"), [("detection", "mAP"), ("segmentation", "mIoU")])
def test_the_loop_learns_without_evidence_and_says_each_epoch(tmp_path, kind, score, monkeypatch, capsys):
    spec, watch = few(tmp_path, kind), loop.watch
    monkeypatch.setattr(overfit, "specification", lambda kind, root: spec)
    monkeypatch.setattr(engine, "settle", lambda place: CPU)  # threads stay as they are
    show_overfit(kind, tmp_path, "cpu")
    assert loop.watch is watch
    out = capsys.readouterr().out
    assert f"{kind}: 2 training images of {tmp_path}, tested on themselves" in out
    steps = re.findall(r"^ +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", out, re.M)
    assert steps == ["2", "4"], "two batches of two an epoch"
    last = re.findall(rf"^{score} ([\d.]+), not above 90: see which class is not$", out, re.M)
    counted = {name: int(n.replace(",", "")) for name, n in re.findall(r"^  (\w+) +[\d.]+ +of ([\d,]+)$", out, re.M)}
    images = spec.data.load()
    every = [images.truth("test", place) for place in range(2)]
    if kind == "detection":
        assert counted == {
            name: sum((own[:, 0] == i).sum() for own in every) for i, name in enumerate(images.classes, 1)
        }
    else:
        assert counted == {name: sum((own == i).sum() for own in every) for i, name in enumerate(images.classes)}
    result = learn(spec, "cpu", lambda event: None)
    assert last == [f"{result['metrics'][score]:.2f}"], "twice the same"


@pytest.mark.parametrize(("kind", "steps", "warm"), [("detection", 400, 50), ("segmentation", 800, 10)])
def test_as_many_steps_and_as_much_warmup_as_are_told(tmp_path, kind, steps, warm):
    (scenes.devkit if kind == "detection" else scenes.streets)(tmp_path)
    if kind == "detection":
        lists = tmp_path / "VOC2007/ImageSets/Main"
        (lists / "trainval.txt").write_text((lists / "train.txt").read_text())
    spec = specification(kind, tmp_path)
    assert spec.data.images * spec.data.times == 100 * spec.batch_size
    assert (spec.epochs * 100, spec.schedule.warmup_steps(100)) == (steps, warm)
    rates = [spec.schedule.factor(step, 100, spec.epochs) for step in range(steps)]
    assert max(range(steps), key=rates.__getitem__) in (warm - 1, warm)
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--overfit", "classification"], "--overfit classification: unknown; there are: detection, segmentation"),
        (["--overfit", "detection", "--data", "/nowhere"], "/nowhere"),
        (["--overfit", "segmentation", "--data", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes(words, says):
    with pytest.raises(Problem, match=re.escape(says)):
        command("--device", "cpu", *words)
