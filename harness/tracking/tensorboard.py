"""TensorBoard: event files, a folder a run, under runs/tensorboard/<study>/.

What a file should hold follows from the store alone, to the byte: what is lacking at its end is appended, and a file
that holds anything else is written anew. Pages that are open on it go on reading.
"""

import io
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness import Problem, file_name, one_line
from harness.paths import runs, write_all, write_atomic
from harness.spec import flat
from harness.tracking.sink import Sink, Told, one_at_a_time, pictures, shown

LONGEST = 2000  # characters of a value of a specification


class TensorBoard(Sink):
    name = "TensorBoard"

    @classmethod
    def check(cls) -> None:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            asks = 'pip install "ablation-harness[tensorboard]"'
            raise Problem(f"--track tensorboard: TensorBoard is not installed: {asks}") from None

    @classmethod
    def where(cls) -> str:
        return str(runs() / "tensorboard")

    @classmethod
    def hint(cls, study: str) -> str:
        return shlex.join([sys.executable, "-m", "tensorboard.main", "--logdir", str(runs() / "tensorboard" / study)])

    def send(self, told: Told) -> bool:
        if not told.epochs:
            return False
        return self._put(f"{_word(told.title)}-seed{told.key[1]}-{told.born[:8]}", _of_run(told))

    def report(self, text: str, folder: Path) -> None:
        made = [_event(0, 0, _text("table", text))]
        made += [_event(0, 0, _image(path.stem, path.read_bytes())) for path in pictures(folder)]
        self._put(f"report-{_word(self.label)}", made)

    def _put(self, folder: str, events: Iterable[bytes]) -> bool:
        """Whether the file lacked anything. Its name is fixed: two processes write one."""
        path = runs() / "tensorboard" / file_name(self.study) / folder / "events.out.tfevents.0.harness"
        due = _records(events)
        with one_at_a_time("tensorboard"):
            had = path.read_bytes() if path.exists() else b""
            if had == due:
                return False
            if had and due.startswith(had):
                file = os.open(path, os.O_WRONLY | os.O_APPEND)
                try:
                    write_all(file, due[len(had) :])
                finally:
                    os.close(file)
            else:
                write_atomic(path, due)
        return True


def _word(title: str) -> str:
    """A title as a folder's name: letters and digits, the rest as dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in one_line(title, 100)).split()) or "run"


def _of_run(told: Told) -> Iterator[bytes]:
    began = next(iter(told.epochs.values()))["time"]
    settings = {name: shown(value, LONGEST) for name, value in flat(told.forms["resolved"]).items()}
    rows = "\n".join(f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in settings.items())
    yield _event(began, 0, _text("specification", f"| slot | value |\n|---|---|\n{rows}"))
    yield _event(began, 0, _parameters(settings, began))
    for epoch, row in told.epochs.items():
        for name, value in told.metrics(epoch).items():
            yield _event(row["time"], epoch, _scalar(name, value))
    if told.record:
        ended, last = told.record["finished"], max(told.epochs)
        for name, value in told.totals().items():
            yield _event(ended, last, _scalar(f"total/{name}", value))
        checks = "\n".join(
            f"- {shown(c['part'], 80)}: {shown(c['what'], 300)}: {shown(c['seen'], 300)}"
            for c in told.record["evidence"]
        )
        yield _event(ended, last, _text("evidence", checks))
        yield _event(ended, last, _text("status", told.record["status"]))
        yield _event(ended, last, _over(told, ended))


def _records(events: Iterable[bytes]) -> bytes:
    """An event file: TFRecords, the first of which names the format."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    held = io.BytesIO()
    writer = RecordWriter(held)
    for event in (Event(wall_time=0, file_version="brain.Event:2").SerializeToString(deterministic=True), *events):
        writer.write(event)
    return held.getvalue()


def _event(when: float, step: int, value: Any) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    made: bytes = Event(wall_time=when, step=step, summary=Summary(value=[value])).SerializeToString(deterministic=True)
    return made


def _value(tag: str, metadata: Any, **tensor: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(**tensor))


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    return _value(tag, create_summary_metadata(tag, ""), dtype=DT_STRING, string_val=[text.encode(errors="replace")])


def _image(tag: str, png: bytes) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of its first chunk, IHDR
    return Summary.Value(tag=tag, image=Summary.Image(width=width, height=height, encoded_image_string=png))


def _parameters(settings: dict[str, str], began: float) -> Any:
    """The start of a session of the HPARAMS page, which sets runs side by side."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=began)
    for name, value in settings.items():
        info.hparams[name].string_value = value
    return _session("_hparams_/session_start_info", HParamsPluginData(session_start_info=info))


def _over(told: Told, ended: float) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = STATUS_SUCCESS if told.status == "FINISHED" else STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=ended)
    return _session("_hparams_/session_end_info", HParamsPluginData(session_end_info=info))


def _session(tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString(deterministic=True))
    return _value(tag, SummaryMetadata(plugin_data=plugin), dtype=DT_FLOAT, float_val=[0.0])
