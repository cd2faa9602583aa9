"""Run records on disk: `runs/store/<spec id>/<seed>/`, the truth that tables and MLflow are made from.

A folder holds `spec.json`; `journal-7.jsonl`, of the seventh attempt, and so on; the last two checkpoints while the run
is not finished; and, written last and whole, `result.json`: a run is finished when that file is there. Then the
journals become one, `journal.jsonl`, the weights of that result `weights.pt`, and what it answered to each test image,
where it keeps that, `logits.npz`. A run that its evidence refused has `refused.json`, one that failed `traceback.txt`;
`harness.store.lease` says what `claim-7` and `beat-7` are. Every byte can be checked: the folder's name is the hash of
`spec.json`, the result carries its own hash and those of weights and logits, the journal that of each checkpoint, and
its lines their own.
"""

import hashlib
import io
import json
import os
import re
import secrets
import socket
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from harness import Problem
from harness.paths import runs, sync_folder, write_atomic, write_first
from harness.store import journal
from harness.store.journal import Event, Journal
from harness.store.lease import Held, Lease, Lost, lock

FORMAT = 2
EVERY = 60.0  # seconds between checkpoints within an epoch
WORTH = 100  # a checkpoint waits until the run has gone on for so many times what the last one cost
KEPT = 2  # checkpoints: the last may be torn by what no program can prevent
TRACEBACK = "traceback.txt"
FILES_OF = {"weights": "weights.pt", "logits": "logits.npz"}  # files of a result, by what it calls their digests
UNTIDY = re.compile("(checkpoint|weights|logits|journal|claim|beat)-")  # what no finished run is left with
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError)  # the last of lists within lists within lists
CHECKPOINT = re.compile(r"checkpoint-(?:([0-9]+)-)?([0-9]+)\.pt")  # the attempt, and the number of its line
Record = dict[str, Any]
State = dict[str, Any]


class Store:
    def __init__(self, root: Path | None = None, hidden: Iterable[tuple[str, int]] = ()) -> None:
        self.root = root or runs() / "store"
        self.hidden = frozenset(hidden)  # runs that count as if they were not finished

    def folder(self, spec_id: str, seed: int) -> Path:
        return self.root / spec_id / str(seed)

    def __contains__(self, run: tuple[str, int]) -> bool:
        path = f"{self.root}/{run[0]}/{run[1]}/result.json"
        return os.path.exists(path) and run not in self.hidden  # a plan asks this of thousands

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every run that has a folder here, finished or not."""
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            for inner in sorted(folder.iterdir()) if is_id(folder.name) and folder.is_dir() else ():
                if is_seed(inner.name):
                    yield folder.name, int(inner.name)

    def finished(self, spec_id: str) -> Iterator[tuple[int, Record]]:
        """The finished runs of a specification, by seed; one that is damaged, which reports name, is left out."""
        folder = self.root / spec_id
        for seed in map(int, filter(is_seed, os.listdir(folder) if folder.is_dir() else ())):
            if (spec_id, seed) in self:
                with suppress(Problem, OSError):
                    yield seed, self.read(spec_id, seed)

    def refused(self, spec_id: str, seed: int) -> Record | None:
        """The record of a run that its evidence refused; None where there is none."""
        exists = os.path.exists(f"{self.root}/{spec_id}/{seed}/refused.json")
        return self.read(spec_id, seed, "refused.json") if exists else None

    def read(self, spec_id: str, seed: int, name: str = "result.json", known: bool = False) -> Record:
        """The record of a finished run. Raises Problem where it is of another format, damaged, unreadable or none.

        One that is `known` to hold what a record holds needs its digest checked alone.
        """
        path = f"{self.root}/{spec_id}/{seed}/{name}"
        try:
            with open(path, "rb") as file:
                data = file.read()
            record: Record = journal.loads(data)
            version = record["format"]
            whole = _intact(record, data)
        except UNREADABLE as error:
            raise Problem(f"{path} cannot be read ({error}): {_retrain(path)}") from None
        known_format(version, path)
        if not whole:
            raise Problem(f"{path} is damaged, its digest is another: {_retrain(path)}")
        whose = record.get("spec_id"), record.get("seed")
        if whose != (spec_id, seed):
            raise Problem(f"{path} is the record of {whose[0]}, seed {whose[1]}: {_retrain(path)}")
        if not known:
            from harness.store import schema  # pydantic's, which --help need not wait for

            wrong = schema.record(record)
            if wrong:
                raise Problem(f"{path} is no record of a run ({wrong}): {_retrain(path)}")
        return record

    def forms(self, spec_id: str, seed: int) -> dict[str, Any]:
        """`{"spec": plain form, "resolved": what the id hashes}` of a run that was begun."""
        forms: dict[str, Any] = journal.loads(self.form(spec_id, seed))
        return forms

    def form(self, spec_id: str, seed: int) -> bytes:
        """The bytes of its `spec.json`. Raises Problem where they are not those of that id, or no specification's."""
        path = f"{self.root}/{spec_id}/{seed}/spec.json"
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            wrong = f"cannot be read ({error})"
        else:
            wrong = _unfit(data, spec_id)
        if wrong:
            raise Problem(f"{path} {wrong}: {_retrain(path)}")
        return data

    def events(self, spec_id: str, seed: int) -> list[Event]:
        """The journal of a run; empty where it was never begun."""
        return journal.events(self.folder(spec_id, seed))

    def weights(self, spec_id: str, seed: int) -> dict[str, Any]:
        """The trained weights of a finished run, on the CPU. Raises Problem where they are not those it left."""
        import torch

        data = self._kept("weights", self.read(spec_id, seed)["weights"], spec_id, seed)
        weights: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return weights

    def logits(self, spec_id: str, seed: int) -> tuple[Any, Any] | None:
        """Of a finished run's N test images, in order, labels N and logits N x K, float16; None where it kept none.

        Raises Problem where they are not those it left.
        """
        from harness.store import arrays

        record = self.read(spec_id, seed)
        if not record.get("logits"):
            return None
        data = self._kept("logits", record["logits"], spec_id, seed)
        try:
            return arrays.logits(data, record["images"]["test"])
        except ValueError as error:
            path = self.folder(spec_id, seed) / FILES_OF["logits"]
            raise Problem(f"{path} holds no logits ({error}): {_retrain(path)}") from None

    def _kept(self, what: str, wanted: str, spec_id: str, seed: int) -> bytes:
        path = self.folder(spec_id, seed) / FILES_OF[what]
        data = kept(wanted, path)
        if data is None:
            why = "is damaged, its digest is another" if path.exists() else "is missing"
            raise Problem(f"{path} {why}: {_retrain(path)}")
        return data

    @contextmanager
    def claim(self, spec_id: str, seed: int, every: float = EVERY) -> Iterator["Claim"]:
        """Hold a run while working on it. Raises Held where another process does; a claim dies with its owner.

        What the claim does raises Lost where another process took the run over.
        """
        folder = self.folder(spec_id, seed)
        with lock(folder) as lease:
            for left in folder.glob(".*.*.*"):  # of a process that was killed while it wrote, or of one that looks in
                if left.suffix[1:].isdecimal() and left.is_file():
                    left.unlink(missing_ok=True)
            claim = Claim(folder, lease, spec_id, seed, every)
            try:
                yield claim
            except OSError:
                lease.check()  # who takes a run over removes what is half written
                raise
            finally:
                claim.close()

    def held(self, run: tuple[str, int]) -> bool:
        """Whether another process holds a run. One that was silent for a lease holds it no more: it is taken away."""
        try:
            with lock(self.folder(*run)):
                return False
        except Held:
            return True

    def set_aside(self, spec_id: str, seed: int) -> Path | None:
        """Move what there is of a run out of the way, see `harness.store.aside`; None where there is nothing."""
        folder = self.folder(spec_id, seed)
        if not folder.is_dir():
            return None
        with lock(folder) as lease:
            aside = self.root.parent / "aside" / time.strftime("%Y-%m-%d") / spec_id
            aside.mkdir(parents=True, exist_ok=True)
            names = (f"{seed}.{n}" if n > 1 else f"{seed}" for n in range(1, 10**6))
            free = next(aside / name for name in names if not (aside / name).exists())
            folder.rename(free)
            lease.folder = free  # there it is let go of
            for changed in (aside, *aside.parents[:3], folder.parent):
                sync_folder(changed)
        with suppress(OSError):  # other seeds are there
            folder.parent.rmdir()
        return free

    def tidy(self, spec_id: str, seed: int) -> None:
        """Do for a finished run what its process would have done, had it not been killed just after the result."""
        if (spec_id, seed) in self and any(map(UNTIDY.match, os.listdir(self.folder(spec_id, seed)))):
            with suppress(Held), self.claim(spec_id, seed) as claim:
                with suppress(Problem):  # it is damaged, which others say
                    claim.settle(self.read(spec_id, seed))
                claim.sweep(0)

    def remark(self, spec_id: str, seed: int, event: str, **fields: Any) -> None:
        """Add an event to the journal of a run that nobody holds. Raises Held where a process does."""
        with lock(self.folder(spec_id, seed)) as lease:
            added = Journal(lease.folder, lease.number)
            births = [e["record"] for e in added.events if "record" in e]
            added.add(event, record=births[-1] if births else None, **fields)
            added.close()


def kept(digest: str, file: Path) -> bytes | None:
    """The bytes of that digest: those of `file`, or of an attempt that has not named them so yet; None of none."""
    for path in chain((file,), attempts(file), (file,)):  # again, for an attempt's may have got its name meanwhile
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            if sha256(data) == digest:
                return data
    return None


def attempts(file: Path) -> Iterator[Path]:
    """What attempts left of a result's file, before it has its name: `weights-7.pt` of `weights.pt`."""
    return file.parent.glob(f"{file.stem}-*{file.suffix}")


def _retrain(path: Path | str) -> str:
    return f"move {os.path.dirname(path)} aside and the run is trained again"


def known_format(version: object, path: Path | str) -> None:
    """Raises Problem where `path` is of another format than this program writes."""
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        advice = f"newer than {FORMAT}: use a newer harness" if newer else f"not {FORMAT}: move it aside"
        told = version if isinstance(version, int) else "that is no number"
        raise Problem(f"{path} is of format {told}, {advice}")


def is_id(name: str) -> bool:
    return len(name) == 16 and set(name) <= set("0123456789abcdef")


def is_seed(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(record: Record) -> str:
    return sha256(json.dumps({k: v for k, v in record.items() if k != "digest"}, sort_keys=True).encode())


def _sealed(record: Record) -> bytes:
    """The bytes of a record: keys in order, its digest last."""
    body = json.dumps(record, sort_keys=True).encode()
    return body[:-1] + _seal(sha256(body))


def _seal(mark: str) -> bytes:
    return f', "digest": "{mark}"}}'.encode()


def _intact(record: Record, data: bytes) -> bool:
    mark = str(record.get("digest"))
    body = data.removesuffix(_seal(mark)) + b"}"
    if sha256(body) == mark:  # as `_sealed` makes it: a report of 10,000 records has no time to write each anew
        return True
    return mark == digest(record) and json.dumps(record).encode() == data  # keys in another order


@lru_cache(256)
def _unfit(forms: bytes, spec_id: str) -> str:
    """What is wrong with the bytes of a `spec.json`, which all seeds of a specification share; "" where nothing is."""
    from harness.store import schema

    try:
        value = json.loads(forms)
        same = spec_hash(value["resolved"]) == spec_id
    except UNREADABLE as error:
        return f"cannot be read ({error})"
    if not same:
        return f"is damaged, it is not that of {spec_id}"
    wrong = schema.forms(value)
    return f"is no specification ({wrong})" if wrong else ""


def spec_hash(resolved: Any) -> str:
    """The id of a resolved specification, as `Spec.id` makes it."""
    return sha256(json.dumps(resolved, sort_keys=True, separators=(",", ":")).encode())[:16]


class Claim:
    """A run that this process holds: what it kept so far, and what it adds."""

    def __init__(self, folder: Path, lease: Lease, spec_id: str, seed: int, every: float) -> None:
        self.folder, self.lease, self.spec_id, self.seed, self.every = folder, lease, spec_id, seed, every
        self.journal: Journal | None = None
        self.record = secrets.token_hex(8)  # names this training of the run; a checkpoint's, once that is gone on from
        self.keeping = 0.0  # seconds spent on journal and checkpoints
        self.cost = 0.01  # of the last checkpoint, in seconds; a guess until there was one
        self.kept_at = time.monotonic()

    def close(self) -> None:
        if self.journal:
            self.journal.close()

    def begin(self, forms: dict[str, Any]) -> None:
        """Begin an attempt. `forms` are the plain and the resolved specification.

        Raises Problem where a record of a newer format is begun here.
        """
        for event in journal.events(self.folder):
            known_format(event.get("format", FORMAT), self.folder / "journal.jsonl")
        self.lease.check()
        text = json.dumps(forms, indent=1).encode()
        write_atomic(self.folder / "spec.json", text)
        self._forget_refusal()
        (self.folder / TRACEBACK).unlink(missing_ok=True)
        self.journal = Journal(self.folder, self.lease.number)
        head = {"format": FORMAT, "spec": sha256(text), "pid": os.getpid(), "host": socket.gethostname()}
        self.journal.add("started", safe=True, **head)
        self.kept_at = time.monotonic()

    def _forget_refusal(self) -> None:
        """Remove what was refused: no other files, of which some process may be making a result just now."""
        refused = self.folder / "refused.json"
        if refused.exists():
            with suppress(*UNREADABLE):
                record = json.loads(refused.read_bytes())
                for what, name in FILES_OF.items():
                    for path in attempts(self.folder / name):
                        if sha256(path.read_bytes()) == record.get(what):
                            path.unlink(missing_ok=True)
            refused.unlink(missing_ok=True)

    def note(self, event: str, safe: bool = False, **fields: Any) -> None:
        """Add an event to the journal."""
        assert self.journal
        if safe:
            self.lease.check()
        began = time.monotonic()
        self.journal.add(event, safe, record=self.record, **fields)
        self.keeping += time.monotonic() - began

    def saved(self, by: str) -> State | None:
        """What the newest checkpoint holds that is whole and was made `by` the same; others are said in the journal."""
        import torch

        assert self.journal
        for event in reversed([e for e in self.journal.events if e["event"] == "checkpoint"]):
            path = self.folder / str(event["file"])
            if not CHECKPOINT.fullmatch(path.name) or path.parent != self.folder:
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            whole = sha256(data) == event["sha256"]
            if whole and event["by"] == by:
                state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
                self.record = event["record"]
                self.note("resumed", file=path.name, **{k: event[k] for k in ("epoch", "batch")})
                return state
            why = f"made by {event['by']}, and this is {by}" if whole else "damaged, its digest is another"
            self.note("passed over", safe=True, file=path.name, why=why)
            if not whole:
                path.unlink(missing_ok=True)
        return None

    def since_start(self) -> list[Event]:
        """What this attempt has added to the journal so far."""
        assert self.journal
        events = self.journal.events
        return events[max(i for i, event in enumerate(events) if event["event"] == "started") + 1 :]

    def due(self, epoch_done: bool) -> bool:
        """Whether to checkpoint now: every `every` seconds and each epoch, unless that cost over 1 % of the time."""
        since = time.monotonic() - self.kept_at
        return self.every == 0 or ((epoch_done or since >= self.every) and since >= WORTH * self.cost)

    def keep(self, state: State, by: str) -> None:
        """Write a checkpoint: tensors, numbers, strings, lists and dicts, with `epoch` and `batch` among them."""
        began = time.monotonic()
        assert self.journal
        seq = self.journal.events[-1]["seq"] + 1
        data = _saved(state)
        path = self.folder / f"checkpoint-{self.lease.number}-{seq}.pt"
        self.lease.check()
        write_atomic(path, data)
        at = {"epoch": state["epoch"], "batch": state["batch"], "by": by, "record": self.record}
        self.journal.add("checkpoint", safe=True, file=path.name, sha256=sha256(data), **at)
        self.sweep(KEPT)
        self.kept_at = time.monotonic()
        self.cost = self.kept_at - began
        self.keeping += self.cost

    def leave_traceback(self, error: Exception) -> None:
        """All of it, beside the line in the journal; until the run is begun again."""
        self.lease.check()
        write_atomic(self.folder / TRACEBACK, "".join(traceback.format_exception(error)).encode(errors="replace"))

    def finish(self, result: Record, weights: State, arrays: State | None = None) -> Record:
        """Make the run finished, or refused; returns the record. `arrays` are numpy's, of single test images."""
        self.lease.check()
        made = {"weights": _saved(weights)}
        if arrays:
            from harness.store.arrays import packed

            made["logits"] = packed(arrays)
        files = {what: self.folder / FILES_OF[what] for what in made}
        own = {what: file.with_stem(f"{file.stem}-{self.lease.number}") for what, file in files.items()}
        for what, data in made.items():
            write_atomic(own[what], data)
        digests = {what: sha256(data) for what, data in made.items()}
        head = {"format": FORMAT, "spec_id": self.spec_id, "seed": self.seed, "record": self.record}
        record = {**head, "finished": time.time(), **digests, "keeping": self.keeping, **result}
        data = _sealed(record)
        record["digest"] = digest(record)
        refused = result["status"] == "refused"  # evidence kept, and no result: it is trained again when asked for
        self.note(result["status"], safe=True, digest=record["digest"])  # first: where a result is, so is its line
        if refused:
            write_atomic(self.folder / "refused.json", data)
        else:
            try:
                write_first(self.folder / "result.json", data)
            except (FileExistsError, FileNotFoundError):  # it came to its end elsewhere, or was moved away
                raise Lost(None) from None
            for what, file in files.items():
                with suppress(FileNotFoundError):  # another has tidied up
                    os.rename(own[what], file)
            self.settle(record)
        self.sweep(0)
        return record

    def settle(self, record: Record) -> None:
        """Bring what attempts left to the form in which a finished run stays."""
        for what, name in FILES_OF.items():
            if what not in record:  # what there is, is of a result that was taken away
                (self.folder / name).unlink(missing_ok=True)
            for path in attempts(self.folder / name):
                with suppress(FileNotFoundError):  # another has tidied up
                    if sha256(path.read_bytes()) == record.get(what):
                        os.rename(path, self.folder / name)
                    else:
                        path.unlink()
        journal.merge(self.folder, record["digest"])

    def sweep(self, keep: int) -> None:
        """Remove all checkpoints but the newest."""
        found = [(m, path) for path in self.folder.iterdir() if (m := CHECKPOINT.fullmatch(path.name))]
        every = sorted((int(m[1] or 0), int(m[2]), path) for m, path in found)
        for _, _, path in every[: max(0, len(every) - keep)]:
            path.unlink(missing_ok=True)


def _saved(state: State) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
