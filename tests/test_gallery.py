"""The gallery's numbers, against hand counts, numpy and a forward of the tests' own."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem, gallery, study
from harness.engine import execute
from harness.parts.augment import Shift
from harness.parts.data import Digits, ImageFolder
from harness.parts.data.holdout import Holdout
from harness.rng import stream
from harness.stats import wilson
from harness.store import Store
from tests.kit.tiny import BASELINE, STUDY, Lying

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The tiny study's baseline, trained."""
    made = Store(tmp_path_factory.mktemp("runs") / "store")
    execute(BASELINE, 0, made, torch.device("cpu"))
    return made


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two classes: three and two training files, each a shade of its own, one test file each."""
    root = tmp_path_factory.mktemp("tree")
    sizes = {"train/n0": [(30, 20), (40, 20), (8, 90)], "train/n1": [(30, 20), (31, 21)]}
    sizes |= {"val/n0": [(50, 60)], "val/n1": [(70, 80)]}
    for number, (folder, shapes) in enumerate(sizes.items()):
        (root / folder).mkdir(parents=True)
        for i, shape in enumerate(shapes):
            Image.new("RGB", shape, (60 * number, 40 * i, 9)).save(root / folder / f"{i}.png")
    return root


def settings(text):
    return gallery.parser().parse_args(text)


def test_labels_are_counted_in_every_split():
    images = Holdout(of=Digits(), share=0.2).load()
    counts = gallery.label_counts(images)
    assert list(counts) == ["train", "val", "test"]
    for split, own in counts.items():
        labels = list(images.arrays[split][1])
        assert own.tolist() == [labels.count(k) for k in range(10)]


@pytest.mark.parametrize("size", [16, 80])
def test_sizes_are_those_of_the_files(tree, size):
    found = gallery.file_sizes(ImageFolder(root=tree, size=size))
    assert found["train"].tolist() == [[30, 20], [40, 20], [8, 90], [30, 20], [31, 21]]
    assert found["test"].tolist() == [[50, 60], [70, 80]]


def test_classes_have_the_names_that_labels_csv_tells(tree, tmp_path):
    data = ImageFolder(root=tmp_path)
    assert gallery.class_names(data, ("n0", "n1")) == ["n0", "n1"]
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfLabel,Latin Name,Common Name\r\nn1,mico,silvery, \r\nn0,x,  \r\n\r\n")
    assert gallery.class_names(Holdout(of=data), ("n0", "n1", "n2")) == ["n0", "silvery", "n2"]
    path.write_text("Label,Common Name\nn0,monkey\nn1,monkey\n")
    assert gallery.class_names(data, ("n0", "n1")) == ["n0", "n1"], "not two of one name"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(Problem, match=r"labels\.csv cannot be read"):
        gallery.class_names(data, ("n0",))
    assert gallery.class_names(Digits(), ("0", "1")) == ["0", "1"]


class Same(Lying):
    def __call__(self, x, rng):
        return x


@pytest.mark.parametrize("size", [16, 80])
def test_samples_are_of_the_images_chosen(tree, size):
    """Without augmentation each draw is the image itself, whatever place the epoch's order gave it."""
    data = ImageFolder(root=tree, size=size, fit="squash")
    images, places = data.load(), np.array([0, 2, 3, 4])
    plain = gallery.prepared(images, "train", places)
    shades = [(0, 0, 9), (0, 80, 9), (60, 0, 9), (60, 40, 9)]
    assert [tuple(image[0, 0].tolist()) for image in plain] == shades
    assert {image.shape for image in plain} == {(size, size, 3)}
    drawn = gallery.augmented(images, BASELINE.but(data=data, augment=(Same(),)), places, draws=4)
    assert [np.array_equal(a, b) for row in drawn for a, b in zip(row, plain, strict=True)] == [True] * 16


def test_samples_show_the_augmentation():
    """Each is its image, moved by at most a pixel, and not all by the same."""
    spec, places = BASELINE.but(augment=(Shift(pixels=1),)), np.arange(5)
    plain = gallery.prepared(spec.data.load(), "train", places)
    moved = set()
    for row in gallery.augmented(spec.data.load(), spec, places, draws=6):
        for image, whole in zip(row, plain, strict=True):
            padded = np.pad(whole, ((1, 1), (1, 1), (0, 0)))
            ways = [(i, j) for i in range(3) for j in range(3) if np.array_equal(image, padded[i : i + 8, j : j + 8])]
            assert ways
            moved.add(ways[0])
    assert len(moved) > 3


def test_answers_are_those_of_the_weights(store):
    found = gallery.answers(BASELINE, 0, store)
    images, labels = BASELINE.data.load().arrays["test"]
    net = BASELINE.model.build(1, 10)
    net.load_state_dict(store.weights(BASELINE.id, 0))
    mean, std = (np.float32(BASELINE.data.load().__dict__[name][0]) for name in ("mean", "std"))
    with torch.no_grad():
        z = net.eval()(torch.from_numpy((images.astype(np.float32) - mean) / std)).double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert (found.said == z.argmax(1)).mean() > 0.999, "but for a tie that another batch breaks"
    assert found.sure == pytest.approx(p.max(1), abs=1e-3)
    assert found.truth.tolist() == labels.tolist()
    record = store.read(BASELINE.id, 0)
    assert 100 * (found.said == labels).mean() == pytest.approx(record["metrics"]["top1"])


def test_answers_that_are_not_the_records_are_told(store):
    record = store.read(BASELINE.id, 0)
    found = gallery.answers(BASELINE, 0, store)
    gallery.check(found, record)
    other = gallery.Answers(found.truth, (found.said + (np.arange(1200) < 3)) % 10, found.sure)
    differ = int(((other.said == other.truth) != (found.said == found.truth)).sum())
    assert differ
    with pytest.raises(Problem, match=rf"seed 0: {differ} of 1200 test images are answered otherwise"):
        gallery.check(other, record)


def test_confusion_is_counted_by_class_and_answer():
    found = gallery.Answers(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 2]), np.ones(6))
    assert gallery.confusion(found, 4).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]


def test_accuracy_is_of_all_of_200_and_of_those_held_out():
    truth = np.arange(1000) % 10
    said = np.where(np.arange(1000) < 700, truth, (truth + 1) % 10)
    found = gallery.Answers(truth, said, np.ones(1000))
    record = {"metrics": {"val_top1": 62.5}, "images": {"val": 40}}
    near = np.arange(1000) % 5 == 0
    every, few, apart, held = gallery.accuracies(found, record, near)
    assert apart[1:] == (560, 800)
    assert every == ("all 1,000 test images", 700, 1000)
    drawn = stream(0, "gallery", "drawn").permutation(1000)[:200]
    assert few == ("200 test images drawn at random", int((drawn < 700).sum()), 200)
    assert held[1:] == (25, 40)
    few_tests = gallery.Answers(truth[:50], said[:50], np.ones(50))
    assert gallery.accuracies(few_tests, {"metrics": {}}, near[:50] & False) == [("all 50 test images", 50, 50)]


def test_photos_saved_twice_are_twins_and_photos_alike_are_none(tmp_path):
    rng = np.random.default_rng(0)
    photos = [
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((120, 90), Image.Resampling.BICUBIC)
        for _ in range(6)
    ]
    for split, label, places in (
        ("train", "a", (0, 1)),
        ("train", "b", (2, 3)),
        ("val", "a", (0, 4)),
        ("val", "b", (5, 3)),
    ):
        (tmp_path / split / label).mkdir(parents=True)
        for i in places:
            photo = photos[i].resize((100, 75)) if split == "val" else photos[i]
            photo.save(tmp_path / split / label / f"{i}.jpg", quality=60 if split == "val" else 95)
    images = ImageFolder(root=tmp_path, size=72).load()
    names = [name for name, _ in images.files["test"]]
    found = dict(zip(names, gallery.twins(images).tolist(), strict=True))
    assert found == {"val/a/0.jpg": True, "val/a/4.jpg": False, "val/b/3.jpg": True, "val/b/5.jpg": False}


def test_the_index_has_the_intervals():
    text = gallery.index("x<b>", ["labels"], [("all", 81, 263)], "of [a](b)")
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert "| all | 81 | 263 | 30.80 | 25.53 to 36.62 |" in text
    assert "![Labels](labels.png)" in text
    assert r"x\<b\>" in text
    assert r"\[a\](b)" in text


def test_a_test_set_that_is_in_training_whole_is_said():
    found = gallery.Answers(np.zeros(3, int), np.array([0, 1, 0]), np.ones(3))
    told = gallery.accuracies(found, {"metrics": {}}, np.ones(3, bool))
    assert [row[1:] for row in told] == [(2, 3), (0, 0)]
    text = gallery.index("s", [], told, "")
    assert "| all 3 test images | 2 | 3 | 66.67 |" in text
    assert re.search(r"without a twin in training, .*: there is none \| – \| 0 \| – \| – \|", text)


@pytest.fixture
def tiny_study(monkeypatch, tmp_path, store):
    monkeypatch.setattr(study, "load", lambda name: STUDY)
    monkeypatch.setenv("HARNESS_RUNS", str(store.root.parent))
    return tmp_path / "made"


def test_the_command_writes_all_pictures_of_a_finished_run(tiny_study, store, capsys):
    gallery.run(settings(["tiny", "--to", str(tiny_study)]))
    pictures = {"labels", "samples", "curves", "answers", "confusion"}  # digits are no files
    wanted = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")} | {"gallery.md"}
    assert {path.name for path in tiny_study.iterdir()} == wanted
    text = (tiny_study / "gallery.md").read_text()
    top1 = store.read(BASELINE.id, 0)["metrics"]["top1"]
    assert f"| all 1,200 test images | {round(12 * top1)} | 1,200 | {top1:.2f} |" in text
    assert "| 200 test images drawn at random |" in text
    assert set(re.findall(r"\((\w+)\.png\)", text)) == pictures
    assert "5 pictures" in capsys.readouterr().out


def test_without_a_finished_run_there_is_the_data_alone(tiny_study):
    gallery.run(settings(["tiny", "--rung", "mixup", "--seed", "1", "--to", str(tiny_study)]))
    assert {path.name for path in tiny_study.glob("*.png")} == {"labels.png", "samples.png"}
    assert "mixup, seed 1: no finished run yet" in (tiny_study / "gallery.md").read_text()


def test_a_rung_that_there_is_not(tiny_study):
    with pytest.raises(Problem, match="--rung cutmix: no such rung in tiny; there are: baseline, warmup"):
        gallery.run(settings(["tiny", "--rung", "cutmix"]))


def test_a_seed_that_the_study_has_not_is_told():
    with pytest.raises(Problem, match="--seed 77: no such run of baseline; the study's seeds: 0, 1, 2, 3, 4"):
        gallery.run(settings(["digits", "--seed", "77"]))


def test_help_is_light():
    code = (
        "import sys, harness.gallery as g; g.parser().format_help(); print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
