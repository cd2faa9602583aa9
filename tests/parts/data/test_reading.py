import hashlib
import io
import itertools
import json
import os
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.parts.augment import PAPER
from harness.parts.data import (
    ADE20K,
    VOC,
    ImageFolder,
    distrust,
    reading,
)
from harness.parts.data.reading import looked, opened, size_of
from harness.paths import runs
from tests.kit.folders import COLOURS, batches, picture, pixels, read_anew, refused


def test_content_decides_what_is_an_image(tree):
    shutil.copy(tree / "train/cat/1.png", tree / "train/cat/really_a_png.jpg")
    shutil.copy(tree / "train/cat/0.jpg", tree / "train/cat/no_ending")
    (tree / "train/cat/readme.txt").write_text("not an image")
    (tree / "train/cat/.hidden").write_text("not an image")
    images = ImageFolder(root=tree, size=8).load()
    assert images.counts == {"train": 14, "test": 6}
    assert len(images.notes) == 3
    assert any("skipped" in note and "train/cat/.hidden" in note for note in images.notes)
    assert any("skipped" in note and "train/cat/readme.txt" in note for note in images.notes)
    assert any("skipped" not in note and "train/cat/no_ending" in note for note in images.notes)


def test_a_tidy_folder_needs_no_note(tree):
    assert ImageFolder(root=tree, size=8).load().notes == []


@pytest.mark.parametrize("name", ["broken.jpg", "broken"])
def test_a_broken_image_is_named(tree, name):
    whole = tree / "val/dog/0.jpg"
    (tree / "val/dog" / name).write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(Problem, match=f"val/dog/{name} does not decode") as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [8, 72])
def test_a_changed_byte_moves_the_digest_and_a_touch_does_not(tree, size, tmp_path):
    file = tree / "train/cat/flat.bmp"
    picture((9, 9, 9)).save(file)
    first = read_anew(tree, size)
    os.utime(file, ns=(1, 1))
    assert read_anew(tree, size).digest == first.digest
    elsewhere = shutil.copytree(tree, tmp_path / "elsewhere")
    assert read_anew(elsewhere, size).digest == first.digest
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert read_anew(tree, size).digest != first.digest
    file.rename(tree / "train/dog/flat.bmp")
    content[-1] ^= 1
    (tree / "train/dog/flat.bmp").write_bytes(content)
    assert read_anew(tree, size).digest != first.digest, "the same image in another class"


def test_a_file_is_read_again_only_where_it_changed(tree, monkeypatch):
    read_anew(tree, 72)
    seen = []
    monkeypatch.setattr(reading, "opened", lambda path: (seen.append(path.name), opened(path))[1])
    read_anew(tree, 72)
    assert seen == []
    os.utime(tree / "val/cat/1.png", ns=(5, 5))
    read_anew(tree, 72)
    assert seen == ["1.png"]


def test_every_mode_comes_out_as_rgb(tree):
    """Grey, CMYK, palette, with alpha, and two-coloured: red or blue as they were, or grey."""
    red, folder = picture(COLOURS["cat"]), tree / "train/cat"
    for file in folder.iterdir():
        file.unlink()
    red.convert("CMYK").save(folder / "cmyk.jpg")
    red.convert("P").save(folder / "palette.png")
    red.convert("P").save(folder / "palette.gif")
    red.convert("RGBA").save(folder / "alpha.png")
    images = ImageFolder(root=tree, size=8).load()
    x = images.arrays["train"][0][images.arrays["train"][1] == 0]
    assert x.shape == (4, 3, 8, 8)
    assert x.dtype == np.uint8
    assert (x[:, 0] > 200).all()
    assert (x[:, 1:] < 60).all()

    for file in folder.iterdir():
        file.unlink()
    grey = Image.new("L", (20, 30), 200)
    grey.save(folder / "grey.png")
    grey.convert("LA").save(folder / "alpha.png")
    Image.new("1", (20, 30), 1).save(folder / "bits.png")
    images = read_anew(tree)
    x = images.arrays["train"][0][images.arrays["train"][1] == 0]
    assert sorted(np.unique(x).tolist()) == [200, 255]
    assert x.shape == (3, 3, 8, 8)


def test_sixteen_bit_grey_keeps_its_shades(tree):
    shades = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tree / "train/cat/6.png")
    images = ImageFolder(root=tree, size=8).load()
    x = images.arrays["train"][0][6, 0]
    assert np.abs(x - shades / 257.0).max() <= 1


def test_sixteen_bit_pgm_keeps_its_shades(tree):
    shades = np.linspace(0, 65535, 64).astype(">u2").reshape(8, 8)
    (tree / "train/cat/6.pgm").write_bytes(b"P5 8 8 65535\n" + shades.tobytes())
    images = ImageFolder(root=tree, size=8).load()
    assert np.abs(images.arrays["train"][0][6] - shades / 257.0).max() <= 1


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_pixels_of_32_bits_are_refused_in_a_line(tree, kind, mode):
    Image.fromarray(np.linspace(0, 70000, 64).astype(kind).reshape(8, 8)).save(tree / "train/cat/deep.tiff")
    with pytest.raises(Problem, match=rf"train/cat/deep\.tiff has 32-bit .*mode {mode}.: save it with 8 or") as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(6, 6), (1, 9), (9, 1), (3, 40)])
@pytest.mark.parametrize("size", [8, 72])
def test_jpegs_of_a_few_pixels_are_read(tree, width, height, size):
    Image.new("RGB", (width, height), COLOURS["cat"]).save(tree / "train/cat/tiny.jpg")
    images = ImageFolder(root=tree, size=size).load()
    assert images.counts["train"] == 13
    x, y = batches(images, 13, augment=PAPER[:1])[0]
    red, _, blue = pixels(images, x).mean((2, 3)).T
    assert (red > blue).tolist() == [images.classes[label] == "cat" for label in y]


def test_a_transparent_palette_is_read_without_a_warning(tree):
    image = picture(COLOURS["cat"]).convert("P")
    image.save(tree / "train/cat/6.png", transparency=bytes([0, 128] + [255] * 254))
    assert ImageFolder(root=tree, size=8).load().counts["train"] == 13


def darken(path):
    """One byte less: the size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def remembered():
    (path,) = (runs() / "cache/folders").iterdir()
    return path


# --- each read once -------------------------------------------------------------------------------------------------


def test_an_archive_that_restores_times_is_seen(bitmaps):
    """Other pixels in a file of the same size and time of modification."""
    file = bitmaps / "train/cat/0.bmp"
    first, before = read_anew(bitmaps), file.stat()
    time.sleep(0.02)  # a tick of the file system's clock
    darken(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_anew(bitmaps).digest != first.digest
    darken(file)
    assert read_anew(bitmaps).digest == first.digest


def test_another_file_of_the_same_size_and_times_is_seen(bitmaps, monkeypatch):
    """By its inode."""
    file, true = bitmaps / "train/cat/0.bmp", os.stat
    first = read_anew(bitmaps)
    shutil.copy(file, bitmaps / "new")
    darken(bitmaps / "new")
    before = true(file)
    (bitmaps / "new").replace(file)

    def same_times(path, **options):
        found = true(path, **options)
        if str(path) != str(file):
            return found
        return type("Stat", (), {"st_size": before.st_size, "st_mtime_ns": before.st_mtime_ns,
                                 "st_ctime_ns": before.st_ctime_ns, "st_ino": found.st_ino})()  # fmt: skip

    monkeypatch.setattr(reading.os, "stat", same_times)
    monkeypatch.setattr(reading, "_other_than_remembered", lambda *_: None)
    assert read_anew(bitmaps).digest != first.digest


def test_one_file_in_some_is_read_again_and_all_where_it_differs(bitmaps, monkeypatch, capsys):
    """Where no stat tells of it."""
    monkeypatch.setattr(reading, "stat_of", lambda path: (1, 2, 3, 4))
    first = read_anew(bitmaps)
    file = bitmaps / "val/dog/1.bmp"
    darken(file)
    for _ in range(500):  # one of ten is drawn: in 500 it is missed once in 10^22
        if read_anew(bitmaps).digest != first.digest:
            break
    else:
        pytest.fail("it was never drawn")
    said = [line for line in capsys.readouterr().err.splitlines() if "other content" in line]
    assert said == [f"{file} has other content, but size, times and inode as before: every file is read anew"]
    decoded = []
    monkeypatch.setattr(reading, "opened", lambda path: decoded.append(path))
    read_anew(bitmaps)
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
def test_what_was_remembered_otherwise_is_read_once_more(bitmaps, spoil, monkeypatch):
    first = read_anew(bitmaps)
    path = remembered()
    entries = json.loads(path.read_bytes())
    told = {name: [size, modified, "an old digest"] for name, (size, modified, *_) in entries.items()}  # as it was
    texts = {"short": json.dumps(told), "damaged": '{"train', "list": "[1]", "odd": '{"train/cat/0.bmp": 7}'}
    path.write_text(texts[spoil])
    assert read_anew(bitmaps).digest == first.digest
    assert json.loads(path.read_bytes()) == entries
    monkeypatch.setattr(reading, "opened", None)
    assert read_anew(bitmaps).digest == first.digest


def test_a_program_of_before_reads_what_is_remembered_now(bitmaps):
    """It took the first three: size, time and digest."""
    images = read_anew(bitmaps, size=72)
    for name, entry in json.loads(remembered().read_bytes()).items():
        found = (bitmaps / name).stat()
        assert entry[:3] == [found.st_size, found.st_mtime_ns, images.sums[name]]


def test_files_that_decode_are_remembered_though_one_does_not(bitmaps, monkeypatch):
    bad = bitmaps / "train/cat/1.bmp"
    good = bad.read_bytes()
    bad.write_bytes(b"bad")
    assert refused(bitmaps).startswith("1 of 10 files: train/cat/1.bmp does not decode")
    bad.write_bytes(good)
    decoded, opened = [], reading.opened
    monkeypatch.setattr(reading, "opened", lambda path: (decoded.append(path.name), opened(path))[1])
    read_anew(bitmaps)
    assert decoded == ["1.bmp"]


# --- words ----------------------------------------------------------------------------------------------------------


def test_five_of_a_kind_are_named_and_the_others_counted(bitmaps):
    for i in range(1200):
        (bitmaps / f"train/cat/._{i:04d}.jpg").write_bytes(b"\0\5\x16\7")
        if i < 7:
            (bitmaps / f"train/cat/{i}.txt").write_text("no image")
            shutil.copy(bitmaps / "train/cat/0.bmp", bitmaps / f"train/cat/odd{i}")
    assert read_anew(bitmaps).notes == [
        f"skipped: {', '.join(f'train/cat/._{i:04d}.jpg' for i in range(5))} and 1,195 more",
        f"not an image, skipped: {', '.join(f'train/cat/{i}.txt' for i in range(5))} and 2 more",
        "no image ending, read as an image by its content: "
        f"{', '.join(f'train/cat/odd{i}' for i in range(5))} and 2 more",
    ]


def test_a_page_called_jpg_is_said_to_be_no_image_format(bitmaps):
    (bitmaps / "train/cat/9.jpg").write_text("<!DOCTYPE html><html>403</html>")
    assert (
        refused(bitmaps) == "1 of 11 files: train/cat/9.jpg does not decode (no image format): repair it or take it out"
    )


# --- sixteen bits ---------------------------------------------------------------------------------------------------


def deep(path, most):
    shades = np.linspace(0, most, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(path)


@pytest.mark.parametrize(("most", "bits"), [(255, 8), (1023, 10), (4095, 12), (2**14 - 1, 14), (2**15 - 1, 0), (0, 0)])
def test_sixteen_bit_images_that_use_few_are_told(bitmaps, most, bits):
    deep(bitmaps / "train/cat/7.png", most // 2)
    deep(bitmaps / "train/cat/8.png", most)
    told = [note for note in read_anew(bitmaps).notes if "bit" in note]
    again = [note for note in read_anew(bitmaps).notes if "bit" in note]  # now from what is remembered
    assert told == again
    assert told == bool(bits) * [
        f"16-bit images, 2 of them, use the lower {bits} bits alone and so are dark, white being 65535: save them anew "
        f"with their values times {65536 // 2**bits}"
    ]
    deep(bitmaps / "val/cat/9.png", 40_000)
    assert not [note for note in read_anew(bitmaps).notes if "bit" in note]


def test_sixteen_bit_colours_that_use_few_are_told(bitmaps):
    """Pillow cannot write such a PNG: by hand, 8 x 8 px of 12 bits."""
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = np.linspace(0, 4095, 8 * 8 * 3).astype(">u2").reshape(8, -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    (bitmaps / "train/cat/7.png").write_bytes(png)
    assert Image.open(io.BytesIO(png)).mode == "RGB"
    assert [note for note in read_anew(bitmaps).notes if "lower 12 bits" in note and "times 16" in note]


def test_a_pgm_of_twelve_bits_is_as_bright_as_it_says(bitmaps):
    shades = np.linspace(0, 4095, 64).astype(">u2")
    (bitmaps / "train/cat/7.pgm").write_bytes(b"P5 8 8 4095\n" + shades.tobytes())
    images = read_anew(bitmaps)
    assert not [note for note in images.notes if "bit" in note]
    assert images.arrays["train"][0][3].max() == 255


# --- what was found in files ----------------------------------------------------------------------------------------


def test_what_is_found_in_a_file_is_remembered_by_its_content(tmp_path):
    names = {}
    for name, size in (("a", (7, 5)), ("b", (4, 9)), ("again", (7, 5))):
        Image.new("RGB", size).save(tmp_path / f"{name}.bmp")
        names[f"{name}.bmp"] = hashlib.sha256((tmp_path / f"{name}.bmp").read_bytes()).hexdigest()
    seen = []

    def sides(path):
        seen.append(path.name)
        return size_of(path)

    due = {"a.bmp": [5, 7], "b.bmp": [9, 4], "again.bmp": [5, 7]}
    assert looked(tmp_path, names, sides) == due
    assert len(seen) == 2, "alike files are one"
    assert looked(tmp_path, names, sides) == due
    assert len(seen) == 2
    key = hashlib.sha256(json.dumps(["sides", sorted(set(names.values()))]).encode()).hexdigest()[:16]
    for damage in (b"[", b"[1]", b"{}", b'"no"'):
        (runs() / "cache" / "looked" / f"{key}.json").write_bytes(damage)
        assert looked(tmp_path, names, sides) == due
    assert looked(tmp_path, {"b.bmp": names["b.bmp"]}, size_of) == {"b.bmp": [9, 4]}


def test_whoever_trusts_nothing_loads_every_set_anew(bitmaps, monkeypatch):
    from tests.kit.scenes import devkit, streets

    monkeypatch.setattr(reading, "trusting", True)
    splits = {"train": (("2007", "train"),), "test": (("2007", "test"),)}
    devkit(bitmaps / "voc")
    sets = [
        ImageFolder(root=bitmaps, size=8),
        VOC(root=bitmaps / "voc", **splits),
        ADE20K(root=streets(bitmaps / "ade")),
    ]
    first = [part.load() for part in sets]
    assert all(part.load() is images for part, images in zip(sets, first, strict=True))
    distrust()
    assert not reading.trusting
    for part, images in zip(sets, first, strict=True):
        assert part.load() is not images
        assert part.load().digest == images.digest
