"""How a launcher and workers on other machines speak: by files of a folder that both see, beside the store.

Orders lie under `orders/`, each taken by one worker, which renames it. What a worker says it adds to a file of its
own under `said/`. Nothing is asked of the folder but that a rename is done once, and that a file which grows is seen
to grow. Orders name modules to import, so nobody else may write here: the folder is its owner's alone, and one that
others can write to is refused.
"""

import errno
import importlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import Problem
from harness.engine.scheduler import Event
from harness.paths import write_atomic
from harness.spec import Spec, parse, parts, plain, upstream
from harness.store import Store
from harness.study import Run
from harness.train import PLAIN, How

Order = Run | str  # a run to train, or a word to show that this folder is seen


@dataclass(frozen=True)
class Terms:
    """What workers are told once: where the store is, how to train, and what they must be to take part."""

    store: str
    every: float  # seconds between checkpoints within an epoch
    how: How
    device: str | None  # where the user named one
    folder: str  # where the command was given: data may be named from there
    path: tuple[str, ...]  # where modules are looked for, the user's among them
    fitness: dict[str, str]  # versions that must be the same, see `fitness`


def fitness() -> dict[str, str]:
    """What must be the same on all machines of a study, or its records are of different programs."""
    import torch

    from harness.engine.environment import repository

    return {"torch": torch.__version__, "commit": repository(Path(__file__))}


def written(order: Order) -> Any:
    """An order as JSON: a run as its parts, with the modules that have them."""
    if isinstance(order, str):
        return order
    spec, seed = order
    modules = {type(part).__module__ for each in (*upstream(spec), spec) for part in parts(each)}
    return {"spec": plain(spec), "seed": seed, "id": spec.id, "modules": sorted(modules)}


def read(told: Any) -> Order:
    """The inverse. Raises Problem where the run is another on this machine, which has other data, say."""
    if isinstance(told, str):
        return told
    for module in told["modules"]:
        importlib.import_module(module)
    spec: Spec = parse(told["spec"])
    if spec.id != told["id"]:
        raise Problem(f"{told['id']} is {spec.id} on {socket.gethostname()}: it has other data, or another program")
    return spec, int(told["seed"])


class Mailbox:
    """The folder of one invocation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: dict[str, int] = {}  # bytes of what each worker said

    @classmethod
    def made(cls, store: Store, every: float, device: str | None, how: How = PLAIN) -> "Mailbox":
        """A new one, for what this process will order."""
        for left in (store.root.parent / "mail").glob(f"{socket.gethostname()}-*-????????"):
            if not os.path.exists(f"/proc/{left.name.split('-')[-2]}"):  # of a command that was killed
                cls(left).remove()
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        box = cls(store.root.parent / "mail" / name)
        box.make(store, every, device, how)
        return box

    def make(self, store: Store, every: float, device: str | None, how: How = PLAIN) -> None:
        self.folder.mkdir(parents=True)
        os.chmod(self.folder, 0o700)
        for folder in ("orders", "taken", "said", "stops"):
            (self.folder / folder).mkdir()
        paths = tuple(path or os.getcwd() for path in sys.path)
        terms = Terms(str(store.root), every, how, device, os.getcwd(), paths, fitness())
        write_atomic(self.folder / "terms.json", json.dumps(asdict(terms)).encode())

    @property
    def terms(self) -> Terms:
        """Raises Problem where there are none, or the folder is another user's."""
        path = self.folder / "terms.json"
        try:
            if self.folder.stat().st_uid != os.getuid() or self.folder.stat().st_mode & 0o022:
                raise Problem(f"{self.folder} can be written by others: its orders are not followed")
            told = json.loads(path.read_bytes())
        except OSError as error:
            why = f"{path} cannot be read ({error.strerror}): does this machine see the folder of runs?"
            raise Problem(why) from None
        return Terms(**{**told, "path": tuple(told["path"]), "how": How(**told["how"])})

    # --- the launcher's side ------------------------------------------------------------------------------------------

    def post(self, number: int, order: Order) -> None:
        write_atomic(self.folder / "orders" / f"{number:06}", json.dumps(written(order)).encode())

    def recall(self, number: int) -> bool:
        """Take an order back: whether no worker had it yet."""
        return self._move(number, "recalled")

    def stop(self, number: int) -> None:
        """Let the worker that has an order keep its run, and go on to the next."""
        write_atomic(self.folder / "stops" / f"{number:06}", b"")

    def takers(self) -> dict[int, str]:
        """The worker of each order that one has."""
        names = (name.partition(".") for name in os.listdir(self.folder / "taken") if "." in name)
        return {int(number): worker for number, _, worker in names if worker != "recalled"}

    def words(self) -> Iterator[tuple[str, int | None, Event]]:
        """What was said since this was asked last: by whom, of which order, and what."""
        for name in sorted(os.listdir(self.folder / "said")):
            with (self.folder / "said" / name).open("rb") as file:
                file.seek(self.heard.get(name, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]  # the rest is being written
            self.heard[name] = self.heard.get(name, 0) + len(whole)
            for line in filter(None, whole.splitlines()):
                with suppress(ValueError):  # a disk was full, and took half of it: then no end is heard, as of the dead
                    said = json.loads(line)
                    yield name, said["order"], said["event"]

    def forget(self, worker: str) -> None:
        """What a worker said that is gone, or would: a study may have had thousands."""
        (self.folder / "said" / worker).unlink(missing_ok=True)
        self.heard.pop(worker, None)

    def shut(self) -> None:
        """No more orders will come: workers may leave."""
        with suppress(FileNotFoundError):
            write_atomic(self.folder / "shut", b"")

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others speak too
            self.folder.parent.rmdir()

    # --- a worker's side ----------------------------------------------------------------------------------------------

    def take(self, worker: str) -> tuple[int, Order] | None:
        """The first order that nobody has; None where there is none now."""
        try:
            names = sorted(os.listdir(self.folder / "orders"))
        except FileNotFoundError:
            return None  # the command has ended, and took the folder with it
        for name in names:
            if name.isdecimal() and self._move(int(name), worker):
                return int(name), read(json.loads((self.folder / "taken" / f"{name}.{worker}").read_bytes()))
        return None

    def to_stop(self, number: int) -> bool:
        """Whether the run of an order is to be kept and left. Listed, and not asked for: NFS remembers what is not."""
        try:
            return f"{number:06}" in os.listdir(self.folder / "stops")
        except OSError:
            return False

    def say(self, worker: str, number: int | None, event: Event) -> None:
        """Raises OSError where it cannot be written whole, and leaves nothing of it then."""
        # The first newline ends what a full disk tore, where even that could not be taken back
        text = b"\n" + json.dumps({"order": number, "event": event}).encode() + b"\n"
        file = os.open(self.folder / "said" / worker, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if (written := os.write(file, text)) < len(text):
                os.ftruncate(file, os.fstat(file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), worker)
        finally:
            os.close(file)

    @property
    def is_shut(self) -> bool:
        return not self.folder.is_dir() or (self.folder / "shut").exists()

    def _move(self, number: int, worker: str) -> bool:
        source, to = self.folder / "orders" / f"{number:06}", self.folder / "taken" / f"{number:06}.{worker}"
        with suppress(FileNotFoundError):
            os.rename(source, to)
        return to.exists()  # over NFS a rename that was done may say that it was not
