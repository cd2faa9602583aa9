"""Records as one file, so that the runs of two machines join: a plain tar of `<spec id>/<seed>/<file>`."""

import json
import os
import re
import shutil
import socket
import tarfile
from collections.abc import Iterable
from pathlib import Path

from harness import Problem, one_line
from harness.paths import sync_folder
from harness.store import Held, Record, Store
from harness.store.aside import Aside, bring_back
from harness.store.care import RECORD, Key, troubles

MEMBER = re.compile(
    r"([0-9a-f]{16})/(0|[1-9][0-9]{0,18})/(spec\.json|journal\.jsonl|weights\.pt|logits\.npz|result\.json)"
)


def export(store: Store, keys: Iterable[Key], path: Path) -> int:
    """Write the finished runs among `keys` to `path`; returns how many. Raises Problem where one is damaged."""
    if path.exists():
        raise Problem(f"{path} is there already: take another name, or remove it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with temporary.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for key in keys:
                    if key not in store:
                        continue
                    store.tidy(*key)
                    wrong = troubles(store, key)
                    if wrong:
                        raise Problem(f"{wrong[0]}; nothing was exported")
                    for name in members(store, key):
                        tar.add(store.folder(*key) / name, f"{key[0]}/{key[1]}/{name}", filter=_plain)
                    count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def members(store: Store, key: Key) -> list[str]:
    """The names of a finished run's files, all of which go where it goes."""
    return [name for name in RECORD if (store.folder(*key) / name).exists()]


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def bring(store: Store, path: Path) -> tuple[list[Key], list[str]]:
    """Import the runs of an archive that are not here; returns them, and notes on the others.

    Raises Problem, and imports nothing, where a member is anything but a file of a record, or a record is not whole.
    """
    incoming = store.root / f".incoming.{socket.gethostname()}.{os.getpid()}"
    try:
        keys = _unpacked(path, incoming)
        arrived = Store(incoming)
        wrong = [line for key in keys for line in troubles(arrived, key) or lacking(arrived, key)]
        if wrong:
            raise Problem(f"{path} holds a damaged record, nothing was imported: {wrong[0]}")
        notes: list[str] = []
        brought = [key for key in keys if place(store, arrived, key, notes)]
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return brought, notes


def _unpacked(path: Path, into: Path) -> list[Key]:
    seen: dict[str, Key] = {}
    try:
        with path.open("rb") as archive, tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                match = MEMBER.fullmatch(member.name)
                if not match or member.type != tarfile.REGTYPE or member.sparse or member.name in seen:
                    name = one_line(member.name)
                    raise Problem(f"{path} is no archive of runs: it holds {name!r}; nothing was imported")
                target = into / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file)
                    os.fsync(file.fileno())
                sync_folder(target.parent)
                seen[member.name] = match[1], int(match[2])
            archive.seek(tar.offset)
            if archive.read(512) != bytes(512):  # what closes a tar
                raise EOFError("its end is missing")
    except (tarfile.TarError, EOFError) as error:
        raise Problem(f"{path} is no archive of runs ({error}); nothing was imported") from None
    return list(dict.fromkeys(seen.values()))


def lacking(arrived: Store, key: Key) -> list[str]:
    return [] if key in arrived else [f"{key[0]}/{key[1]} has no result"]


def came_to(record: Record) -> str:
    """What two records of one run have alike: which test images are right or, of a metric of none, the metrics."""
    return str(record["correct"]) or json.dumps(record["metrics"], sort_keys=True)


def place(store: Store, arrived: Store, key: Key, notes: list[str]) -> bool:
    """Move an arrived record to where it belongs, unless the run is finished here or being trained."""
    name, one = f"{key[0]}, seed {key[1]}", Aside("", arrived.folder(*key), key)
    try:
        if key not in store and bring_back(store, one):
            return True
        if key not in store:
            store.set_aside(*key)
            if bring_back(store, one):
                return True
    except Held as held:
        notes.append(f"{name}: left out, {held}")
        return False
    same = key in store and came_to(store.read(*key)) == came_to(arrived.read(*key))
    notes.append(f"{name}: here already" + ("" if same else ", AND DIFFERENT: the one here is kept"))
    return False
