import csv

import numpy as np
import pytest

from experiments.digits import BASELINE
from harness import Problem
from harness.evidence import Trace
from harness.parts.data import ImageFolder, Split, Table, digests, folders
from harness.rng import streams
from harness.spec import parse, plain
from tests.kit.own_data import as_folder, as_table, photo, photos


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return photos()


def written(path, rows, between=",", titles="path label split"):
    """A table of rows that are texts parted by blanks, and a file of its own for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [titles.split(), *(row.split(" ") for row in rows)]
    path.write_text("".join(between.join(line) + "\n" for line in lines))
    for number, row in enumerate(rows):
        file = path.parent / row.split(" ")[0]
        if not file.exists():
            file.write_bytes(photo(number))
    return path


ROWS = [f"{place}.png {name} {split}" for place, (name, split) in enumerate(
    [(name, split) for split in ("train", "train", "val") for name in ("cat", "dog")]
)]  # fmt: skip


def by_content(images, split):
    return dict(zip(images.content(split), images.labels(split).tolist(), strict=True))


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("kind", [{}, {"absolute": True}, {"name": "photos.parquet"}])
def test_it_serves_what_a_folder_of_the_same_photos_serves(made, tmp_path, size, kind):
    folder = ImageFolder(root=as_folder(tmp_path / "pets", made), size=size).load()
    images = Table(root=as_table(tmp_path / "table", made, **kind), size=size).load()
    assert images.counts == {"train": 8, "test": 4}
    assert (images.classes, images.notes) == (("cat", "dog"), [])
    for split in ("train", "test"):
        assert by_content(images, split) == by_content(folder, split)
        assert len(by_content(images, split)) == images.counts[split], "each its own"
    every = np.arange(4)
    due = dict(zip(folder.content("test"), folder.reference("test", every, []), strict=True))
    for content, x in zip(images.content("test"), images.reference("test", every, []), strict=True):
        assert np.array_equal(x, due[content])
    assert digests(images) == digests(folder)


def test_its_id_is_of_what_the_images_are_and_not_of_where_they_lie(made, tmp_path):
    one = Table(root=as_table(tmp_path / "one", made), size=16)
    other = Table(root=as_table(tmp_path / "other", made[::-1], absolute=True, name="b.parquet"), size=16)
    assert one.load().digest == other.load().digest
    assert BASELINE.but(data=one).id == BASELINE.but(data=other).id
    changed = [*made[:-1], (*made[-1][:2], photo(99))]
    third = Table(root=as_table(tmp_path / "third", changed), size=16).load()
    assert third.digest != one.load().digest
    assert digests(third)["train"] == digests(one.load())["train"]
    assert digests(third)["test"] != digests(one.load())["test"]
    relabelled = [("train", "dog", made[0][2]), ("train", "cat", made[4][2]), *made[1:4], *made[5:]]
    assert Table(root=as_table(tmp_path / "fourth", relabelled), size=16).load().digest != one.load().digest
    part = Table(root=one.root, size=16, split=Split(seed=3), columns=("file", "kind", "set"))
    assert parse(plain(part)) == part


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_columns_and_splits_have_the_names_that_are_told(tmp_path, between, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    rows = [f"{i}.png {label} {split}" for i, (label, split) in enumerate(
        [(label, split) for split in ("A", "A", "B", "C") for label in ("10", "9")]
    )]  # fmt: skip
    path = written(tmp_path / "a" / "t.csv", rows, between, "file kind set")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "t.csv").write_bytes((tmp_path / "b" / "t.csv").read_bytes())
    part = Table(
        root=tmp_path / "t.csv", below=tmp_path / "b", columns=("file", "kind", "set"), train="A", test="C", size=16
    )
    images = part.load()
    assert images.counts == {"train": 4, "test": 2}
    assert images.classes == ("9", "10"), "numbers by their value"
    assert not path.exists()
    assert part.but(test="B").load().digest != images.digest


def test_without_a_column_of_splits_one_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    rows = [f"{i}.png {'cat' if i % 2 else 'dog'}" for i in range(20)]
    path = written(tmp_path / "t.csv", rows, titles="path label")
    with pytest.raises(Problem, match="there is no test set .no column split.: .* data.split=Split"):
        Table(root=path, size=16).load()
    images = Table(root=path, size=16, split=Split(share=0.3)).load()
    assert images.counts == {"train": 14, "test": 6}
    assert np.bincount(images.labels("test")).tolist() == [3, 3]
    assert not set(images.content("train")) & set(images.content("test"))
    with pytest.raises(Problem, match="data.split is for data without a test set, and there is val"):
        Table(root=written(tmp_path / "two" / "t.csv", ROWS), size=16, split=Split()).load()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([*ROWS, "0.png cat train", "0.png cat train"], "1 images have more rows than one, and are taken once: 0.png"),
        ([*ROWS, "6.png dog test"], "the test set is val, by its name; not read: test; data.test names another"),
        ([row.replace("val", "Test") for row in ROWS], "the test set is Test, by its name; data.test names another"),
        ([*ROWS, "6.png cow train"], "1 of 3 classes have no test image: cow"),
    ],
)
def test_what_is_odd_is_a_note(tmp_path, rows, says, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    images = Table(root=written(tmp_path / "t.csv", rows), size=16).load()
    assert images.notes == [says]
    assert images.counts == {"train": 5 if "cow" in rows[-1] else 4, "test": 2}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "the table has no rows"),
        (
            [*ROWS, "7.png cat tain", "8.png cat tain"],
            r"2 rows have a split that nobody knows: row 8 \(tain\), 9 \(tain\)",
        ),
        ([*ROWS, "7.png  train"], r"1 row has no label: row 8 \(7.png\); fill it in"),
        ([*ROWS, "7.png cow val"], "classes that only test rows have: cow: nobody can learn them"),
        ([*ROWS, "0.png cat val"], "1 images are in two splits, or two classes: 0.png; leave one row of each"),
        ([*ROWS, "./0.png cat val"], "1 images are in two splits, or two classes: 0.png"),
        ([*ROWS, "0.png dog train"], "1 images are in two splits, or two classes: 0.png"),
        (ROWS[4:], "no row's split is train; there are: val: name data.train"),
        (ROWS[:4], "no row is of the split val\\): name it in data.test"),
        (ROWS[::2], "1 class in column label; at least two are needed"),
    ],
)
def test_what_will_not_do_is_one_line(tmp_path, rows, says):
    with pytest.raises(Problem, match=says) as caught:
        Table(root=written(tmp_path / "t.csv", rows), size=16).load()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"data.root={tmp_path}/t.csv")


def test_a_file_that_is_no_image_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    (tmp_path / "notes.txt").write_text("cats are nice")
    path = written(tmp_path / "t.csv", [*ROWS, "notes.txt cat train"])
    with pytest.raises(Problem, match=r"t.csv: 1 named that is no image: notes.txt; repair the file, or take its line"):
        Table(root=path, size=16).load()
    with pytest.raises(Problem, match=r"t.csv: 1 named that is no image: notes.txt"):
        Table(root=path, size=16, limit=5).load()


def test_one_image_by_two_ways_to_write_its_path_is_one(tmp_path):
    with pytest.raises(Problem, match="1 images are in two splits, or two classes: 0.png"):
        Table(root=written(tmp_path / "t.csv", [*ROWS, f"{tmp_path}/0.png cat val"]), size=16).load()


def test_files_that_are_not_there_are_told_by_their_rows(tmp_path):
    path = written(tmp_path / "t.csv", ROWS)
    for name in ("1.png", "4.png"):
        (tmp_path / name).unlink()
    with pytest.raises(
        Problem, match=r"2 rows have a file that is not there: row 3 \(1.png\), 6 \(4.png\); put it there"
    ):
        Table(root=path, size=16).load()
    with pytest.raises(Problem, match=r"none is: paths are looked for below /nowhere, data.below names another"):
        Table(root=path, below="/nowhere", size=16).load()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", None, "cannot be read as a table .FileNotFoundError"),
        ("t.csv", b"\xff\xfe\x00a", "cannot be read as a table .UnicodeDecodeError"),
        ("t.parquet", b"PAR1 and no more", "cannot be read as a table .ArrowInvalid"),
        ("t.csv", b"image,label,split\na.png,cat,train\n", "no column path; there are: image, label, split: rename it"),
        ("t.csv", b"", "no column path; there are: none"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=says) as caught:
        Table(root=tmp_path / name).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [16, 72])
def test_labels_are_held_against_the_table_once_more(made, tmp_path, size):
    part = Table(root=as_table(tmp_path / "table", made), size=size)
    trace, spec = Trace(1, 2, rng=streams(0)), BASELINE.but(data=part)
    (check,) = part.proof(spec, trace)
    assert (check.seen, check.ok) == ("0 of 12", True)
    images = part.load()
    if size == 16:
        images.arrays["train"][1][:] = 1 - images.arrays["train"][1]
    else:
        images.files["train"] = [(name, 1 - label) for name, label in images.files["train"]]
    (check,) = part.proof(spec, trace)
    assert (check.seen, check.ok) == ("8 of 12", False)
    folders._loaded.cache_clear()


@pytest.mark.parametrize("labels", [(False, True), (0.0, 1.0), (0, 1), (0.5, 1.5)])
def test_labels_of_a_parquet_may_be_of_any_type(made, tmp_path, labels):
    """A column of whole numbers that once had a gap is of floats."""
    of = dict(zip(("cat", "dog"), labels, strict=True))
    rows = [(split, of[name], data) for split, name, data in made]
    part = Table(root=as_table(tmp_path / "table", rows, name="t.parquet"), size=16)
    whole = isinstance(labels[0], float) and labels[0].is_integer()
    assert part.load().classes == tuple(str(int(label) if whole else label) for label in labels)
    (check,) = part.proof(BASELINE.but(data=part), Trace(1, 2, rng=streams(0)))
    assert (check.seen, check.ok) == ("0 of 12", True)


def test_a_slice_reads_the_files_it_needs(made, tmp_path):
    path = as_table(tmp_path / "table", made)
    part = Table(root=path, size=72, limit=4, limit_test=2)
    assert part.load().counts == {"train": 4, "test": 2}
    assert sorted(part.load().labels("train")) == [0, 0, 1, 1]
    with path.open(newline="") as file:
        shuffled = sorted(csv.DictReader(file), key=lambda row: row["path"][::-1])
    path.write_text("path,label,split\n" + "".join(",".join(row.values()) + "\n" for row in shuffled))
    folders._loaded.cache_clear()
    assert part.load().digest == Table(root=path, size=72, limit=4, limit_test=2).load().digest
