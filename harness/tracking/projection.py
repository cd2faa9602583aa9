"""The store's runs, as a tracker is told of them."""

from collections.abc import Mapping, Sequence

from harness.store import Record, Store
from harness.store.care import holder
from harness.tracking.mlflow import MLflow
from harness.tracking.sink import Event, Key, Sink, Told


class Projection:
    """Sends runs of one study to a tracker. `titles` names specifications by id, `command` what this is done for."""

    def __init__(
        self,
        study: str,
        titles: Mapping[str, str],
        store: Store,
        command: str,
        label: str = "",
        kind: type[Sink] = MLflow,
    ) -> None:
        self.study, self.titles, self.store = study, titles, store
        self.sink = kind(study, label or study, command)

    def send(self, key: Key) -> bool:
        """Send what is lacking of a run; whether anything was. Raises Problem where its record is damaged."""
        events = self.store.events(*key)
        record = self.store.read(*key) if key in self.store else self.store.refused(*key)
        told = [event for event in events if event.get("record")]  # not of an attempt that has done nothing yet
        if not told and not record:
            return False
        born = (record.get("record") or record["digest"]) if record else told[-1]["record"]
        own = [event for event in told if event["record"] == born]
        rows = [*(event for event in own if event["event"] == "epoch"), *(record["epochs"] if record else ())]
        if record:  # an older one does not tell when its epochs were
            rows = [{"time": record["finished"], **row} for row in rows]
        epochs = {row["epoch"]: row for row in reversed(rows)}
        status, why = _status(own, record, holder(self.store, key) is not None)
        title, forms = self.titles.get(key[0], key[0]), self.store.forms(*key)
        epochs = dict(sorted(epochs.items()))
        return self.sink.send(Told(key, born, title, self.study, forms, epochs, record, status, why))


def _status(events: Sequence[Event], record: Record | None, held: bool) -> tuple[str, str]:
    """MLflow's word for how a run stands, and why where it failed."""
    if record:
        return ("FINISHED" if record["status"] == "finished" else "FAILED"), ""
    if held:
        return "RUNNING", ""
    last = events[-1]
    return ("FAILED" if last["event"] == "failed" else "KILLED"), last.get("why", "")
