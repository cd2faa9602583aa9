import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.digits import BASELINE
from harness import Problem
from harness.evidence import Trace
from harness.parts.data import ImageFolder, Packed, Split, digests, folders, packed, reading
from harness.rng import streams
from tests.kit.own_data import arrow_table, as_folder, as_parquet, as_saved, as_tars, photo, photos
from tests.parts.data.test_containers import tar

LAYOUTS = pytest.mark.parametrize("layout", [as_tars, as_saved, as_parquet])


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return photos()


def anew(**fields):
    folders._loaded.cache_clear()
    return Packed(**fields).load()


def by_content(images, split):
    return dict(zip(images.content(split), images.labels(split).tolist(), strict=True))


@LAYOUTS
@pytest.mark.parametrize("size", [16, 72])
def test_it_serves_what_a_folder_of_the_same_photos_serves(made, tmp_path, layout, size):
    folder = ImageFolder(root=as_folder(tmp_path / "pets", made), size=size).load()
    images = anew(root=layout(tmp_path / "packed", made), size=size)
    assert images.counts == {"train": 8, "test": 4}
    assert images.classes == ("cat", "dog")
    for split in ("train", "test"):
        assert by_content(images, split) == by_content(folder, split)
    every = np.arange(4)
    due = dict(zip(folder.content("test"), folder.reference("test", every, []), strict=True))
    for content, x in zip(images.content("test"), images.reference("test", every, []), strict=True):
        assert np.array_equal(x, due[content])
    assert digests(images) == digests(folder)


@LAYOUTS
def test_its_id_is_of_what_the_images_are(made, tmp_path, layout):
    one = Packed(root=layout(tmp_path / "one", made), size=16)
    other = Packed(root=as_parquet(tmp_path / "other", made[::-1]), size=16)
    assert BASELINE.but(data=one).id == BASELINE.but(data=other).id
    changed = layout(tmp_path / "third", [*made[:-1], (*made[-1][:2], photo(99))])
    third = anew(root=changed, size=16)
    assert third.digest != one.load().digest
    same = [split for split, own in digests(third).items() if own == digests(one.load())[split]]
    assert same == ["train"]


@LAYOUTS
def test_containers_are_unpacked_once_and_anew_where_they_were_touched(made, tmp_path, layout, capfd, monkeypatch):
    root = layout(tmp_path / "packed", made)
    first = anew(root=root, size=72)
    assert capfd.readouterr().err.count("unpacking") == 1
    assert anew(root=root, size=72).digest == first.digest
    assert "unpacking" not in capfd.readouterr().err
    path = next(path for path in sorted(root.rglob("*")) if path.suffix in packed.READERS)
    os.utime(path, ns=(1, 1))
    assert anew(root=root, size=72).digest == first.digest
    assert "unpacking" in capfd.readouterr().err
    shutil.rmtree(tmp_path / "runs/cache/unpacked")
    assert anew(root=root, size=72).digest == first.digest
    assert "unpacking" in capfd.readouterr().err
    monkeypatch.setattr(reading, "trusting", False)
    monkeypatch.setattr(packed, "_anew", set())
    assert anew(root=root, size=72).digest == first.digest
    assert anew(root=root, size=72).digest == first.digest
    assert capfd.readouterr().err.count("unpacking") == 1, "once a process"


def test_what_was_being_unpacked_when_the_disk_was_full_is_gone(made, tmp_path, monkeypatch):
    root, true = as_tars(tmp_path / "packed", made), packed._unpack

    def full(*of):
        true(*of)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed, "_unpack", full)
    with pytest.raises(Problem, match=r"cannot be written \(No space left on device\): make room, or set HARNESS_RUNS"):
        anew(root=root, size=72)
    assert list((tmp_path / "runs/cache/unpacked").iterdir()) == []


def test_names_within_a_tar_lead_nowhere(tmp_path, made):
    members = []
    for number, (_, label, data) in enumerate(made):
        members += [(f"../../../../{number}/x.png", data), (f"../../../../{number}/x.cls", label.encode())]
    (tmp_path / "deep").mkdir()
    tar(tmp_path / "deep/a.tar", members)
    before = set(tmp_path.rglob("*"))
    images = anew(root=tmp_path / "deep", size=72, split=Split(share=0.3))
    assert sum(images.counts.values()) == 12
    assert all(
        (tmp_path / "runs") in path.parents or path == tmp_path / "runs" for path in set(tmp_path.rglob("*")) - before
    )


def test_splits_are_words_of_the_paths(made, tmp_path):
    root = as_tars(tmp_path / "packed", made)
    with pytest.raises(Problem, match="data.split is for data without a test set, and there is val"):
        anew(root=root, size=72, split=Split())
    for path in list(root.glob("*-val-*")):
        path.rename(root / path.name.replace("val", "held12"))
    with pytest.raises(Problem, match="no path and no row says val\\): name it in data.test, or set data.split"):
        anew(root=root, size=72)
    told = anew(root=root, size=72, test="held")
    assert told.counts == {"train": 8, "test": 4}
    assert anew(root=root, size=72, train="held", test="train").counts == {"train": 4, "test": 8}
    part = anew(root=root, size=72, split=Split(share=0.25))
    assert part.counts == {"train": 6, "test": 2}
    assert part.notes == ["skipped: pets-held12-0000.tar, pets-held12-0001.tar"]
    one = as_parquet(tmp_path / "hub", made) / "data/train-00000-of-00001.parquet"
    assert anew(root=one, size=72, split=Split(share=0.25)).digest == part.digest, "a file of its own has no split"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: shutil.rmtree(root), "no .tar, .parquet, .arrow there; name a folder of such files"),
        (
            lambda root: [path.unlink() for path in root.glob("*train*")],
            "no path and no row says train; there are: val: name",
        ),
        (lambda root: [path.unlink() for path in root.glob("*val*")], "no path and no row says val\\)"),
        (
            lambda root: tar(root / "x-val-1.tar", [("1.png", photo(0)), ("1.cls", b"cow")]),
            "classes that only test images have: cow: nobody can learn them",
        ),
        (
            lambda root: tar(root / "x-train-1.tar", [("1.png", b"no image"), ("1.cls", b"cat")]),
            "1 of 13 files: .*does not",
        ),
        (lambda root: (root / "pets-val-0000.tar").write_bytes(b"x" * 600), "pets-val-0000.tar cannot be read"),
    ],
)
def test_what_will_not_do_is_one_line(made, tmp_path, spoil, says):
    root = as_tars(tmp_path / "packed", made)
    spoil(root)
    with pytest.raises(Problem, match=says) as caught:
        anew(root=root, size=72)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [16, 72])
def test_labels_are_held_against_the_container_once_more(made, tmp_path, size):
    part = Packed(root=as_tars(tmp_path / "packed", made), size=size)
    trace, spec = Trace(1, 2, rng=streams(0)), BASELINE.but(data=part)
    (check,) = part.proof(spec, trace)
    found = int(check.seen.split()[-1])
    assert (check.seen, check.ok) == (f"0 of {found}", True)
    assert found > 0
    images = part.load()
    for split in ("train", "test"):
        if size == 16:
            images.arrays[split][1][:] = 1 - images.arrays[split][1]
        else:
            images.files[split] = [(name, 1 - label) for name, label in images.files[split]]
    (check,) = part.proof(spec, trace)
    assert (check.seen, check.ok) == (f"{found} of {found}", False)
    folders._loaded.cache_clear()


@pytest.mark.parametrize("kind", ["all.parquet", "train/all.arrow"])
def test_a_column_of_splits_goes_before_what_paths_say(made, tmp_path, kind):
    """One table has all rows; of those of a third split nothing is read, and rows of none are told."""
    rows = [*made, ("later", "cat", photo(50))]
    table = arrow_table(rows).append_column("part", [[split for split, *_ in rows]])
    path = tmp_path / "packed" / kind
    path.parent.mkdir(parents=True)

    def write(table):
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)

    write(table)
    columns = ("image", "label", "part")
    images = anew(root=tmp_path / "packed", size=16, columns=columns)
    assert digests(images) == digests(ImageFolder(root=as_folder(tmp_path / "pets", made), size=16).load())
    write(table.set_column(table.num_columns - 1, "part", [[*(split for split, *_ in made), None]]))
    with pytest.raises(Problem, match=r"row 12 has no part: fill it in"):
        anew(root=tmp_path / "packed", size=16, columns=columns)
