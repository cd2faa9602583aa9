import io
import itertools
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.digits import BASELINE
from harness import Problem, study
from harness.parts import data
from harness.parts.data import Digits, ImageFolder, folders, reading
from harness.paths import runs
from harness.tricks.cosine import cosine


def save(path, shade=100, edge=24, seed=0, **options):
    noise = np.random.default_rng(seed).integers(0, 9, (edge, edge, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise + shade).astype(np.uint8)).save(path, **options)
    return path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """train/ of 6 and val/ of 4 images in two classes, each its own; nothing is remembered."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    numbers = itertools.count()
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                save(tmp_path / "pets" / part / name / f"{i}.bmp", seed=next(numbers))
    return tmp_path / "pets"


def read_anew(root, **settings):
    """As another process would: this one keeps what it has loaded."""
    folders._loaded.cache_clear()
    return ImageFolder(root=root, **{"size": 8} | settings).load()


def refused(root):
    with pytest.raises(Problem) as caught:
        read_anew(root)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}/", "")


def darken(path):
    """One byte less: the size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def remembered():
    (path,) = (runs() / "cache/folders").iterdir()
    return path


# --- each read once -------------------------------------------------------------------------------------------------


def test_an_archive_that_restores_times_is_seen(tree):
    """Other pixels in a file of the same size and time of modification."""
    file = tree / "train/cat/0.bmp"
    first, before = read_anew(tree), file.stat()
    time.sleep(0.02)  # a tick of the file system's clock
    darken(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_anew(tree).digest != first.digest
    darken(file)
    assert read_anew(tree).digest == first.digest


def test_another_file_of_the_same_size_and_times_is_seen(tree, monkeypatch):
    """By its inode."""
    file, true = tree / "train/cat/0.bmp", os.stat
    first = read_anew(tree)
    shutil.copy(file, tree / "new")
    darken(tree / "new")
    before = true(file)
    (tree / "new").replace(file)

    def same_times(path, **options):
        found = true(path, **options)
        if str(path) != str(file):
            return found
        return type("Stat", (), {"st_size": before.st_size, "st_mtime_ns": before.st_mtime_ns,
                                 "st_ctime_ns": before.st_ctime_ns, "st_ino": found.st_ino})()  # fmt: skip

    monkeypatch.setattr(reading.os, "stat", same_times)
    monkeypatch.setattr(reading, "_other_than_remembered", lambda *_: None)
    assert read_anew(tree).digest != first.digest


def test_one_file_in_some_is_read_again_and_all_where_it_differs(tree, monkeypatch, capsys):
    """Where no stat tells of it."""
    monkeypatch.setattr(reading, "_stat", lambda path: (1, 2, 3, 4))
    first = read_anew(tree)
    file = tree / "val/dog/1.bmp"
    darken(file)
    for _ in range(500):  # one of ten is drawn: in 500 it is missed once in 10^22
        if read_anew(tree).digest != first.digest:
            break
    else:
        pytest.fail("it was never drawn")
    said = [line for line in capsys.readouterr().err.splitlines() if "other content" in line]
    assert said == [f"{file} has other content, but size, times and inode as before: every file is read anew"]
    decoded = []
    monkeypatch.setattr(reading, "opened", lambda path: decoded.append(path))
    read_anew(tree)
    assert decoded == []
    assert capsys.readouterr().err == ""


def test_few_of_many_files_are_read_again_and_not_by_a_stream_of_the_run(monkeypatch):
    seen = {f"{i}.bmp": reading.Seen(1, 2, "x", 3, 4, None) for i in range(100_000)}
    read = []
    monkeypatch.setattr(reading, "_sha", lambda path: (read.append(path.name), "x")[1])
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for count, again in ((1, 1), (100, 1), (101, 2), (10_000, 100), (100_000, 100)):
        read.clear()
        assert reading._other_than_remembered(Path(), dict(itertools.islice(seen.items(), count))) is None
        assert len(set(read)) == len(read) == again
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert reading._other_than_remembered(Path(), {}) is None


@pytest.mark.parametrize("spoil", ["short", "damaged", "list", "odd"])
def test_what_was_remembered_otherwise_is_read_once_more(tree, spoil, monkeypatch):
    first = read_anew(tree)
    path = remembered()
    entries = json.loads(path.read_bytes())
    told = {name: [size, modified, "an old digest"] for name, (size, modified, *_) in entries.items()}  # as it was
    texts = {"short": json.dumps(told), "damaged": '{"train', "list": "[1]", "odd": '{"train/cat/0.bmp": 7}'}
    path.write_text(texts[spoil])
    assert read_anew(tree).digest == first.digest
    assert json.loads(path.read_bytes()) == entries
    monkeypatch.setattr(reading, "opened", None)
    assert read_anew(tree).digest == first.digest


def test_a_program_of_before_reads_what_is_remembered_now(tree):
    """It took the first three: size, time and digest."""
    images = read_anew(tree, size=72)
    for name, entry in json.loads(remembered().read_bytes()).items():
        found = (tree / name).stat()
        assert entry[:3] == [found.st_size, found.st_mtime_ns, images.sums[name]]


def test_files_that_decode_are_remembered_though_one_does_not(tree, monkeypatch):
    bad = tree / "train/cat/1.bmp"
    good = bad.read_bytes()
    bad.write_bytes(b"bad")
    assert refused(tree).startswith("1 of 10 files: train/cat/1.bmp does not decode")
    bad.write_bytes(good)
    decoded, opened = [], reading.opened
    monkeypatch.setattr(reading, "opened", lambda path: (decoded.append(path.name), opened(path))[1])
    read_anew(tree)
    assert decoded == ["1.bmp"]


# --- listing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["train", "val", "train/cat", "train/cat/below/deep"])
def test_a_folder_that_may_not_be_listed_stops_the_study(tree, place, monkeypatch):
    save(tree / "train/cat/below/deep/7.bmp")
    true = os.scandir

    def scandir(path):
        if Path(path) == tree / place:
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(os, "scandir", scandir)
    said = refused(tree).replace("/ ", " ")
    assert said == f"{place} cannot be listed (Permission denied): make it readable, or take it out"


@pytest.mark.parametrize("place", ["", "train"])
def test_a_folder_that_may_not_be_looked_into_stops_the_study(tree, place, monkeypatch):
    true = os.stat

    def refuse(path, **options):
        if Path(path) == tree / place:
            raise PermissionError(13, "Permission denied", str(path))
        return true(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert "cannot be listed (Permission denied)" in refused(tree)


LOOP = "is a link to a folder that it lies in: take it out"


@pytest.mark.parametrize(
    ("links", "says"),
    [
        ({"loop": "."}, f"train/cat/loop {LOOP}"),
        ({"loop": ".."}, f"train/cat/loop {LOOP}"),
        ({"loop": "/"}, f"train/cat/loop {LOOP}"),
        ({"a/up": ".."}, f"train/cat/a/up {LOOP}"),
        ({"a/to": "../b"}, ""),
        ({"a/to": "../b", "b/to": "../a"}, f"/to/to {LOOP}"),
        ({"loop": "loop"}, "train/cat/loop cannot be listed (Too many levels of symbolic links)"),
    ],
)
def test_links_without_an_end_stop_the_study(tree, links, says):
    for name in "ab":
        save(tree / f"train/cat/{name}/7.bmp")
    for link, to in links.items():
        (tree / "train/cat" / link).symlink_to(to)
    if says:
        assert says in refused(tree)
    else:
        assert read_anew(tree).counts["train"] == 9


def test_links_to_files_and_folders_are_followed(tree, tmp_path):
    first = read_anew(tree)
    (tree / "train/cat").rename(tmp_path / "away")
    (tree / "train/cat").symlink_to(tmp_path / "away")
    (tree / "val/dog/0.bmp").rename(tmp_path / "one.bmp")
    (tree / "val/dog/0.bmp").symlink_to(tmp_path / "one.bmp")
    again = read_anew(tree)
    assert (again.digest, again.notes) == (first.digest, [])
    save(tmp_path / "more/deep/7.bmp")
    for name in ("one", "two"):  # the same folder twice is no loop
        (tree / "train/dog" / name).symlink_to(tmp_path / "more")
    assert read_anew(tree).counts["train"] == 8


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_whose_link_dangles_stops_the_study(tree, part):
    (tree / part / "wolf").symlink_to("/nowhere/wolf")
    assert refused(tree) == f"{part}/wolf is a link to nothing: mend it or take it out"


def test_a_file_whose_link_dangles_stops_the_study(tree):
    (tree / "val/dog/9.bmp").symlink_to("/nowhere/9.bmp")
    assert refused(tree) == "val/dog/9.bmp cannot be read (No such file or directory): repair it or take it out"


def test_what_storage_systems_leave_is_neither_class_nor_trained_on(tree):
    first = read_anew(tree)
    left = ("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", "#recycle", "#snapshot")
    for name in left:
        for place in ("train", "val", "train/cat", "val/dog"):
            save(tree / place / name / "0.bmp@SYNOPHOTO" / "0.bmp")
    images = read_anew(tree)
    assert (images.digest, images.classes) == (first.digest, ("cat", "dog"))
    assert images.notes == [
        "skipped: train/#recycle, train/#snapshot, train/$RECYCLE.BIN, train/@eaDir, train/System Volume Information "
        "and 23 more"
    ]


def test_names_that_are_not_utf8_are_read(tree):
    folder = os.fsencode(tree / "train/cat")
    shutil.copy(os.path.join(folder, b"0.bmp"), os.path.join(folder, b"\xff\xe9.bmp"))
    with open(os.path.join(folder, b"\xe9.txt"), "w") as file:
        file.write("no image")
    for size in (8, 72):
        images = read_anew(tree, size=size)
        assert images.counts["train"] == 7
        x, _ = next(images.train(0, 7, (), lambda *_: np.random.default_rng(0), torch.device("cpu")))
        assert len(x) == 7
        (note,) = images.notes
        assert note.encode() == rb"not an image, skipped: train/cat/\udce9.txt"


# --- words ----------------------------------------------------------------------------------------------------------


def test_five_of_a_kind_are_named_and_the_others_counted(tree):
    for i in range(1200):
        (tree / f"train/cat/._{i:04d}.jpg").write_bytes(b"\0\5\x16\7")
        if i < 7:
            (tree / f"train/cat/{i}.txt").write_text("no image")
            shutil.copy(tree / "train/cat/0.bmp", tree / f"train/cat/odd{i}")
    assert read_anew(tree).notes == [
        f"skipped: {', '.join(f'train/cat/._{i:04d}.jpg' for i in range(5))} and 1,195 more",
        f"not an image, skipped: {', '.join(f'train/cat/{i}.txt' for i in range(5))} and 2 more",
        "no image ending, read as an image by its content: "
        f"{', '.join(f'train/cat/odd{i}' for i in range(5))} and 2 more",
    ]


def test_a_page_called_jpg_is_said_to_be_no_image_format(tree):
    (tree / "train/cat/9.jpg").write_text("<!DOCTYPE html><html>403</html>")
    assert refused(tree) == "1 of 11 files: train/cat/9.jpg does not decode (no image format): repair it or take it out"


# --- sixteen bits ---------------------------------------------------------------------------------------------------


def deep(path, most):
    shades = np.linspace(0, most, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(path)


@pytest.mark.parametrize(("most", "bits"), [(255, 8), (1023, 10), (4095, 12), (2**14 - 1, 14), (2**15 - 1, 0), (0, 0)])
def test_sixteen_bit_images_that_use_few_are_told(tree, most, bits):
    deep(tree / "train/cat/7.png", most // 2)
    deep(tree / "train/cat/8.png", most)
    told = [note for note in read_anew(tree).notes if "bit" in note]
    again = [note for note in read_anew(tree).notes if "bit" in note]  # now from what is remembered
    assert told == again
    assert told == bool(bits) * [
        f"16-bit images, 2 of them, use the lower {bits} bits alone and so are dark, white being 65535: save them anew "
        f"with their values times {65536 // 2**bits}"
    ]
    deep(tree / "val/cat/9.png", 40_000)
    assert not [note for note in read_anew(tree).notes if "bit" in note]


def test_sixteen_bit_colours_that_use_few_are_told(tree):
    """Pillow cannot write such a PNG: by hand, 8 x 8 px of 12 bits."""
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = np.linspace(0, 4095, 8 * 8 * 3).astype(">u2").reshape(8, -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    (tree / "train/cat/7.png").write_bytes(png)
    assert Image.open(io.BytesIO(png)).mode == "RGB"
    assert [note for note in read_anew(tree).notes if "lower 12 bits" in note and "times 16" in note]


def test_a_pgm_of_twelve_bits_is_as_bright_as_it_says(tree):
    shades = np.linspace(0, 4095, 64).astype(">u2")
    (tree / "train/cat/7.pgm").write_bytes(b"P5 8 8 4095\n" + shades.tobytes())
    images = read_anew(tree)
    assert not [note for note in images.notes if "bit" in note]
    assert images.arrays["train"][0][3].max() == 255


# --- there twice ----------------------------------------------------------------------------------------------------

TESTED = "test images are training images to the byte: accuracy is flattered"
TORN = "images that are there, to the byte, in more than one class"


@pytest.mark.parametrize("size", [8, 72])
def test_images_that_are_there_twice_are_told_before_the_first_run(tree, size, monkeypatch):
    counted = []
    count = lambda images: (counted.append(images.digest), data.repeated(images))[1]  # noqa: E731
    monkeypatch.setattr("harness.study.checks.repeated", count)

    def notes():
        folders._loaded.cache_clear()
        rungs = BASELINE.but(data=ImageFolder(root=tree, size=size), batch_size=2)
        return study.check(study.plan(study.Study("s", "", rungs, (cosine,), (0,)), [("epochs", 2)]))

    for i in range(36):
        Image.new("RGB", (80, 80), (5 * i, 255 - i, 7)).save(tree / f"val/cat/more{i}.bmp")
    assert notes() == []
    shutil.copy(tree / "train/cat/0.bmp", tree / "val/cat/other.bmp")
    assert notes() == [f"1 of 41 {TESTED}"]
    shutil.copy(tree / "train/cat/0.bmp", tree / "val/dog/other.bmp")
    shutil.copy(tree / "train/dog/1.bmp", tree / "train/cat/other.bmp")
    assert notes() == [f"2 of 42 {TESTED}", f"{TORN}: 2; no network can learn both"]
    shutil.rmtree(tree / "val")
    shutil.copytree(tree / "train", tree / "val")
    with pytest.raises(Problem, match=r"all 7 .* more than 5 % are too many: take them out of one of the two"):
        notes()
    assert len(counted) == len(set(counted)) == 4


def test_images_in_memory_that_are_there_twice_are_told():
    x = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    images = data.in_memory({"train": (x, np.arange(10) % 2), "test": (x[2:5] + 20, np.zeros(3, int))}, ("a", "b"))
    assert data.repeated(images) == []
    others = np.arange(50, 89, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    images.arrays["test"] = np.concatenate([x[3:4], others]), np.zeros(40, int)  # 3 is of the other class in training
    assert data.repeated(images) == [f"1 of 40 {TESTED}", f"{TORN}: 1; no network can learn both"]
    assert data.repeated(Digits().load()) == []
