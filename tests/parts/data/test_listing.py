import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.folders import read_anew, refused, save


@pytest.mark.parametrize("place", ["train", "val", "train/cat", "train/cat/below/deep"])
def test_a_folder_that_may_not_be_listed_stops_the_study(bitmaps, place, monkeypatch):
    save(bitmaps / "train/cat/below/deep/7.bmp")
    true = os.scandir

    def scandir(path):
        if Path(path) == bitmaps / place:
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(os, "scandir", scandir)
    said = refused(bitmaps).replace("/ ", " ")
    assert said == f"{place} cannot be listed (Permission denied): make it readable, or take it out"


@pytest.mark.parametrize("place", ["", "train"])
def test_a_folder_that_may_not_be_looked_into_stops_the_study(bitmaps, place, monkeypatch):
    true = os.stat

    def refuse(path, **options):
        if Path(path) == bitmaps / place:
            raise PermissionError(13, "Permission denied", str(path))
        return true(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert "cannot be listed (Permission denied)" in refused(bitmaps)


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
def test_links_without_an_end_stop_the_study(bitmaps, links, says):
    for name in "ab":
        save(bitmaps / f"train/cat/{name}/7.bmp")
    for link, to in links.items():
        (bitmaps / "train/cat" / link).symlink_to(to)
    if says:
        assert says in refused(bitmaps)
    else:
        assert read_anew(bitmaps).counts["train"] == 9


def test_links_to_files_and_folders_are_followed(bitmaps, tmp_path):
    first = read_anew(bitmaps)
    (bitmaps / "train/cat").rename(tmp_path / "away")
    (bitmaps / "train/cat").symlink_to(tmp_path / "away")
    (bitmaps / "val/dog/0.bmp").rename(tmp_path / "one.bmp")
    (bitmaps / "val/dog/0.bmp").symlink_to(tmp_path / "one.bmp")
    again = read_anew(bitmaps)
    assert (again.digest, again.notes) == (first.digest, [])
    save(tmp_path / "more/deep/7.bmp")
    for name in ("one", "two"):  # the same folder twice is no loop
        (bitmaps / "train/dog" / name).symlink_to(tmp_path / "more")
    assert read_anew(bitmaps).counts["train"] == 8


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_whose_link_dangles_stops_the_study(bitmaps, part):
    (bitmaps / part / "wolf").symlink_to("/nowhere/wolf")
    assert refused(bitmaps) == f"{part}/wolf is a link to nothing: mend it or take it out"


def test_a_file_whose_link_dangles_stops_the_study(bitmaps):
    (bitmaps / "val/dog/9.bmp").symlink_to("/nowhere/9.bmp")
    assert refused(bitmaps) == "val/dog/9.bmp cannot be read (No such file or directory): repair it or take it out"


def test_what_storage_systems_leave_is_neither_class_nor_trained_on(bitmaps):
    first = read_anew(bitmaps)
    left = ("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", "#recycle", "#snapshot")
    for name in left:
        for place in ("train", "val", "train/cat", "val/dog"):
            save(bitmaps / place / name / "0.bmp@SYNOPHOTO" / "0.bmp")
    images = read_anew(bitmaps)
    assert (images.digest, images.classes) == (first.digest, ("cat", "dog"))
    assert images.notes == [
        "skipped: train/#recycle, train/#snapshot, train/$RECYCLE.BIN, train/@eaDir, train/System Volume Information "
        "and 23 more"
    ]


def test_names_that_are_not_utf8_are_read(bitmaps):
    folder = os.fsencode(bitmaps / "train/cat")
    shutil.copy(os.path.join(folder, b"0.bmp"), os.path.join(folder, b"\xff\xe9.bmp"))
    with open(os.path.join(folder, b"\xe9.txt"), "w") as file:
        file.write("no image")
    for size in (8, 72):
        images = read_anew(bitmaps, size=size)
        assert images.counts["train"] == 7
        x, _ = next(images.train(0, 7, (), lambda *_: np.random.default_rng(0), torch.device("cpu")))
        assert len(x) == 7
        (note,) = images.notes
        assert note.encode() == rb"not an image, skipped: train/cat/\udce9.txt"
