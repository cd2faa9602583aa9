"""wandb's API: a run a (specification, seed), in the project of its study; where wandb is absent, Trackio serves it.

Neither can be asked, offline, what it has: what was sent is noted in runs/wandb/sent/, a file a record.
"""

import csv
import importlib
import json
import os
from contextlib import suppress
from inspect import signature
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from harness import Problem, file_name
from harness.paths import runs, write_atomic
from harness.spec import flat
from harness.tracking.sink import Sink, Told, one_at_a_time, pictures, shown

SERVED = ("wandb", "trackio")  # by the first that is installed
LONGEST = 2000  # characters of a value of a specification


def api() -> Any:
    """The module. Raises Problem where neither is installed."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_CONSOLE", "off")  # else it takes our output
    os.environ.setdefault("WANDB_MODE", "online" if _key() else "offline")  # it would ask for a key, and wait
    os.environ.setdefault("TRACKIO_DIR", str(runs() / "trackio"))
    for name in SERVED:
        with suppress(ImportError):
            return importlib.import_module(name)
    raise Problem('--track wandb: wandb is not installed: pip install "ablation-harness[wandb]" (or trackio)')


def _key() -> bool:
    """Whether a user of wandb's server is logged in here."""
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    with suppress(OSError, NetrcParseError):
        return bool(os.environ.get("WANDB_API_KEY") or netrc().authenticators(host))
    return False


class Wandb(Sink):
    name = "wandb"

    def __init__(self, study: str, label: str, command: str) -> None:
        super().__init__(study, label, command)
        self.api = api()
        self.live: dict[str, Any] = {}  # runs that go on, by their records

    @classmethod
    def check(cls) -> None:
        api()

    @classmethod
    def where(cls) -> str:
        return str(runs() / api().__name__) if os.environ.get("WANDB_MODE") == "offline" else "its server"

    @classmethod
    def hint(cls, study: str) -> str:
        if api().__name__ == "trackio":
            return f"TRACKIO_DIR={os.environ['TRACKIO_DIR']} trackio show --project {study}"
        offline = f"wandb sync {runs() / 'wandb'}/offline-run-* sends what was kept offline"
        return offline if os.environ.get("WANDB_MODE") == "offline" else f"wandb: project {study}"

    def send(self, told: Told) -> bool:
        path = runs() / "wandb" / "sent" / f"{told.born}.json"
        with one_at_a_time("wandb"):
            sent, complete = _noted(path)
            new = [epoch for epoch in told.epochs if epoch not in sent]
            if complete or not (new or told.record):
                return False
            run = self.live.get(told.born) or self._begun(told)
            for epoch in new:
                run.log(told.metrics(epoch), step=epoch)
            if told.record:
                last = max(told.epochs, default=0)
                run.log({**{f"total/{k}": v for k, v in told.totals().items()}, "status": told.status}, step=last)
                self._end(told.born, told.status)
            _note(path, [*sent, *new], bool(told.record))
        return True

    def report(self, text: str, folder: Path) -> None:
        run = self._init(f"report of {self.label}", f"report-{self.label}", {"command": shown(self.command, LONGEST)})
        with (folder / "table.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        shows = {path.stem: self.api.Image(str(path)) for path in pictures(folder)}
        cells = {"columns": header, "data": rows}
        if self.api.__name__ == "trackio":
            import pandas as pd

            cells = {"dataframe": pd.DataFrame(cells["data"], columns=cells["columns"])}
        run.log({"table": self.api.Table(**cells), **shows})
        run.finish()

    def close(self, ended: str = "FINISHED") -> None:
        for born in list(self.live):  # of runs that are not over: they go on another day
            self._end(born, "KILLED")

    def _begun(self, told: Told) -> Any:
        config: dict[str, Any] = {name: shown(value, LONGEST) for name, value in flat(told.forms["resolved"]).items()}
        config |= {"rung": told.title, "seed": told.key[1], "spec_id": told.key[0], "label": self.label}
        if self.api.__name__ == "trackio":  # which has one run at a time
            self.close()
        self.live[told.born] = self._init(told.name, told.born, config)
        return self.live[told.born]

    def _init(self, name: str, own_id: str, config: dict[str, Any]) -> Any:
        folder = runs() / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        asked = {"id": own_id, "dir": str(folder.parent), "reinit": "create_new", "group": self.label}
        known = signature(self.api.init).parameters
        mine = {word: value for word, value in asked.items() if word in known}
        return self.api.init(project=file_name(self.study), name=name, config=config, resume="allow", **mine)

    def _end(self, born: str, status: str) -> None:
        run = self.live.pop(born)
        code = {"exit_code": 0 if status == "FINISHED" else 1}
        run.finish(**{word: value for word, value in code.items() if word in signature(run.finish).parameters})


def _noted(path: Path) -> tuple[list[int], bool]:
    """(Epochs that were sent, whether that was all): of a note that cannot be read nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(path.read_text())
        return [int(epoch) for epoch in noted["epochs"]], bool(noted["complete"])
    return [], False


def _note(path: Path, epochs: list[int], complete: bool) -> None:
    write_atomic(path, json.dumps({"epochs": epochs, "complete": complete}).encode())
