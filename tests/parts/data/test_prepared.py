"""A prepared set is the same pixels as a folder of its pixels, and says what is wrong with it."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness import prepare as command
from harness.cli import main
from harness.parts.augment import PAPER
from harness.parts.data import ImageFolder, Prepared
from harness.parts.data.prepared import INDEX, PIXELS, Index, prepare, smaller, verify
from harness.rng import streams

CPU = torch.device("cpu")
SIZES = ((90, 150), (151, 101), (70, 200), (300, 260))  # rows and columns


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setenv("HARNESS_DECODERS", "0")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source") / "pets"
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for i, (height, width) in enumerate(SIZES):
                noise = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
                image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
                image.save(root / part / name / f"{i}.{'jpg' if i % 2 else 'png'}")
    return root


@pytest.fixture(scope="module")
def done(source, tmp_path_factory):
    folder, said = tmp_path_factory.mktemp("prepared") / "at80", []
    made = prepare(ImageFolder(root=source), 80, folder, said.append)
    return folder, made, said


@pytest.fixture
def own(done, tmp_path):
    return shutil.copytree(done[0], tmp_path / "own")


def test_what_it_takes_is_said_first_and_is_what_is_written(done, source):
    folder, made, said = done
    by = [min(1, 80 / min(shape)) for shape in SIZES]
    due = sum(3 * round(h * s) * round(w * s) for (h, w), s in zip(SIZES, by, strict=True)) * 4
    assert made["bytes"] == due == (folder / PIXELS).stat().st_size
    assert said == [f"16 images, no short edge above 80 px: {due / 1e9:.2f} GB in {folder}"]
    assert (made["images"], made["edge"], made["source"]) == (16, 80, ImageFolder(root=source).load().digest)
    assert sorted(path.name for path in folder.iterdir()) == [INDEX, PIXELS]


@pytest.mark.parametrize("number", range(4))
def test_an_image_is_pillows_own_at_that_edge_and_none_is_enlarged(source, number):
    (path,) = (source / "train" / "cat").glob(f"{number}.*")
    height, width = SIZES[number]
    scale = min(1, 80 / min(height, width))
    with Image.open(path) as image:
        due = np.asarray(image.convert("RGB").resize((round(width * scale), round(height * scale)), Image.BILINEAR))
        pixels = smaller(Image.open(path), 80)
    assert pixels.shape == due.shape
    jpeg = path.suffix == ".jpg"  # decoded at a half where that is enough
    assert np.abs(pixels.astype(int) - due).mean() <= (2 if jpeg else 0)


@pytest.mark.parametrize("grey", [None, True])
@pytest.mark.parametrize("fit", [None, "squash"])
def test_batches_and_references_are_those_of_a_folder_of_its_pixels(done, tmp_path, fit, grey):
    folder, _, _ = done
    index = Index.read(folder)
    flat = np.fromfile(folder / PIXELS, np.uint8)
    for place, name in enumerate(index.names):
        start, height, width = index.span(place)
        path = (tmp_path / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(flat[start : start + 3 * height * width].reshape(height, width, 3)).save(path)
    ours = Prepared(root=folder, edge=80, size=72, fit=fit, grey=grey).load()
    theirs = ImageFolder(root=tmp_path, size=72, fit=fit, grey=grey).load()
    assert (ours.classes, ours.counts) == (theirs.classes, theirs.counts)
    augment = () if grey else PAPER
    served = [list(each.train(3, 3, augment, streams(1), CPU)) for each in (ours, theirs)]
    assert len(served[0]) == 2
    for (x, y), (z, w) in zip(*served, strict=True):
        assert torch.equal(x, z)
        assert torch.equal(y, w)
    for (x, y), (z, w) in zip(ours.test(5, CPU), theirs.test(5, CPU), strict=True):
        assert torch.equal(x, z)
        assert torch.equal(y, w)
    places = np.arange(4)
    np.testing.assert_array_equal(ours.reference("test", places, []), theirs.reference("test", places, []))


def test_slices_are_those_of_the_folder(done, source):
    ours = Prepared(root=done[0], edge=80, size=72, limit=4, limit_test=2).load()
    theirs = ImageFolder(root=source, size=72, limit=4, limit_test=2).load()
    assert ours.files == theirs.files
    assert ours.digest != Prepared(root=done[0], edge=80, size=72, limit=4).load().digest


def test_the_same_again_is_left_and_another_is_refused(own, source):
    before = (own / PIXELS).stat().st_mtime_ns
    said = []
    assert prepare(ImageFolder(root=source), 80, own, said.append)["images"] == 16
    assert (said, (own / PIXELS).stat().st_mtime_ns) == ([f"{own}: is there, and whole"], before)
    with pytest.raises(Problem, match="another set, or another edge, is there"):
        prepare(ImageFolder(root=source), 96, own, said.append)


def test_what_was_stopped_is_no_set_and_is_made_anew(own, source):
    whole = (own / PIXELS).read_bytes()
    (own / INDEX).unlink()
    (own / PIXELS).rename(own / f"{PIXELS}.part")
    with pytest.raises(Problem, match="no prepared set, or one whose writing was stopped"):
        Prepared(root=own, edge=80, size=72).load()
    prepare(ImageFolder(root=source), 80, own, lambda line: None)
    assert (own / PIXELS).read_bytes() == whole


def test_no_room_is_said_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(Problem, match="GB are needed, and 0.00 GB are free"):
        prepare(ImageFolder(root=source), 80, tmp_path / "to", lambda line: None)
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"edge": 96}, "was prepared with a short edge of 80 px: data.edge=80"),
        ({"size": 64}, "up to 64 px images are in memory"),
        ({"limit": 1}, "a slice of 1 images of train leaves some of the 2 classes without any"),
        ({"split": {"share": 0.5}}, "data.split is for what is not prepared"),
    ],
)
def test_what_cannot_be_asked(done, change, says):
    with pytest.raises(Problem, match=says):
        Prepared(**{"root": done[0], "edge": 80, "size": 72} | change).load()


def test_damage_is_seen(own, source):
    def checks():
        part = Prepared(root=own, edge=80, size=72)
        trace = SimpleNamespace(rng=streams(0))
        return [check.ok for check in part.proof(SimpleNamespace(data=part), trace)]

    assert checks() == [True, True]
    index = Index.read(own)
    with (own / PIXELS).open("r+b") as file:
        file.seek(index.span(5).start)
        (byte,) = file.read(1)
        file.seek(index.span(5).start)
        file.write(bytes([byte ^ 1]))
    assert checks() == [False, True]
    assert list(verify(own)) == [index.names[5]]
    with (own / PIXELS).open("ab") as file:
        file.write(b"1")
    with pytest.raises(Problem, match=r"its pixels.u8 has [\d,]+ bytes and not"):
        Index.read(own)
    (own / INDEX).write_bytes((own / INDEX).read_bytes()[:200])
    with pytest.raises(Problem, match=r"its index.npz cannot be read"):
        Index.read(own)


def test_another_label_than_the_indexs_is_seen(own):
    part = Prepared(root=own, edge=80, size=72)
    images = part.load()
    images.files["train"][0] = (images.files["train"][0][0], 1)
    trace = SimpleNamespace(rng=streams(0))
    assert [check.ok for check in part.proof(SimpleNamespace(data=part), trace)] == [True, False]


def told(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["harness.prepare", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main(command.parser(), command.run)
    return end.value.code or 0, *capsys.readouterr()


def test_the_command(source, tmp_path, monkeypatch, capsys):
    code, out, err = told(monkeypatch, capsys, source, tmp_path / "to", "--edge", 80)
    assert (code, err.count("\n")) == (0, 1)
    assert out == f"16 images, 0.00 GB: data=Prepared(root='{tmp_path}/to', edge=80)\n"
    assert told(monkeypatch, capsys, source, tmp_path / "to", "--verify")[:2] == (0, f"{tmp_path}/to: 0 damaged\n")
    data = (tmp_path / "to" / PIXELS).read_bytes()
    (tmp_path / "to" / PIXELS).write_bytes(b"0000" + data[4:])
    code, out, _ = told(monkeypatch, capsys, source, tmp_path / "to", "--verify")
    assert (code, out) == (1, f"{tmp_path}/to: 1 damaged: train/cat/0.png\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits", "to"), "photos above 64 px, in files, can be prepared"),
        (("nothing", "to"), "nothing"),
        (("digits", "to", "--edge", "8"), "--edge 8: must be at least 16 px"),
        (("digits", "nowhere", "--verify"), "no prepared set"),
    ],
)
def test_mistakes_are_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = told(monkeypatch, capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("harness.prepare: ")
    assert says in err
