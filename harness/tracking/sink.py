"""What a tracker is: a place beside the store where runs are shown. Nobody waits for it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness import one_line, without_password
from harness.paths import runs, wait_for
from harness.store import Record

Event = dict[str, Any]
Key = tuple[str, int]
NO_METRIC = {"record", "epoch", "time", "event", "seq", "after", "crc"}
TOTALS = ("params", "macs", "seconds_per_epoch", "peak_memory")


@dataclass(frozen=True)
class Told:
    """What the store tells of one run."""

    key: Key
    born: str  # its record: one that was begun anew is another
    title: str
    study: str
    forms: Any  # `spec` and `resolved`, as JSON
    epochs: Mapping[int, Event]  # a row an epoch, each with its `time`; of one done twice, the first
    record: Record | None  # None while the run is not finished
    status: str  # FINISHED, FAILED, RUNNING or KILLED
    why: str

    @property
    def name(self) -> str:
        return one_line(f"{self.title}, seed {self.key[1]}", 250)

    def metrics(self, epoch: int) -> dict[str, float]:
        return {name: float(value) for name, value in self.epochs[epoch].items() if name not in NO_METRIC}

    def totals(self) -> dict[str, float]:
        """Of the whole run, where it is finished."""
        assert self.record
        found = {name: self.record.get(name) for name in TOTALS} | {"total_seconds": self.record["seconds"]}
        return {name: float(value) for name, value in found.items() if value is not None}


class Sink(ABC):
    """One invocation's way into a tracker: it sends what is lacking there, so sending may be repeated.

    What a tracker raises is no matter of the run's: `harness.tracking.Tracker` says it in a line.
    """

    name: ClassVar[str]

    def __init__(self, study: str, label: str, command: str) -> None:
        self.study, self.label, self.command = study, label, command

    @classmethod
    def check(cls) -> None:
        """Raise Problem where a package of it is not installed."""
        return

    @classmethod
    def ready(cls, thorough: bool = False) -> str | None:
        """Set it up; a line where what it kept was spoilt, and was made anew: it lacks all other runs then."""
        return None

    @classmethod
    @abstractmethod
    def where(cls) -> str:
        """Its address, without a password."""

    @classmethod
    @abstractmethod
    def hint(cls, study: str) -> str:
        """How to look at it: a command, and where there."""

    def begin(self) -> None:
        """Once a study's runs begin."""
        return

    @abstractmethod
    def send(self, told: Told) -> bool:
        """Send what is lacking of a run; whether anything was."""

    @abstractmethod
    def report(self, text: str, folder: Path) -> None:
        """Show the report of this invocation: its table as Markdown; the rest of it is in `folder`."""

    def close(self, ended: str = "FINISHED") -> None:
        """This invocation came to its end."""
        return


def pictures(folder: Path) -> list[Path]:
    """What of a report's figures is shown beside its table."""
    return [path for name in ("ladder", "effects") if (path := folder / f"{name}.png").is_file()]


@contextmanager
def one_at_a_time(name: str = "mlflow") -> Iterator[None]:
    """Of the processes on this machine, so that what is there is made by one of them."""
    path = runs() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        wait_for(lock.fileno(), path)
        yield


def shown(value: Any, longest: int) -> str:
    return one_line(without_password(str(value)), longest)
