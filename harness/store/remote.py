"""Runs at an address, so that those of machines without a common folder join: push and pull.

There each file of a run is `files/<its sha256>`, and what makes them a run is `runs/<spec id>/<seed>.json`, which names
them. It is created last and overwritten never: of two machines that trained one run, the first to push has it. A push
or a pull that was ended goes on with what is not there yet.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, StringConstraints, ValidationError

from harness import Problem
from harness.paths import write_atomic
from harness.store import Store, is_id, is_seed, schema, sha256
from harness.store.address import Address, Away
from harness.store.archive import MEMBER, came_to, lacking, members, place
from harness.store.care import Key, troubles
from harness.store.garbage import lives

AT_ONCE = 8  # runs: each waits for the network, and holds the largest of its files in memory
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Digest
    bytes: NonNegativeInt

    @property
    def name(self) -> str:
        return f"files/{self.sha256}"


class Listing(BaseModel):
    """Which files are a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec_id: str
    seed: int = Field(strict=True)
    files: dict[str, File]


@dataclass(frozen=True)
class Moved:
    """What became of a run: it came over, or why not."""

    key: Key
    how: Literal["moved", "there", "held", "different", "damaged"]
    note: str = ""
    bytes: int = 0
    of: int = 0  # runs in all


def push(store: Store, keys: Iterable[Key], address: Address) -> Iterator[Moved]:
    """Send the finished runs among `keys`; one at a time is told as it is done. Raises Away where none can be sent."""
    address.ready()
    sender = _Sender(store, address)
    yield from _each([key for key in keys if key in store], sender.send)


def pull(store: Store, address: Address) -> Iterator[Moved]:
    """Bring the runs that are there; one at a time is told as it is done. Raises Away where none can be brought.

    What arrives is gathered in a folder of this process's, where every digest is checked; a whole run is then moved to
    its place. One that was ended leaves its folder to the next.
    """
    address.known()
    there = address.listed("files") | address.listed("runs")
    found = (name.removesuffix(".json").split("/")[1:] for name in there if name.startswith("runs/"))
    keys = [(part[0], int(part[1])) for part in found if len(part) == 2 and is_id(part[0]) and is_seed(part[1])]
    incoming = _incoming(store.root)
    receiver = _Receiver(store, address, there, Store(incoming))
    yield from _each(keys, receiver.receive)
    shutil.rmtree(incoming, ignore_errors=True)


def _each(keys: list[Key], work: Callable[[Key], Moved]) -> Iterator[Moved]:
    """Several at once; what is not begun when one raises is not begun."""

    def one(key: Key) -> Moved:
        try:
            return work(key)
        except Away:
            raise
        except (Problem, FileNotFoundError) as problem:  # the run was set aside meanwhile
            return Moved(key, "damaged", f"{_name(key)}: left out: {problem}")

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for done in as_completed([pool.submit(one, key) for key in keys]):
            yield replace(done.result(), of=len(keys))
    finally:
        pool.shutdown(cancel_futures=True)


class _Sender:
    def __init__(self, store: Store, address: Address) -> None:
        self.store, self.address = store, address
        self.there = address.listed("files") | address.listed("runs")
        self.locks: dict[str, Lock] = {}

    def send(self, key: Key) -> Moved:
        if _record(key) in self.there:
            listing = _listing(self.address, key)
            return self._mended(key, listing) or _compared(self.store, key, self.address, listing)
        self.store.tidy(*key)
        wrong = troubles(self.store, key)
        if wrong:
            raise Problem(wrong[0])
        files, sent = {}, 0
        for name in members(self.store, key):
            data = (self.store.folder(*key) / name).read_bytes()
            files[name] = File(sha256=sha256(data), bytes=len(data))
            sent += self._put(files[name], data)
        text = Listing(spec_id=key[0], seed=key[1], files=files).model_dump_json().encode()
        try:
            self.address.create(_record(key), text)
        except FileExistsError:
            if self.address.read(_record(key)) != text:  # else it is ours: only the answer was lost
                return _compared(self.store, key, self.address, _listing(self.address, key))
        return Moved(key, "moved", bytes=sent)

    def _put(self, file: File, data: bytes) -> int:
        """Send a file that is not there, or is torn; returns its bytes. Runs share files: two may come at once."""
        with self.locks.setdefault(file.sha256, Lock()):
            if self.there.get(file.name) == file.bytes:
                return 0
            self.address.put(file.name, data)
            self.there[file.name] = file.bytes
            return file.bytes

    def _mended(self, key: Key, listing: Listing) -> Moved | None:
        """Send again what a run that is there has lost; None of one that has all."""
        lost = {name: file for name, file in listing.files.items() if self.there.get(file.name) != file.bytes}
        sent = 0
        for name, file in lost.items():
            path = self.store.folder(*key) / name
            data = path.read_bytes() if path.exists() else b""
            if sha256(data) != file.sha256:
                raise Problem(f"{self.address.shown}/{file.name} is missing there, and is another here")
            sent += self._put(file, data)
        return Moved(key, "moved", bytes=sent) if lost else None


class _Receiver:
    def __init__(self, store: Store, address: Address, there: dict[str, int], arrived: Store) -> None:
        self.store, self.address, self.there, self.arrived = store, address, there, arrived
        self.placing = Lock()  # which removes an id's folder that is empty, and another seed may be about to lie there

    def receive(self, key: Key) -> Moved:
        listing = _listing(self.address, key)
        if key in self.store:
            return _compared(self.store, key, self.address, listing)
        lost = [file.name for file in listing.files.values() if self.there.get(file.name) != file.bytes]
        if lost:
            raise Problem(_damaged(self.address, lost[0]))
        came = self._fetched(key, listing)
        wrong = troubles(self.arrived, key) or lacking(self.arrived, key)
        if wrong:
            told = wrong[0].replace(f"{self.arrived.root}/", "")
            raise Problem(f"{self.address.shown}/{_record(key)} is no whole run: {told}")
        notes: list[str] = []
        with self.placing:
            if place(self.store, self.arrived, key, notes):
                return Moved(key, "moved", bytes=came)
        return Moved(key, "held", notes[0])

    def _fetched(self, key: Key, listing: Listing) -> int:
        """Bring a run's files that a pull which was ended had not brought; returns their bytes."""
        folder, came = self.arrived.folder(*key), 0
        with self.placing:
            folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in listing.files:
                path.unlink()
        for name, file in listing.files.items():
            path = folder / name
            if not path.exists() or sha256(path.read_bytes()) != file.sha256:
                write_atomic(path, _whole(self.address, file))
                came += file.bytes
        return came


def _incoming(root: Path) -> Path:
    """A folder of this process's; with what one that was killed on this machine had gathered."""
    begin = f".incoming.{socket.gethostname()}."  # of a process elsewhere nobody here knows whether it lives
    own = root / f"{begin}{os.getpid()}"
    root.mkdir(parents=True, exist_ok=True)
    for left in sorted(root.glob(f"{begin}*")):
        if not own.exists() and not lives(left.name.rpartition(".")[2]):
            with suppress(FileNotFoundError):  # another took it
                left.rename(own)
    return own


def _compared(store: Store, key: Key, address: Address, listing: Listing) -> Moved:
    """A run that is both here and there: whether they are one, or came to the same."""
    ours = store.read(*key)
    if sha256((store.folder(*key) / "result.json").read_bytes()) == listing.files["result.json"].sha256:
        return Moved(key, "there")
    try:
        theirs = json.loads(_whole(address, listing.files["result.json"]))
    except (ValueError, RecursionError):
        raise Problem(_damaged(address, listing.files["result.json"].name)) from None
    wrong = schema.record(theirs)
    if wrong:
        raise Problem(f"{_damaged(address, listing.files['result.json'].name)} ({wrong})")
    if came_to(ours) == came_to(theirs):
        return Moved(key, "there", f"{_name(key)}: trained here and there, with the same outcome: each keeps its own")
    note = (
        f"{_name(key)}: trained here and there, AND DIFFERENT: each keeps its own, and {address.shown} the first pushed"
    )
    return Moved(key, "different", note)


def _listing(address: Address, key: Key) -> Listing:
    """Raises Problem where it is damaged, or not of that run."""
    try:
        listing = Listing.model_validate_json(address.read(_record(key)))
    except (FileNotFoundError, ValidationError):
        raise Problem(_damaged(address, _record(key))) from None
    names = [f"{key[0]}/{key[1]}/{name}" for name in listing.files]
    if (listing.spec_id, listing.seed) != key or "result.json" not in listing.files or not all(map(_is_member, names)):
        raise Problem(_damaged(address, _record(key)))
    return listing


def _is_member(name: str) -> bool:
    return bool(MEMBER.fullmatch(name))


def _whole(address: Address, file: File) -> bytes:
    """Raises Problem where it is not what its name says."""
    try:
        data = address.read(file.name)
    except FileNotFoundError:
        data = b""
    if sha256(data) != file.sha256:
        raise Problem(_damaged(address, file.name))
    return data


def _damaged(address: Address, name: str) -> str:
    return f"{address.shown}/{name} is missing or damaged: remove it there, and push again from where the run is"


def _record(key: Key) -> str:
    return f"runs/{key[0]}/{key[1]}.json"


def _name(key: Key) -> str:
    return f"{key[0]}, seed {key[1]}"
