"""What TensorBoard's own reader finds in the files that are written for it."""

import math
import struct

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.tracking import TensorBoard, Told, tensorboard

ROWS = {
    0: {"epoch": 0, "time": 100.5, "loss": 2.25, "top1": 40.0, "seconds": 1.0},
    1: {"epoch": 1, "time": 101.5, "loss": 1.125, "top1": 62.5, "seconds": 1.0},
}
RECORD = {
    "status": "finished",
    "finished": 102.0,
    "seconds": 3.0,
    "params": 1000,
    "macs": 5,
    "seconds_per_epoch": 1.0,
    "evidence": [{"part": "loop", "what": "steps", "seen": "4"}],
}
FORMS = {"spec": {}, "resolved": {"kind": "Spec", "epochs": 2, "data": {"kind": "Digits", "limit": 300}}}


def told(epochs=2, record=None, title="+ zero γ", seed=3):
    rows = {epoch: ROWS[epoch] for epoch in range(epochs)}
    status = "FINISHED" if record else "RUNNING"
    return Told(("a" * 16, seed), "b" * 16, title, "tiny", FORMS, rows, record, status, "")


@pytest.fixture
def sink(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return TensorBoard("tiny", "tiny@few", "call")


def read(tmp_path, folder):
    found = EventAccumulator(str(tmp_path / "tensorboard" / "tiny" / folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


FOLDER = "zero-γ-seed3-bbbbbbbb"


def test_its_own_reader_finds_each_epoch_and_the_totals(sink, tmp_path):
    assert sink.send(told(record=RECORD))
    found = read(tmp_path, FOLDER)
    assert [(e.wall_time, e.step, e.value) for e in found.Scalars("loss")] == [(100.5, 0, 2.25), (101.5, 1, 1.125)]
    assert [e.value for e in found.Scalars("top1")] == [40.0, 62.5]
    assert [e.value for e in found.Scalars("total/params")] == [1000]
    assert {*found.Tags()["scalars"]} == {
        *("loss", "top1", "seconds", "total/params", "total/macs"),
        *("total/seconds_per_epoch", "total/total_seconds"),
    }
    (words,) = found.Tensors("specification")
    assert b"| data.limit | 300 |" in words.tensor_proto.string_val[0]
    plugins = found.PluginTagToContent("hparams")
    assert b"data.limit" in plugins["_hparams_/session_start_info"]
    assert plugins.keys() == {"_hparams_/session_start_info", "_hparams_/session_end_info"}


def test_what_goes_on_is_appended_and_what_is_there_is_no_news(sink, tmp_path):
    path = tmp_path / "tensorboard" / "tiny" / FOLDER / "events.out.tfevents.0.harness"
    assert not sink.send(told(epochs=0))
    assert not path.exists()
    assert sink.send(told(epochs=1))
    first, inode = path.read_bytes(), path.stat().st_ino
    assert not sink.send(told(epochs=1))
    page = read(tmp_path, FOLDER)  # one that is open goes on
    assert sink.send(told(record=RECORD))
    assert path.read_bytes().startswith(first)
    assert path.stat().st_ino == inode
    page.Reload()
    assert [e.value for e in page.Scalars("loss")] == [2.25, 1.125]
    assert not sink.send(told(record=RECORD))


@pytest.mark.parametrize("spoil", [lambda held: held[:-3], lambda held: b"x" + held[1:], lambda held: held + held])
def test_a_file_that_was_spoilt_is_mended(sink, tmp_path, spoil):
    sink.send(told(record=RECORD))
    path = tmp_path / "tensorboard" / "tiny" / FOLDER / "events.out.tfevents.0.harness"
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    assert sink.send(told(record=RECORD))
    assert path.read_bytes() == whole


def test_a_loss_that_is_no_number_and_a_refused_run_are_there_too(sink, tmp_path):
    row = {0: {**ROWS[0], "loss": math.nan}}
    run = Told(("a" * 16, 3), "b" * 16, "x|y\n/../z", "tiny", FORMS, row, {**RECORD, "status": "refused"}, "FAILED", "")
    assert sink.send(run)
    found = read(tmp_path, "x-y-z-seed3-bbbbbbbb")
    assert math.isnan(found.Scalars("loss")[0].value)
    assert found.Tensors("status")[0].tensor_proto.string_val == [b"refused"]


def test_a_report_is_its_table_and_its_ladder(sink, tmp_path):
    ihdr = struct.pack(">II", 640, 200)
    (tmp_path / "ladder.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + ihdr)
    sink.report("| rung | top-1 |", tmp_path)
    found = read(tmp_path, "report-tiny-few")
    (image,) = found.Images("ladder")
    assert (image.width, image.height) == (640, 200)
    assert found.Tensors("table")[0].tensor_proto.string_val == [b"| rung | top-1 |"]


def test_without_it_a_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(tensorboard.Problem, match=r'--track tensorboard: .* pip install "ablation-harness\[tens'):
        TensorBoard.check()
