"""`harness.new`: the files that it writes are studies, and what it cannot guess is said."""

import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from harness import Problem, check, new, study
from tests.kit import scenes

CPU = torch.device("cpu")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("my_study", None)


def made(*words):
    assert new.run(new.parser().parse_args(words)) == 0
    return study.plan(study.load("./my_study.py"))


def holds(plan):
    """The data is found, and the baseline trains on a few batches, with no check that fails."""
    study.check(plan)
    spec = plan.rungs[0].spec
    told, *_ = check.tried(check.few(spec, min(1.0, 8 / spec.batch_size)).but(epochs=1), CPU)
    return told == []


def folder_of_classes(root, parts, side, each=6):
    for part in parts:
        for label, colour in (("cat", 40), ("dog", 200)):
            for i in range(each):
                path = root / part / label / f"{part}{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (side, side + 9), (colour, 9 * i, len(part))).save(path)


def test_without_a_folder_it_is_of_digits(here, capsys):
    plan = made()
    assert plan.study == "my_study"
    assert [rung.name for rung in plan.rungs][:2] == ["baseline", "warmup"]
    assert holds(plan)
    assert "harness ablate ./my_study.py --dry-run" in capsys.readouterr().out
    with pytest.raises(Problem, match=r"^my_study.py is there already: nothing was written"):
        new.run(new.parser().parse_args([]))


@pytest.mark.parametrize(("side", "size", "small"), [(20, 20, True), (90, 64, False)])
def test_a_folder_of_classes(side, size, small, here, capsys):
    folder_of_classes(here / 'a "mine"', ("train", "val"), side)
    plan = made('a "mine"')
    spec = plan.rungs[0].spec
    assert (spec.data.size, spec.model.small, spec.batch_size) == (size, small, 2), "an epoch of 12 images has steps"
    assert holds(plan)
    assert f"images of 2 classes in train/ and val/, taken at {size} px" in capsys.readouterr().out


def test_a_folder_whose_test_images_are_called_test_is_met(here):
    folder_of_classes(here / "photos", ("train", "test"), 20)
    assert "in train/ and test/" in new.guessed("photos")[1]


def test_boxes(here):
    scenes.devkit(here / "devkit")
    plan = made("devkit/VOC2007")
    spec = plan.rungs[0].spec
    assert (spec.data.train, spec.data.test) == ((("2007", "train"),), (("2007", "test"),))
    assert spec.data.root.name == "devkit"
    study.check(plan)
    assert spec.data.load().counts["train"] >= spec.batch_size
    assert [rung.name for rung in plan.rungs] == ["baseline", "cosine", "no_bias_decay"]


def test_masks(here):
    scenes.streets(here / "ade")
    plan = made("ade")
    assert type(plan.rungs[0].spec.data).__name__ == "ADE20K"
    assert holds(plan)
    shutil.rmtree(here / "ade" / "annotations")
    with pytest.raises(Problem, match=r"ade: no layout that is known. There are: CLASS/FILE, or train/CLASS"):
        new.guessed("ade")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "^nosuch: there is no such file or folder$"),
        (("--to", "study.txt"), r"^--to study.txt: the name of a Python file is needed, my_study.py say$"),
        (("--to", "a b.py"), "'a b' cannot be a study's name"),
    ],
)
def test_what_will_not_do_is_said_and_nothing_written(words, said, here):
    with pytest.raises(Problem, match=said):
        new.run(new.parser().parse_args(words))
    assert list(here.iterdir()) == []


def pictures(root, count=24):
    """Files of two classes by turns, and (path below `root`, class) of each."""
    rows = []
    for i in range(count):
        name = ("cat", "dog")[i % 2]
        (root / "photos").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 24), (9 * i, 90, 200 * (name == "dog"))).save(root / "photos" / f"{i}.png")
        rows.append((f"photos/{i}.png", name))
    return rows


def as_table(root, title):
    lines = [f"{path},{name},{'train' if i < 16 else 'val'}" for i, (path, name) in enumerate(pictures(root))]
    (root / "all.csv").write_text("\n".join([title, *lines]))


def as_parquet(root):
    read = [(root / path).read_bytes() for path, _ in pictures(root)]
    table = {"img": [{"bytes": one, "path": None} for one in read], "fine_label": [i % 2 for i in range(len(read))]}
    for split, part in (("train", slice(16)), ("test", slice(16, None))):
        pq.write_table(pa.table({name: column[part] for name, column in table.items()}), root / f"{split}-0.parquet")
    shutil.rmtree(root / "photos")


def as_arrays(root):
    root.mkdir()
    x, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    np.savez(root / "all.npz", x=x, y=y)


def as_folders(root):
    for path, name in pictures(root):
        (root / name).mkdir(exist_ok=True)
        (root / path).rename(root / name / path.rpartition("/")[2])
    (root / "photos").rmdir()


@pytest.mark.parametrize(
    ("lay", "data", "line", "told"),
    [
        (lambda root: as_table(root, "path,label,split"), "mine", "Table(root={}/all.csv, size=20)", "table all.csv"),
        (
            lambda root: as_table(root, "filename,class,set"),
            "mine/all.csv",
            "Table(root={}/all.csv, columns=(filename, class, set), size=20)",
            "table all.csv",
        ),
        (as_parquet, "mine", "Packed(root={}, columns=(img, fine_label, split), size=20)", "containers"),
        (as_arrays, "mine", "Arrays(root={}/all.npz, split=Split())", "all.npz, taken at 8 px; a fifth of each is set"),
        (as_folders, "mine", "ImageFolder(root={}, size=20, split=Split())", "their folders"),
    ],
)
def test_other_layouts_are_met(lay, data, line, told, here, capsys):
    lay(here / "mine")
    assert holds(made(data))
    written = (here / "my_study.py").read_text().replace('"', "")
    assert f"    data={line.format('mine')},\n" in written
    assert f"images of 2 classes in {told}" in capsys.readouterr().out.replace("the ", "").replace("arrays of ", "")


def test_what_the_data_would_not_take_is_said_before_anything_is_written(here):
    folder_of_classes(here / "photos", ("train", "val"), 20)
    for part in ("train", "val"):
        (here / "photos" / part / "emu").mkdir()
    with pytest.raises(Problem, match=r"^data.root=photos: no image in train/emu$"):
        made("photos")
    (here / "all.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Problem, match=r"^data.root=all.csv: no column path; there are: a, b: rename it"):
        made("all.csv")
    assert not (here / "my_study.py").exists()
