"""Records that are whole by every digest, and are none: on import, on verify, on read, and in a report."""

import json
import math
import os
import shutil

import pytest

from harness import Problem, report
from harness.report import frames
from harness.store import Store, care, journal, schema, spec_hash
from harness.store.archive import bring
from harness.store.care import troubles
from tests.faults.shapes import FULL, NAMES, SEEDS, archived, filled, forge, plan
from tests.kit import transfers
from tests.kit.tiny import finish, known

KEY = known("a"), 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return filled(Store())


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without figures, which take a second."""
    monkeypatch.setattr(report, "draw", lambda *_: ())


def damaged(store, keys):
    return {key for key, record, wrong in care.records(store, keys) if wrong and record is None}


def at(*path, value):
    def change(record):
        inner = record
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return change


def without(name):
    return lambda record: record.pop(name)


WRONG = {
    "top-1 is a text": at("metrics", "top1", value="ninety"),
    "top-1 is not that of correct": at("metrics", "top1", value=91.0),
    "top-1 is none": at("metrics", value={"test_loss": 1.0}),
    "top-1 is nan": at("metrics", "top1", value=math.nan),
    "an epoch's top-1 is no percentage": at("epochs", 0, "top1", value=1e300),
    "correct is no hexadecimal": at("correct", value="zz"),
    "correct is too short": at("correct", value="ff"),
    "correct has a bit too many": at("correct", value="ff81"),
    "correct is odd": at("correct", value="ff8"),
    "no image was tested": at("images", "test", value=0),
    "epochs are numbers": at("epochs", value=[0, 1]),
    "epochs are none": at("epochs", value=[]),
    "epochs are not in order": at("epochs", 1, "epoch", value=0),
    "an epoch has a text": at("epochs", 1, "loss", value="1.0"),
    "evidence is a dict": at("evidence", value={"ok": True}),
    "a check has no verdict": at("evidence", 0, "ok", value=1),
    "seconds are nan": at("seconds", value=math.nan),
    "seconds are endless": at("seconds_per_epoch", value=math.inf),
    "images are a text": at("images", value="ten"),
    "rates are broken": at("rates", value=[[0]]),
    "rates are not numbers": at("rates", value=[[0, math.inf]]),
    "a rate is nan": at("rates", value=[[0, 0.1], [1, math.nan]]),
    "a rate is below 0": at("rates", value=[[0, -0.1]]),
    "the digest of its images is a list": at("images", "digest", value=[]),
    "rates are empty": at("rates", value=[]),
    "params are huge": at("params", value=10**30),
    "macs are a fraction": at("macs", value=1.5),
    "the status is unknown": at("status", value="won"),
    "the device has no name": at("environment", value={}),
    "the commit is a list": at("environment", "commit", value=[]),
    "the best epoch was not": at("kept", value=2),
    "what was seen is a list": at("seen", value=["order"]),
    "the whole is nested deep": at("metrics", value=json.loads("[" * 300 + "]" * 300)),
    "precision is a text": at("precision", value="FP32"),
    "weights are no digest": at("weights", value="x"),
    "nothing of seconds": without("seconds"),
    "nothing of evidence": without("evidence"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_record_of_the_wrong_shape_is_refused_on_read_verify_and_import_and_left_out_of_a_report(what, store, capsys):
    forge(store, KEY, WRONG[what])
    with pytest.raises(Problem, match=r"result.json is no record of a run \(.*\): move .* aside") as problem:
        store.read(*KEY)
    assert "\n" not in str(problem.value)
    assert len(str(problem.value)) < 600
    assert str(problem.value) in troubles(store, KEY)
    assert KEY in damaged(store, [KEY])
    every = report.finished(plan(), store)
    assert len(every) == 3
    assert str(store.folder(*KEY)) in capsys.readouterr().err
    assert "1 run damaged, left out; harness.store verify says more: a seed 0." in frames.footnotes(
        plan(), every, frames.rungs(plan(), every)
    )


@pytest.mark.parametrize("what", ["top-1 is a text", "correct is no hexadecimal", "epochs are numbers"])
def test_an_archive_of_a_record_of_the_wrong_shape_is_not_imported(what, store, tmp_path):
    forge(store, KEY, WRONG[what])
    other = Store(tmp_path / "other" / "store")
    with pytest.raises(Problem, match="nothing was imported: .*is no record of a run"):
        bring(other, archived(store, tmp_path / "a.tar"))
    assert list(other) == []


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in ("rates", "seen", "gaps", "kept", "peak_memory", "classes", "keeping", "record")),
        at("metrics", "test_loss", value=math.nan),
        at("epochs", 1, "loss", value=math.inf),
        at("status", value="diverged"),
        at("seen", value=None),
        at("later", value={"what": [1, {"is": "not known"}]}),
        at("environment", "torch", value="2.14"),
        at("images", "digest", value="x"),
    ],
)
def test_records_of_before_and_after_and_of_runs_that_diverged_are_read(change, store, undrawn):
    forge(store, KEY, change)
    assert troubles(store, KEY) == []
    assert len(report.finished(plan(), store)) == 4
    report.render(plan(), store)


def test_a_run_refused_for_rates_that_are_none_is_read(store, undrawn):
    """As where parameter groups have several: what is noted of such a step is nan."""
    finish(store, "a", 2, FULL | {"status": "refused", "rates": [[0, 0.1], [1, math.nan]]})
    assert math.isnan(store.refused(known("a"), 2)["rates"][1][1])
    assert troubles(store, (known("a"), 2)) == []
    own = plan()
    own["rungs"][0]["seeds"] = [0, 1, 2]
    assert frames.apart(report.finished(own, store))["refused"] == [(0, 2)]


@pytest.mark.parametrize("name", ["result.json", "spec.json", "journal.jsonl"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": ' * 100_000, "[]", "null", '"x"', "{}", '{"format": []}', "7" * 5000]
)
def test_files_that_are_nested_deep_or_something_else_are_one_line(name, text, store):
    path = store.folder(*KEY) / name
    path.write_text(f"{text}\n")
    found = troubles(store, KEY)
    assert any(str(path) in line for line in found)
    assert all(len(line) < 700 and "\n" not in line for line in found)
    assert len(report.finished(plan(), store)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": -1},
        {"seq": True},
        {"time": math.nan},
        {"time": 1e20},
        {"after": "late"},
        {"event": "epoch"},
        {"event": "epoch", "epoch": [0]},
        {"event": "epoch", "epoch": 0, "loss": "low"},
        {"event": "checkpoint", "file": "checkpoint-1.pt"},
        {"event": "epoch", "epoch": None},
        {"event": "epoch", "epoch": 0, "time": None},
        {"event": "epoch", "epoch": 0, "seconds": None},
        {"event": "checkpoint", "file": None, "sha256": "0" * 64, "by": "x", "record": "x", "epoch": 0, "batch": 0},
    ],
)
def test_a_line_of_the_journal_that_is_no_event_is_damaged(fields, tmp_path):
    path = tmp_path / "j"
    path.write_bytes(journal.line({"seq": 0, "event": "started", "after": 0.0, "time": 1.0} | fields))
    assert journal.read(path).damaged() == [1]


def test_a_specification_that_is_none_is_one_line(tmp_path):
    for resolved in ({"model": {"width": 3}}, {"a": json.loads("[" * 60 + "]" * 60)}):
        folder = Store(tmp_path).folder(spec_hash(resolved), 0)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps({"spec": {}, "resolved": resolved}))
        with pytest.raises(Problem, match=r"is no specification \("):
            Store(tmp_path).forms(spec_hash(resolved), 0)


# --- a damaged run in a report --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spec.json", "journal.jsonl", "weights.pt", "result.json"])
def test_a_damaged_file_keeps_its_run_out_of_the_report_and_the_others_in(name, store, undrawn, capsys):
    report.render(plan(), store)
    assert capsys.readouterr().err == ""
    path = store.folder(*KEY) / name
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    made = report.render(plan(), store)
    assert "1 run damaged, left out; harness.store verify says more: a seed 0." in made.text.replace("\\", "")
    assert "missing" not in made.text
    assert "1 run damaged, and in no number here: a seed 0." in (made.folder / "findings.md").read_text()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path.parent) in line
    path.write_bytes(data)
    assert "damaged" not in report.render(plan(), store).text
    path.unlink()
    assert ("damaged" in report.render(plan(), store).text) == (name != "result.json")


def test_runs_found_whole_are_not_read_again_until_a_file_changes(store, monkeypatch):
    looked = []
    monkeypatch.setattr(care, "damage", lambda store, key: (looked.append(key), []))
    keys = [(known(name), seed) for name in NAMES for seed in SEEDS]
    assert damaged(store, [*keys, (known("none"), 0)]) == set()
    assert sorted(looked) == sorted(keys)
    looked.clear()
    assert damaged(Store(), keys) == set()
    assert looked == []
    path = store.folder(*KEY) / "weights.pt"
    data, stat = path.read_bytes(), path.stat()
    path.write_bytes(data)  # the same bytes, size and, below, time: the system's own time tells
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert damaged(store, keys) == set()
    assert looked == [KEY]
    rules = care._rules()
    for text in (
        "[[" * 50_000,
        "{}",
        "[]",
        "",
        '{"x": 1}',
        f'{{"rules": "{rules}"}}',
        f'{{"rules": "{rules}", "runs": 1}}',
    ):
        (store.root.parent / "checked.json").write_text(text)
        looked.clear()
        assert damaged(store, keys) == set()
        assert len(looked) == 4
    looked.clear()
    monkeypatch.setattr(care, "_rules", lambda: "stricter")
    assert damaged(store, keys) == set()
    assert len(looked) == 4
    shutil.rmtree(store.root)
    assert damaged(store, keys) == set()


def test_a_run_found_whole_is_still_held_against_its_digest(store):
    """A byte may turn on disk, which the system knows nothing of."""
    assert damaged(store, [KEY]) == set()
    path = store.folder(*KEY) / "result.json"
    stat, told = path.stat(), care.as_it_is(str(path.parent))
    path.write_bytes(path.read_bytes().replace(b'"finished"', b'"diverged"'))
    known = json.loads((store.root.parent / "checked.json").read_bytes())
    assert known["runs"] == {f"{KEY[0]}/0": told}
    known["runs"][f"{KEY[0]}/0"] = care.as_it_is(str(path.parent))
    (store.root.parent / "checked.json").write_text(json.dumps(known))
    assert stat.st_size == path.stat().st_size
    ((_, record, wrong),) = care.records(store, [KEY])
    assert record is None
    assert "is damaged, its digest is another" in wrong


def test_a_run_that_two_rungs_share_is_in_both_in_the_order_of_the_plan(store):
    twice = plan() | {"rungs": [*plan()["rungs"], plan()["rungs"][0]]}
    frame = frames.runs(twice, store)
    assert list(zip(frame["place"], frame["seed"], strict=True)) == [
        (place, seed) for place in range(3) for seed in SEEDS
    ]


def test_where_every_run_is_damaged_there_is_one_line_each(store, capsys):
    for name in NAMES:
        for seed in SEEDS:
            (store.folder(known(name), seed) / "weights.pt").unlink()
    with pytest.raises(Problem, match="no finished run to report"):
        report.render(plan(), store)
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.fixture
def detected(store):
    """A record of a detector: two classes of 61 and 65, one without a box."""
    by_class = {
        "cat": {"AP": 61.0, "AP_area": 60.0, "n": 7},
        "dog": {"AP": 65.0, "AP_area": 66.0, "n": 9},
        "emu": {"AP": math.nan, "AP_area": math.nan, "n": 0},
    }
    form = transfers.resolved("a")
    transfers.add(store, form, 0, transfers.result(63.0) | {"by_class": by_class})
    return store.read(spec_hash(form), 0)


def test_a_record_of_another_metric_is_one(store, detected):
    assert schema.record(detected) == ""
    for change in (without("by_class"), without("gaps"), at("by_class", "cat", "AP", value=61.004)):
        made = json.loads(json.dumps(detected))
        change(made)
        assert schema.record(made) == ""
    form = transfers.resolved("b")
    scene = {"sky": {"IoU": 80.0, "n": 900}, "pole": {"IoU": 0.0, "n": 0}, "sea": {"IoU": math.nan, "n": 0}}
    transfers.add(store, form, 0, transfers.result(40.0, "mIoU") | {"by_class": scene})  # of a pole only answers
    assert schema.record(store.read(spec_hash(form), 0)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at("score", value="f1"), "score: Input should be"),
        (at("score", value=7), "score: Input should be"),
        (at("metrics", "mAP", value=64.0), "mAP is 64, and by its classes 63"),
        (at("by_class", "cat", "AP", value=60.0), "mAP is 63, and by its classes 62.5"),
        (at("by_class", "emu", value={"AP": 0.0, "AP_area": 0.0, "n": 1}), "mAP is 63, and by its classes 42"),
        (at("metrics", value={"mAP_area": 64.0}), "metrics have no mAP"),
        (at("metrics", "mAP_area", value=101.0), "mAP or mAP_area is no percentage"),
        (at("epochs", 1, "mAP", value=-1.0), "mAP or mAP_area is no percentage"),
        (at("by_class", "dog", "AP_area", value=101.0), "by_class: dog has no percentages"),
        (at("by_class", "dog", "n", value=1.5), "by_class: dog has not AP, AP_area, n"),
        (at("by_class", "dog", value={"IoU": 65.0, "n": 9}), "by_class: dog has not AP, AP_area, n"),
        (at("by_class", "dog", value="65"), "by_class.dog: Input should be a valid dictionary"),
        (at("correct", value="ff80"), "correct or answers tell of images, of which mAP is not"),
        (at("answers", value="abc"), "correct or answers tell of images, of which mAP is not"),
        (without("score"), "correct is not of 8 test images"),
    ],
)
def test_what_is_wrong_with_a_record_of_another_metric(detected, change, said):
    made = json.loads(json.dumps(detected))
    change(made)
    assert schema.record(made).startswith(said)
