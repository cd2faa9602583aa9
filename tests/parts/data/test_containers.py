"""Readers of containers, against files written by other libraries and by hand."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import Problem
from harness.parts.data import reading
from harness.parts.data.containers import items
from tests.kit.own_data import arrow_table, features, photo, photos

COLUMNS = ("image", "label", "split")


def tar(path, members, mode="w"):
    with tarfile.open(path, mode) as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return path


def test_a_tar_has_a_sample_for_each_name(tmp_path):
    members = [
        ("a/1.jpg", b"one"),
        ("a/1.cls", b"3\n"),
        ("./._1.jpg", b"a Mac's"),
        ("a/2.txt", b"a caption"),
        ("a/2.seg.PNG", b"two"),
        ("a/2.json", b'{"label": 12, "id": 4}'),
        ("b/2.webp", b"three"),
        ("b/2.cls", b"cat"),
    ]
    found = list(items(tar(tmp_path / "a.tar", members), COLUMNS))
    due = [("a/1.jpg", b"one", "3"), ("a/2.seg.png", b"two", "12"), ("b/2.webp", b"three", "cat")]
    assert [item[:3] for item in found] == due


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("1.jpg", b"")], r"a.tar: 1 has .jpg; one image and its class are needed, in .cls or as label in .json"),
        ([("1.cls", b"0")], r"1 has .cls; one image"),
        ([("1.jpg", b""), ("1.png", b""), ("1.cls", b"0")], r"1 has .jpg, .png, .cls; one image"),
        ([("1.jpg", b""), ("1.json", b'{"class": 1}')], r"1 has .jpg, .json; one image"),
        ([("1.jpg", b""), ("1.json", b"{")], r"a.tar cannot be read \(JSONDecodeError"),
    ],
)
def test_a_sample_without_image_or_class_is_one_line(tmp_path, members, says):
    with pytest.raises(Problem, match=says) as caught:
        list(items(tar(tmp_path / "a.tar", members), COLUMNS))
    assert "\n" not in str(caught.value)


def write_file(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_stream(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=3, compression="zstd")


KINDS = [(write_file, "a.arrow"), (write_stream, "a.arrow"), (write_parquet, "a.parquet")]


@pytest.mark.parametrize(("write", "name"), KINDS)
def test_tables_of_images(tmp_path, write, name):
    made = photos()
    write(arrow_table(made), tmp_path / name)
    assert [(item.image, item.label) for item in items(tmp_path / name, COLUMNS)] == [(d, n) for _, n, d in made]
    outside = tmp_path / "outside.png"
    outside.write_bytes(photo(50))
    rows = [
        {"img": b"plain", "kind": "7"},
        {"img": b"bytes", "kind": "cat"},
    ]
    write(pa.Table.from_pylist(rows), tmp_path / name)
    found = items(tmp_path / name, ("img", "kind", "split"))
    assert [item[1:3] for item in found] == [(b"plain", "7"), (b"bytes", "cat")]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"image": {"bytes": None, "path": str(outside)}, "label": 5}]
    write(pa.Table.from_pylist(rows, schema=pa.schema([("image", kind), ("label", pa.int32())])), tmp_path / name)
    assert [item[1:3] for item in items(tmp_path / name, COLUMNS)] == [(photo(50), "5")]


@pytest.mark.parametrize(("write", "name"), KINDS)
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"image": b"x", "class": 0}], "no column label; there are: image, class: name the image and its class"),
        ([{"image": b"x", "label": 0}, {"image": None, "label": 1}], "row 1 has no image: fill it in"),
        ([{"image": b"x", "label": None}, {"image": b"y", "label": 1}], "row 0 has no label"),
        ([{"image": "x.png", "label": 1}], "row 0 has no image"),
        ([{"image": b"x", "label": 2}], "row 0 has the class 2, of 2: correct it"),
        ([{"image": b"x", "label": -1}], "row 0 has the class -1, of 2"),
    ],
)
def test_what_a_table_lacks_is_one_line(tmp_path, write, name, rows, says):
    write(pa.Table.from_pylist(rows).replace_schema_metadata(features()), tmp_path / name)
    with pytest.raises(Problem, match=f"{name}: {says}") as caught:
        list(items(tmp_path / name, COLUMNS))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"what is this", b"ARROW1\0\0 and no more", bytes(5000)])
def test_what_is_no_container_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    if name == "a.tar" and content == bytes(5000):
        assert list(items(tmp_path / name, COLUMNS)) == [], "an empty tar is zeros"
        return
    with pytest.raises(Problem, match=f"{name} cannot be read") as caught:
        list(items(tmp_path / name, COLUMNS))
    assert "\n" not in str(caught.value)


def test_a_tar_that_is_cut_off_is_one_line(tmp_path):
    path = tar(tmp_path / "a.tar", [("1.cls", b"0"), ("1.png", photo(0) * 20)])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(Problem, match=r"a.tar cannot be read \("):
        list(items(path, COLUMNS))


def test_without_pyarrow_a_line_says_what_to_install(tmp_path, monkeypatch):
    def lacking(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(reading, "import_module", lacking)
    with pytest.raises(Problem, match=r"parquet and arrow files need pyarrow \(.*pip install pyarrow"):
        list(items(tmp_path / "a.parquet", COLUMNS))
