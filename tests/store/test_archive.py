"""Archives that were made to do harm, or were damaged on their way."""

import io
import tarfile

import pytest
import torch

from harness import Problem
from harness.spec import plain, resolved
from harness.store import Store, spec_hash
from harness.store.archive import bring, export
from harness.store.aside import everything
from tests.kit import transfers
from tests.kit.stores import ANSWERED
from tests.kit.tiny import BASELINE, RESULT

ID = BASELINE.id


@pytest.fixture
def machines(tmp_path):
    """A store with one run, an archive of it, and an empty store."""
    one, two = Store(tmp_path / "one" / "store"), Store(tmp_path / "two" / "store")
    finish(one, "ff80")
    assert export(one, [(ID, 0), (ID, 1)], tmp_path / "a.tar") == 1
    return one, two, tmp_path / "a.tar"


def finish(store, correct):
    with store.claim(ID, 0) as claim:
        claim.begin({"spec": plain(BASELINE), "resolved": resolved(BASELINE)})
        claim.finish(RESULT | {"correct": correct}, {"w": torch.zeros(3)}, ANSWERED)


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_run_comes_over_byte_for_byte(machines):
    one, two, archive = machines
    assert bring(two, archive) == ([(ID, 0)], [])
    assert files(two.root) == [f for f in files(one.root) if not f.endswith("claim")]
    assert two.read(ID, 0) == one.read(ID, 0)
    assert bring(two, archive) == ([], [f"{ID}, seed 0: here already"])


def test_another_result_of_the_same_run_is_said_and_not_taken(machines):
    _, two, archive = machines
    finish(two, "ff40")
    _, notes = bring(two, archive)
    assert "AND DIFFERENT: the one here is kept" in notes[0]
    assert two.read(ID, 0)["correct"] == "ff40"


def test_of_a_metric_that_is_of_no_images_the_metrics_tell_runs_apart(tmp_path):
    one, two = Store(tmp_path / "one" / "store"), Store(tmp_path / "two" / "store")
    form, archive = transfers.resolved("a"), tmp_path / "a.tar"
    transfers.add(one, form, 0, transfers.result(60.0))
    transfers.add(two, form, 0, transfers.result(60.0))
    export(one, one, archive)
    assert "DIFFERENT" not in bring(two, archive)[1][0]
    two.set_aside(spec_hash(form), 0)
    transfers.add(two, form, 0, transfers.result(60.5))
    assert "AND DIFFERENT: the one here is kept" in bring(two, archive)[1][0]


def test_a_run_begun_here_is_set_aside_and_one_being_trained_is_left(machines):
    _, two, archive = machines
    with two.claim(ID, 0) as claim:
        claim.begin({"spec": plain(BASELINE), "resolved": resolved(BASELINE)})
        brought, notes = bring(two, archive)
        assert not brought
        assert "holds this run" in notes[0]
    assert bring(two, archive)[0] == [(ID, 0)]
    assert [one.key for one in everything(two)] == [(ID, 0)]


def hostile(name, kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        hostile("../../x"),
        hostile("/etc/passwd"),
        hostile(f"{ID}/0/../../../x"),
        hostile(f"{ID}/0/claim"),
        hostile(f"{ID}/0/checkpoint-1.pt"),
        hostile(f"{ID}/00/result.json"),
        hostile(f"{ID}/0/result.json\n"),
        hostile(f"{ID.upper()}/0/result.json"),
        hostile("<script>/0/result.json"),
        hostile("x" * 10_000),
        hostile(f"{ID}/1/result.json", tarfile.SYMTYPE, "/etc/passwd"),
        hostile(f"{ID}/1/result.json", tarfile.LNKTYPE, f"{ID}/0/result.json"),
        hostile(f"{ID}/1/result.json", tarfile.FIFOTYPE),
        hostile(f"{ID}/1/result.json", tarfile.CHRTYPE),
        hostile(f"{ID}/1", tarfile.DIRTYPE),
        hostile(f"{ID}/0/result.json"),  # a second time
    ],
    ids=lambda member: f"{member.name[:40]!r} {member.type!r}",
)
def test_a_member_that_is_no_file_of_a_record_stops_the_import(machines, member, tmp_path):
    _, two, archive = machines
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member, io.BytesIO())
    before = files(tmp_path)
    with pytest.raises(Problem, match="is no archive of runs: it holds .*; nothing was imported") as problem:
        bring(two, archive)
    assert len(str(problem.value)) < 400
    assert files(tmp_path) == before
    assert list(two) == []


def test_a_record_that_is_not_whole_stops_the_import(machines, tmp_path):
    one, two, archive = machines
    for name in ("spec.json", "journal.jsonl", "weights.pt", "logits.npz", "result.json"):
        data = (one.folder(ID, 0) / name).read_bytes()
        with tarfile.open(archive) as tar, tarfile.open(tmp_path / "b.tar", "w") as other:
            for member in tar:
                content = tar.extractfile(member).read()
                content = data[:40] + bytes([data[40] ^ 1]) + data[41:] if member.name.endswith(name) else content
                other.addfile(member, io.BytesIO(content))
        with pytest.raises(Problem, match="holds a damaged record, nothing was imported"):
            bring(two, tmp_path / "b.tar")
        assert list(two) == []


@pytest.mark.parametrize("share", range(8))
def test_a_cut_archive_is_one_line(machines, share):
    """Also where it is cut between two files."""
    _, two, archive = machines
    data = archive.read_bytes()
    with tarfile.open(archive) as tar:
        ends = [member.offset for member in tar] + [tar.offset]
    archive.write_bytes(data[: [*ends, 100, ends[1] + 100, len(data.rstrip(bytes(1)))][share]])
    with pytest.raises(Problem, match="nothing was imported"):
        bring(two, archive)
    assert files(two.root) == []


def test_compressed_or_other_files_are_one_line(machines, tmp_path):
    _, two, _ = machines
    for content in (b"", b"\x1f\x8b\x08 gzip", b"<html>" * 999):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(Problem, match="no archive of runs"):
            bring(two, tmp_path / "x")


def test_a_damaged_record_is_not_exported(machines, tmp_path):
    one, _, _ = machines
    (one.folder(ID, 0) / "weights.pt").write_bytes(b"")
    with pytest.raises(Problem, match="nothing was exported"):
        export(one, [(ID, 0)], tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()
    assert not list(tmp_path.glob(".*"))
