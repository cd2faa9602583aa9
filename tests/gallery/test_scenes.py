"""What a detector and a segmenter answer, against forwards and counts of the tests' own."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem, study
from harness.engine import execute
from harness.gallery import __main__ as command
from harness.gallery import scenes
from harness.report import predicted
from harness.store import Store
from harness.study import Study
from tests.kit import scenes as kit

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def decoders():
    """Few images: no processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DECODERS", "0")
        yield


def trained(spec, root):
    store = Store(root / "runs" / "store")
    execute(spec, 0, store, CPU)
    return spec, store


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    root = tmp_path_factory.mktemp("boxes")
    kit.devkit(root)
    spec = kit.detector(root)
    return trained(spec.but(model=spec.model.but(least_score=0.0)), root)  # so small a network is sure of nothing


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    root = tmp_path_factory.mktemp("masks")
    kit.streets(root)
    return trained(kit.segmenter(root), root)


def network(spec, store, classes):
    net = spec.model.build(3, classes)
    net.load_state_dict(store.weights(spec.id, 0))
    return net.eval()


def shown(monkeypatch, name):
    """What a picture of that name is drawn of."""
    drawn, draw = [], getattr(predicted, name)
    monkeypatch.setattr(predicted, name, lambda *given: (drawn.append(given), draw(*given))[1])
    return drawn


def test_photos_of_a_detector_have_its_boxes_and_those_of_the_file(detector, monkeypatch):
    spec, store = detector
    drawn = shown(monkeypatch, "boxes")
    figures, said, stands = scenes.gallery("s", "run", spec, 0, store)
    assert set(figures) == {"boxes", "recalls"}
    assert stands.startswith("finished, on ")
    ((_, run, photos, truth, found, names, *_),) = drawn
    assert (run, names) == ("run", ("Dog", "cat"))
    for name, photo in zip(("late", "later"), photos, strict=True):
        assert np.array_equal(photo, np.asarray(Image.open(spec.data.root / f"VOC2007/JPEGImages/{name}.jpg")))
    assert [own.tolist() for own in truth] == [[[1, 4, 4, 40, 50, 0]], [[2, 1, 2, 3, 4, 0]]]
    x, frames = next(spec.data.load().test(2, CPU))
    with torch.no_grad():
        z = network(spec, store, 2)(x, frames).double().numpy()
    assert len(found[0]) > 3
    assert frames[0].tolist() == [44, 32, 60, 44, 0, 0]
    scale = np.array([44 / 32, 60 / 44])
    first = z[0][z[0][:, 0] > 0]
    assert found[0][:, :2] == pytest.approx(first[:, :2])
    assert found[0][:, 2:4] == pytest.approx(first[:, 2:4] * scale + 1)
    assert found[0][:, 4:] == pytest.approx(first[:, 4:] * scale)
    metrics = store.read(spec.id, 0)["metrics"]
    assert said[0] == f"2 test images: mAP {metrics['mAP']:.2f} and mAP (area) {metrics['mAP_area']:.2f}."
    assert said[1].columns.tolist() == ["class", "AP", "AP (area)", "boxes"]
    assert said[1]["boxes"][0] == "1"


def test_photos_of_a_segmenter_have_both_masks_at_their_own_size(segmenter, monkeypatch):
    spec, store = segmenter
    masks, pixels = shown(monkeypatch, "masks"), shown(monkeypatch, "pixels")
    figures, said, _ = scenes.gallery("s", "run", spec, 0, store)
    assert set(figures) == {"masks", "pixels"}
    ((_, _, photos, truth, answers, names),) = masks
    assert names == ("1", "2", "3")
    net, counts = network(spec, store, 3), np.zeros((3, 3), int)
    for place, (photo, own, said_of) in enumerate(zip(photos, truth, answers, strict=True)):
        stem = f"validation/validation{place}"
        assert np.array_equal(photo, np.asarray(Image.open(spec.data.root / f"images/{stem}.jpg")))
        stored = np.asarray(Image.open(spec.data.root / f"annotations/{stem}.png")).astype(int)
        assert np.array_equal(own, stored - 1)
        assert said_of.shape == stored.shape
        np.add.at(counts, (own[own >= 0], said_of[own >= 0]), 1)
    assert np.array_equal(pixels[0][2], counts), "three test images, all of which are shown"
    x, frames = next(spec.data.load().test(3, CPU))
    with torch.no_grad():
        grown = torch.nn.functional.interpolate(net(x, frames), x.shape[2:], mode="bilinear", align_corners=False)
    height, width, tall, wide = (int(side) for side in frames[1][:4])
    own = torch.nn.functional.interpolate(grown[1:2, :, :height, :width], (tall, wide), mode="bilinear")
    assert np.array_equal(answers[1], own[0].argmax(0).numpy())
    assert said[1].columns.tolist() == ["class", "IoU", "pixels"]


def test_scores_that_are_not_the_records_are_told(segmenter):
    spec, store = segmenter
    record = store.read(spec.id, 0)
    scores = {name: record["metrics"][name] for name in ("mIoU", "pixAcc", "test_loss")}
    scenes.check(scores, record, record)
    with pytest.raises(Problem, match=r"seed 0: pixAcc of the test images is other than its record says"):
        scenes.check(scores | {"pixAcc": scores["pixAcc"] + 0.001}, record, record)
    other = copy.deepcopy(record)
    other["by_class"]["2"]["n"] += 1
    with pytest.raises(Problem, match="n of 2 of the test images is other"):
        scenes.check(scores, record, other)


def test_a_class_of_which_nothing_is_there_has_no_score():
    scored = {"b|c": {"IoU": float("nan"), "n": 0}, "a": {"IoU": 50.0, "n": 4}}
    record = {"score": "mIoU", "metrics": {"mIoU": 50.0, "pixAcc": 75.0}, "by_class": scored, "images": {"test": 1}}
    frame = scenes.table(record, ("a", "b|c"))[1]
    assert frame.values.tolist() == [["a", "50.00", "4"], ["b|c", "–", "0"]]
    assert r"| b\|c " in command.index("s", [], [frame], "a run")
    assert command.page("s", {}, [frame], "a run").count('<th scope="row">') == 2
    scenes.check({}, record, record)


def test_the_command_writes_them_and_tells_of_a_run_that_is_not_there(segmenter, monkeypatch, capsys, tmp_path):
    spec, store = segmenter
    monkeypatch.setattr(study, "load", lambda name: Study("streets", "", spec, (), (0, 1)))
    monkeypatch.setenv("HARNESS_RUNS", str(store.root.parent))
    command.run(command.parser().parse_args(["streets", "--to", str(tmp_path)]))
    made = {f"{name}.{kind}" for name in ("masks", "pixels") for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == made | {"gallery.md", "index.html"}
    text = (tmp_path / "gallery.md").read_text()
    assert f"3 test images: mIoU {store.read(spec.id, 0)['metrics']['mIoU']:.2f} and pixel accuracy" in text
    assert "![Masks](masks.png)" in text
    assert "2 pictures" in capsys.readouterr().out
    with pytest.raises(Problem, match="baseline, seed 1: no finished run is here"):
        command.run(command.parser().parse_args(["streets", "--seed", "1", "--to", str(tmp_path)]))
