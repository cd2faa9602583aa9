"""Faults of the world around a study: its MLflow, its images, its memory, its files, and the user's own hands."""

import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import struct
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from harness import Problem, study
from harness.engine import ECHO, execute, settle
from harness.parts.data import ImageFolder
from harness.report import frames
from harness.spec import Trick
from harness.store import Store, aside
from harness.study import Plan, Run, Study
from harness.tracking import FLUSH
from tests.faults import Inject, Outcome, fault, parts, served
from tests.faults.commands import Command, in_session, until
from tests.faults.served import database
from tests.kit import tiny

PEACE = tempfile.TemporaryDirectory(prefix="harness-undisturbed-")
os.environ.setdefault("HARNESS_RUNS", PEACE.name)  # for what this process reads of images
OWN = {"seconds", "seconds_per_epoch", "time", "finished", "peak_memory", "environment", "keeping", "record", "digest"}
LEFT = {"claim", "spec.json", "journal.jsonl", "weights.pt", "logits.npz", "result.json"}
Once = Callable[[Path, int, random.Random], tuple[int, str]]  # (folder, which time, …) to (batches redone, message)
BASELINE = ("own", "--only", "baseline", "--seeds", "1", "--jobs", "1")


# --- what must hold -------------------------------------------------------------------------------------------------


def home(folder: Path, source: str = tiny.SOURCE) -> Path:
    """A user's folder with the study `own`, and with MLflow's database, which it takes seconds to make."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "own.py").write_text(source)
    (folder / "runs").mkdir()
    shutil.copy(database(), folder / "runs" / "mlflow.db")
    return folder


def store_of(home: Path) -> Store:
    return Store(home / "runs" / "store")


def own(*settings: tuple[str, Any], tricks: Sequence[Trick] = tiny.TRICKS, seeds: int | None = None) -> Plan:
    return study.plan(Study("own", "", tiny.BASELINE, tuple(tricks), (0, 1)), settings, seeds)


def train(run: Run, store: Store) -> str:
    """Here, in this process; what it said last but for its epochs."""
    said = ["trained"]
    execute(*run, store, settle("cpu"), lambda event: said.append(event["text"]) if "text" in event else None)
    return said[-1]


def undisturbed(runs: Sequence[Run]) -> Store:
    store = Store(Path(PEACE.name) / "store")
    for run in runs:
        train(run, store)
    return store


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in OWN}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def whole(store: Store, runs: Sequence[Run], plan: Plan | None = None) -> int:
    """Each run is there once, as undisturbed, and nothing else is left of it; how many batches were trained again."""
    peace, again = undisturbed(runs), 0
    for spec, seed in runs:
        key = spec.id, seed
        assert json.dumps(timeless(store.read(*key))) == json.dumps(timeless(peace.read(*key)))
        ours, theirs = store.weights(*key), peace.weights(*key)
        assert list(ours) == list(theirs)
        assert all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in ours)
        events = store.events(*key)
        assert Counter(event["event"] for event in events)[store.read(*key)["status"]] == 1
        left = {path.name for path in store.folder(*key).iterdir()}
        assert left == LEFT, left
        again += redone(events, spec.data.load().counts["train"] // spec.batch_size)
    if plan:
        assert table(plan, store) == table(plan, peace, [(spec.id, seed) for spec, seed in runs])
    return again


def table(plan: Plan, store: Store, only: Sequence[tuple[str, int]] | None = None) -> str:
    described = study.describe(plan, store)
    for rung in described["rungs"]:
        rung["seeds"] = [seed for seed in rung["seeds"] if only is None or (rung["id"], seed) in only]
    text: str = frames.rungs(described, frames.runs(described, store)).drop(columns="seconds_per_epoch").to_json()
    return text


def redone(events: Sequence[dict[str, Any]], steps: int) -> int:
    """Batches that were trained again, as far as a journal knows, of epochs of so many `steps`."""
    reached = again = 0
    for i, event in enumerate(events):
        match event["event"]:
            case "started":
                on = next((e for e in events[i + 1 : i + 4] if e["event"] == "resumed"), {"epoch": 0, "batch": 0})
                again += reached - (on["epoch"] * steps + on["batch"])
                reached = on["epoch"] * steps + on["batch"]
            case "epoch":
                reached = max(reached, (event["epoch"] + 1) * steps)
            case "checkpoint":
                reached = max(reached, event["epoch"] * steps + event["batch"])
    return again


def epochs(store: Store, run: Run) -> int:
    """That are done of a run."""
    return sum(event["event"] == "epoch" for event in store.events(run[0].id, run[1]))


def further(store: Store, run: Run, before: int) -> bool:
    return epochs(store, run) > before


def last(store: Store, run: Run) -> str:
    return str(store.events(run[0].id, run[1])[-1]["event"])


def remembered(where: Path, plan: Plan, runs: Sequence[Run] | None = None) -> Store:
    """Runs of a plan, by default all, trained, and the plan known, as the command leaves it."""
    store = store_of(where)
    for run in runs or plan.runs():
        train(run, store)
    path = where / "runs" / "studies" / f"{plan.label}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(study.describe(plan, store)))
    return store


def planned(where: Path, *words: str, missing: int, code: int = 0) -> str:
    """What the command says on stderr of the plan, of which so many runs are missing."""
    with Command(where, "own", "--dry-run", *words) as command:
        command.ends(code)
        assert code or f" runs asked for, {missing} missing" in command.out, command.out
        return command.err.strip()


def each(quick: int, full: int) -> Callable[[Once], Inject]:
    """Enters a fault that is given for one time."""

    def enter(once: Once) -> Inject:
        @functools.wraps(once)
        def inject(folder: Path, times: int, seed: int) -> Outcome:
            seen = [once(folder / str(number), number, random.Random(f"{seed} {number}")) for number in range(times)]
            return Outcome(times, 0, sum(again for again, _ in seen), seen[-1][1])

        return fault(quick, full)(inject)

    return enter


# --- MLflow ---------------------------------------------------------------------------------------------------------


TWO = ("own", "--only", "baseline", "warmup", "--seeds", "1", "--jobs", "1", "--set", "epochs=12")


def two() -> tuple[Plan, list[Run]]:
    """The plan that `TWO` asks for, and its runs: the second begins when the first is finished."""
    plan = own(("epochs", 12), seeds=1)
    return plan, plan.runs(["baseline", "warmup"])


def synced(home: Path, uri: str) -> list[str]:
    """What `harness.sync` said, asked again while it says in a line that MLflow does not take them."""
    said = []
    for _ in range(20):
        with Command(home, module="harness.sync", MLFLOW_TRACKING_URI=uri) as command:
            until(lambda: command.code is not None)
            if command.ends(2 * bool(command.code)).code == 0:
                return [*said, command.out.strip()]
            said.append(command.said("harness.sync: MLflow at"))
    raise AssertionError(said)


def caught_up(command: Command, home: Path, uri: str, path: Path, runs: Sequence[Run]) -> str:
    """The line on MLflow, which has all then, or after the sync that the line asks for."""
    lacks = "lacks runs" in command.err
    if lacks:
        synced(home, uri)
    served.in_mlflow(path, store_of(home), runs, ended=not lacks)
    line = next(line for line in command.out.splitlines() if line.startswith("runs in MLflow:"))
    return command.said("lacks runs") if lacks else line


@each(quick=0, full=3)
def MLflow_server_stopped_and_restarted_in_mid_run(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """The second run begins while it is down. The last time it is `mlflow server` itself."""
    where, (plan, runs) = home(folder), two()
    store = store_of(where)
    with served.Server(where, fresh=number == 2) as server:
        server.start()
        with Command(where, *TWO, MLFLOW_TRACKING_URI=server.uri, forks=number == 0) as command:
            command.until(lambda: served.begun(server.database))
            server.stop()
            reached = min(12, epochs(store, runs[0]) + rng.randint(2, 6))
            command.until(lambda: epochs(store, runs[0]) >= reached)
            command.until(lambda: epochs(store, runs[1]) > 0)
            time.sleep(FLUSH)  # so that something was to be sent meanwhile
            server.start()
            message = caught_up(command.ends(0), where, server.uri, server.database, runs)
    return whole(store, runs, plan), message


@each(quick=0, full=2)
def MLflow_server_down_until_after_the_end(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Two syncs at once send all that it lacks, and the next has nothing to send."""
    where, (plan, runs) = home(folder), two()
    store = store_of(where)
    with served.Server(where) as server:
        with Command(where, *TWO, MLFLOW_TRACKING_URI=server.uri, fresh=True) as command:
            command.until(lambda: (runs[1][0].id, 0) in store)
            message = within(45, command).said("lacks runs")
        server.start()
        with (
            Command(where, module="harness.sync", MLFLOW_TRACKING_URI=server.uri) as one,
            Command(where, module="harness.sync", MLFLOW_TRACKING_URI=server.uri) as other,
        ):
            one.ends(0)
            other.ends(0)
        served.in_mlflow(server.database, store, runs)
        assert ": 0 of " in synced(where, server.uri)[-1]
        served.in_mlflow(server.database, store, runs)
    return whole(store, runs, plan), message


def within(seconds: float, command: Command, code: int = 0) -> Command:
    """That ends so, and soon."""
    began = time.monotonic()
    command.ends(code)
    took = time.monotonic() - began
    assert took < seconds, f"ended after {took:.0f} s"
    return command


@each(quick=0, full=2)
def MLflow_server_that_never_answers(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """The first time it never did; the second it is stopped in mid-run, goes on after the end, and a sync follows."""
    where, (plan, runs) = home(folder), two()
    store = store_of(where)
    with served.Server(where) as server, socket.create_server(("127.0.0.1", 0)) as deaf:
        uri = server.uri if number % 2 else f"http://127.0.0.1:{deaf.getsockname()[1]}"
        if number % 2:
            server.start()
        with Command(where, *TWO, MLFLOW_TRACKING_URI=uri, fresh=True) as command:
            if number % 2:
                command.until(lambda: served.logged(server.database))
                server.signal(signal.SIGSTOP)
            command.until(lambda: (runs[1][0].id, 0) in store)
            message = within(45, command).said("lacks runs")
        if number % 2:
            server.signal(signal.SIGCONT)
            caught_up(command, where, uri, server.database, runs)
    return whole(store, runs, plan), message


@each(quick=0, full=16)
def MLflow_server_that_dies_at_any_step(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """When it has done the first thing that a sync asks for, or another of the sixteen; another sync goes on."""
    where, plan = home(folder), own(("epochs", 12), seeds=1)
    runs = plan.runs(["baseline"])
    store = remembered(where, plan, runs)
    with served.Server(where, dies=1 + (number + 2) % 16) as server:
        server.start()
        with Command(where, module="harness.sync", MLFLOW_TRACKING_URI=server.uri) as command:
            until(lambda: command.code is not None)
            died = command.code == 2
            message = command.ends(2 * died).said("does not take them") if died else command.out.strip()
        if died:
            server.dies = None
            server.start()
            synced(where, server.uri)
        served.in_mlflow(server.database, store, runs, ended=not died)
    return whole(store, runs, plan), message


@each(quick=0, full=3)
def MLflow_server_that_loses_answers(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """It did what was asked, and asked again must not do it twice."""
    where, (plan, runs) = home(folder), two()
    with served.Server(where, loses=0.2) as server:
        server.start()
        with Command(where, *TWO, MLFLOW_TRACKING_URI=server.uri) as command:
            message = caught_up(command.ends(0), where, server.uri, server.database, runs)
    return whole(store_of(where), runs, plan), message


@each(quick=0, full=2)
def MLflow_server_hangs_and_goes_on(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """For longer than its client waits."""
    where, (plan, runs) = home(folder), two()
    with served.Server(where) as server:
        server.start()
        with Command(where, *TWO, MLFLOW_TRACKING_URI=server.uri) as command:
            command.until(lambda: "POST" in (where / "server.log").read_text())
            time.sleep(rng.uniform(0, 0.2) * number)
            server.signal(signal.SIGSTOP)
            time.sleep(13)
            server.signal(signal.SIGCONT)
            message = caught_up(command.ends(0), where, server.uri, server.database, runs)
    return whole(store_of(where), runs, plan), message


@each(quick=1, full=2)
def MLflow_database_locked(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """By another, from mid-run on, for half a minute; in the tests for a few seconds. Training ends meanwhile."""
    where, (plan, runs) = home(folder), two()
    store, path = store_of(where), where / "runs" / "mlflow.db"
    with (
        closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db,
        Command(where, *TWO, forks=number == 0) as command,
    ):
        command.until(lambda: epochs(store, runs[0]))
        db.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        command.until(lambda: (runs[1][0].id, 0) in store)
        (complete,) = db.execute("select count(*) from tags where key = 'complete'").fetchone()
        assert complete < 2, "nothing shows that it was locked"
        time.sleep(max(0.0, began + (30 if number else 5) - time.monotonic()))
        db.execute("COMMIT")
        message = caught_up(command.ends(0), where, f"sqlite:///{path}", path, runs)
    return whole(store, runs, plan), message


# --- images ---------------------------------------------------------------------------------------------------------

PHOTOS = '''"""Images of one's own."""
from harness.parts.data import ImageFolder
from tests.kit.tiny import BASELINE as TINY
BASELINE = TINY.but(data=ImageFolder(root="tree", size={size}), batch_size=10, epochs={epochs})
TRICKS = ()
SEEDS = (1, 0)
'''


def photos(home: Path, size: int, epochs: int) -> Plan:
    """The plan of `PHOTOS`, for this process."""
    data = ImageFolder(root=home / "tree", size=size)
    return study.plan(Study("own", "", tiny.BASELINE.but(data=data, batch_size=10, epochs=epochs), (), (1, 0)))


def tree(root: Path, rng: random.Random) -> list[Path]:
    """Two classes of noise, PNG, each with a BMP, of which no byte is checked; the PNGs for training."""
    for split, count in (("train", 20), ("val", 8)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for n in range(count):
                image = Image.frombytes("RGB", (84, 76), rng.randbytes(84 * 76 * 3))
                image.save(root / split / label / f"{n}.{'bmp' if n == 0 else 'png'}")
    return sorted((root / "train").glob("*/*.png"))


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(8, len(data) - 20)]


def scramble(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(8, len(data) // 2)
    return data[:at] + rng.randbytes(2000) + data[at + 2000 :]


def bomb(data: bytes, rng: random.Random) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    return data[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(30_000 * 3751))) + chunk(b"IEND", b"")


def nothing(data: bytes, rng: random.Random) -> bytes:
    return b""


def text(data: bytes, rng: random.Random) -> bytes:
    return b"a list of cats\n" * 20


SPOILS = (cut, scramble, bomb, nothing, text)


@fault(quick=1, full=12)
def images_that_do_not_decode(folder: Path, times: int, seed: int) -> Outcome:
    """Truncated, corrupt, a bomb, empty, text called .png: first all at once, then one at a time."""
    rng, where = random.Random(seed), home(folder, PHOTOS.format(size=32, epochs=2))
    files = tree(where / "tree", rng)
    plan, store = photos(where, 32, 2), store_of(where)
    done, todo = plan.runs()
    train(done, store)
    message = ""
    for number in range(times):
        spoils = SPOILS if number == 0 else (SPOILS[number % len(SPOILS)],)
        hurt = {path: (path.read_bytes(), spoil) for path, spoil in zip(rng.sample(files, 5), spoils, strict=False)}
        odd = where / "tree" / "train" / "cat" / "photo.txt"  # it shows by its content what it is
        odd.write_bytes(bomb(files[0].read_bytes(), rng) if number == 2 else b"read me")
        for path, (data, spoil) in hurt.items():
            path.write_bytes(spoil(data, rng))
        with Command(where, "own", "--jobs", "1") as command:
            command.ends(2)
            message = command.said("harness.ablate: ")
            assert all(f"{path.relative_to(where)} does not decode" in message for path in hurt), message
            assert f"{len(hurt) + (number == 2)} of 57 files" in message
        assert set(store) == {(done[0].id, done[1])}
        for path, (data, _) in hurt.items():
            path.write_bytes(data)
        odd.unlink()
    assert planned(where, missing=1) == ""
    train(todo, store)
    return Outcome(times, 0, whole(store, [done, todo], plan), message)


@each(quick=1, full=2)
def images_with_another_name(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Content decides: a JPEG called .txt is an image, a text is none, and both are said."""
    where = home(folder, PHOTOS.format(size=32, epochs=2))
    files = tree(where / "tree", rng)
    Image.open(files[0]).convert("RGB").save(where / "tree" / "train" / "cat" / "photo.txt", "JPEG")
    (where / "tree" / "train" / "dog" / "notes.txt").write_bytes(text(b"", rng))
    with Command(where, "own", "--dry-run") as command:
        command.ends(0)
        assert command.said("notes.txt") == "own: not an image, skipped: train/dog/notes.txt"
        message = command.said("photo.txt")
        assert message == "own: no image ending, read as an image by its content: train/cat/photo.txt"
    assert photos(where, 32, 2).rungs[0].spec.data.load().counts == {"train": 41, "test": 16}
    assert not store_of(where).root.exists()
    return 0, message


FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "QOI", "AVIF"]


@each(quick=1, full=20)
def flipped_bytes_in_images_of_every_format(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Under every name. What does not decode is named in one line, and with the rest the study is as it says."""
    files = tree(folder / "tree", rng)
    image = Image.open(files[0])
    for n in range(60):
        kind = rng.choice([kind for kind in FORMATS if kind in Image.SAVE])
        path = files[0].parent / f"odd{n}.{rng.choice([kind.lower(), 'txt'])}"
        image.save(path, kind)
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 2, 20])):
            data[rng.randrange(min(len(data), rng.choice([32, 200, 10**6])))] = rng.randrange(256)
        path.write_bytes(data)
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, of EXIF and the like
        while True:
            try:
                images = ImageFolder(root=folder / "tree", size=32).load()
                break
            except Problem as problem:
                message = str(problem)
                named = re.findall(r"(\S+) does not decode", message)
                assert named
                assert "\n" not in message
                for path in named:
                    Path(path).unlink()
    left = len(list((folder / "tree" / "train").glob("*/*")))
    told = next((note for note in images.notes if note.startswith("not an image, skipped: ")), "")
    names, _, more = told.partition(" and ")  # five are named
    skipped = names.count("train/") + int(more.removesuffix(" more") or 0)
    assert images.counts == {"train": left - skipped, "test": 16}
    return 0, message.replace(f"{folder}/", "")


@each(quick=0, full=4)
def image_that_goes_bad_in_mid_run(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """At photo sizes, where each epoch reads the files anew. The run fails, and goes on when the file is mended."""
    where = home(folder, PHOTOS.format(size=72, epochs=4))
    path = rng.choice(tree(where / "tree", rng))
    plan, store = photos(where, 72, 4), store_of(where)
    done, todo = plan.runs()
    train(done, store)
    data = path.read_bytes()
    with Command(where, "own", "--jobs", "1", "--checkpoint", "0", forks=number == 0) as command:
        command.until(lambda: epochs(store, todo))
        (where / "bad").write_bytes(SPOILS[number % len(SPOILS)](data, rng))
        (where / "bad").replace(path)
        message = command.ends(1).said("baseline, seed 0 failed: ")
    assert f"{path.relative_to(where)} does not decode" in message
    assert "Runs still missing: baseline (1 of 2)" in command.out
    assert last(store, todo) == "failed"
    path.write_bytes(data)
    assert train(todo, store).startswith("goes on from epoch")
    return whole(store, [done, todo], plan), message


# --- numbers and memory ---------------------------------------------------------------------------------------------

SPOILED = '''"""A NaN in one rung, and no memory for another."""
from tests.faults.parts import hungry, nan
from tests.kit.tiny import BASELINE
TRICKS = (nan, hungry)
SEEDS = (0, 1)
'''


@each(quick=1, full=3)
def NaN_in_mid_run(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Of one seed of one rung: it has diverged, counts, and is named; its sibling is as if nothing had been."""
    where, plan = home(folder, SPOILED.replace("(nan, hungry)", "(nan,)")), own(tricks=(parts.nan,))
    store, runs = store_of(where), plan.runs()
    with Command(where, "own", "--jobs", str(1 + number % 2), forks=number == 0) as command:
        lines = command.ends(0).out.splitlines()
    message = next(line for line in lines if "diverged" in line)
    assert message == "- 1 run diverged, and counted in n: nan seed 0."
    assert [line.split("|")[3].strip() for line in lines if line.startswith("| + NaN")] == ["2"]
    assert [store.read(spec.id, n)["status"] for spec, n in runs] == ["finished", "finished", "diverged", "finished"]
    baseline, sibling = (store.weights(rung.spec.id, 1) for rung in plan.rungs)
    assert all(tensor.equal(sibling[name]) for name, tensor in baseline.items()), "its part did nothing there"
    served.in_mlflow(where / "runs" / "mlflow.db", store, runs)
    return whole(store, runs, plan), message


@each(quick=1, full=3)
def out_of_memory(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """In one rung: the rest goes on. Then, in smaller passes as the line says, it is a new run of the same batch."""
    plan = own(tricks=(parts.nan, parts.hungry), seeds=1)
    smaller = own(("microbatch", 64), tricks=(parts.nan, parts.hungry), seeds=1)
    (rest,), (starved,), (fed,) = plan.runs(["baseline"]), plan.runs(["hungry"]), smaller.runs(["hungry"])
    where = home(folder, SPOILED)
    store = store_of(where)
    words = ("own", "--seeds", "1", "--jobs", str(1 + number % 2), "--only", "hungry")
    with Command(where, *words, "baseline", forks=number == 0) as command:
        message = command.ends(1).said("+ hunger, seed 0 failed: ")
        assert "1 run trained, 0 reused, 1 failed" in command.out
    for word in ("out of memory", "batch_size=128", "Hungry(blocks=(1, 1)", "FP32", "--set microbatch=64"):
        assert word in message, message
    assert last(store, starved) == "failed"
    with Command(where, *words, "--set", "microbatch=64", forks=number == 0) as command:
        command.ends(0)
    seen = {check["what"]: check["seen"] for check in store.read(fed[0].id, 0)["evidence"]}
    assert (seen["steps"], seen["forward passes in training"]) == ("8", "16")
    return whole(store, [rest, fed]), message


# --- the user's hands -----------------------------------------------------------------------------------------------


def struck(
    folder: Path, times: int, seed: int, strike: Callable[[Command, random.Random, int], str], fresh: int = 1
) -> Outcome:
    """Strike at a run that goes on each time, every second time while it saves after every batch; then let it end.

    Every third command is a fresh one, from number `fresh` on.
    """
    rng, where, message = random.Random(seed), home(folder), ""
    plan = own(("epochs", 70 + 15 * times), seeds=1)
    (run,), store = plan.runs(["baseline"]), store_of(where)
    words = (*BASELINE, "--set", f"epochs={run[0].epochs}", "--checkpoint")
    for number in range(times):
        with Command(
            where, *words, "60" if number % 2 else "0", forks=times == 1, fresh=number % 3 == fresh
        ) as command:
            command.until(functools.partial(further, store, run, epochs(store, run)))
            time.sleep(rng.uniform(0, 0.1))
            message = strike(command, rng, number)
        assert "failed" not in [event["event"] for event in store.events(run[0].id, run[1])]
        assert (run[0].id, run[1]) not in store
    if times == 1:
        note = train(run, store)
    else:
        with Command(where, *words, "60") as command:
            command.ends(0)
            note = command.said("goes on from epoch")
            assert "1 run trained, 0 reused" in command.out
    return Outcome(times, 0, whole(store, [run], plan), message or note)


@fault(quick=1, full=6)
def Ctrl_C(folder: Path, times: int, seed: int) -> Outcome:
    """To all processes of the terminal, as a terminal does; and once more, by a launcher that passes it on."""

    def strike(command: Command, rng: random.Random, number: int) -> str:
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(rng.uniform(0, ECHO / 4))
        os.kill(command.pid, signal.SIGINT)
        return asked_to_stop(command)

    return kept(folder, struck(folder, times, seed, strike, fresh=0 if times > 1 else 1))


@fault(quick=0, full=2)
def SIGTERM(folder: Path, times: int, seed: int) -> Outcome:
    """To the command alone, as a scheduler does."""

    def strike(command: Command, rng: random.Random, number: int) -> str:
        os.kill(command.pid, signal.SIGTERM)
        return asked_to_stop(command)

    return kept(folder, struck(folder, times, seed, strike))


@fault(quick=0, full=4)
def hang_up(folder: Path, times: int, seed: int) -> Outcome:
    """Of the terminal: all of its processes are told, and once more by the kernel when the shell has ended."""

    def strike(command: Command, rng: random.Random, number: int) -> str:
        os.killpg(command.pid, signal.SIGHUP)
        time.sleep(rng.uniform(0, ECHO))
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGHUP)
        return asked_to_stop(command)

    return kept(folder, struck(folder, times, seed, strike))


def asked_to_stop(command: Command) -> str:
    line = command.ends(130).said("harness.ablate: interrupted")
    assert line.endswith("1 of 1 run to go; the same command goes on from what is kept")
    return line


def kept(folder: Path, outcome: Outcome) -> Outcome:
    """Each interruption left a checkpoint and said so in the journal, and no batch was trained again."""
    ((spec_id, seed),) = store_of(folder)
    events = [event["event"] for event in store_of(folder).events(spec_id, seed)]
    stops = [i for i, event in enumerate(events) if event == "interrupted"]
    assert len(stops) == outcome.injected
    assert {events[i - 1] for i in stops} == {"checkpoint"}
    assert outcome.redone == 0
    return outcome


@fault(quick=0, full=6)
def Ctrl_C_twice(folder: Path, times: int, seed: int) -> Outcome:
    """While the run does not get to its next batch: the second, once it is no echo of the first, ends all at once."""

    def strike(command: Command, rng: random.Random, number: int) -> str:
        ((spec_id, seed),) = [(f.parents[1].name, int(f.parent.name)) for f in folder.rglob("journal-1.jsonl")]
        starts = [event for event in store_of(folder).events(spec_id, seed) if event["event"] == "started"]
        os.kill(starts[-1]["pid"], signal.SIGSTOP)
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(ECHO + rng.uniform(0.1, 0.5))
        assert command.code is None
        os.killpg(command.pid, signal.SIGINT)
        within(20, command, 130)
        line = command.said("harness.ablate: interrupted")
        assert line.endswith("interrupted; the same command goes on from what is kept")
        return line

    return struck(folder, times, seed, strike)


@fault(quick=0, full=6)
def kill_9_of_the_command(folder: Path, times: int, seed: int) -> Outcome:
    """Every second time with words from its workers unread. They end by themselves, and the next goes on."""

    def strike(command: Command, rng: random.Random, number: int) -> str:
        if number % 2 == 0:
            os.kill(command.pid, signal.SIGSTOP)
            time.sleep(0.5)
        os.kill(command.pid, signal.SIGKILL)
        until(lambda: not in_session(command.pid), 10, "the end of its workers")
        assert "Traceback" not in command.err, command.err
        return ""

    return struck(folder, times, seed, strike)


@fault(quick=0, full=8)
def Ctrl_C_at_any_moment(folder: Path, times: int, seed: int) -> Outcome:
    """From the first half second on, while Python still imports, workers start, or all is done."""
    rng, where, message = random.Random(seed), home(folder), ""
    plan = own(("epochs", 20), seeds=2)
    runs, store = plan.runs(["baseline"]), store_of(where)
    words = ("own", "--only", "baseline", "--seeds", "2", "--jobs", "2", "--set", "epochs=20")
    for number in range(times):
        with Command(where, *words, fresh=True) as command:
            time.sleep(0.5 + 11 * (number + rng.random()) / times)
            with suppress(ProcessLookupError):
                os.killpg(command.pid, signal.SIGINT)
            until(lambda: command.code is not None)
            assert command.code in (0, 130, -signal.SIGINT), command.err  # a shell says 130 of the last too
            command.ends(command.code)
            if command.code:
                message = command.said("harness.ablate: interrupted")
    assert message
    for run in runs:
        train(run, store)
    return Outcome(times, 0, whole(store, runs, plan), message)


# --- files that change ----------------------------------------------------------------------------------------------

EDITED = '''"""A study that is edited."""
from tests.kit.tiny import BASELINE as TINY, TRICKS
BASELINE = TINY.but(epochs=2, batch_size=128)
TRICKS = TRICKS[:1]
SEEDS = (0,)
'''
REORDERED = EDITED.replace("epochs=2, batch_size=128", "batch_size=128,\n    # as ever\n    epochs=2")


@each(quick=1, full=2)
def study_edited(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """What is another run is said, with why; what is not is silent."""
    where = home(folder, EDITED)
    file = where / "experiments" / "own.py"
    plan = study.plan(Study("own", "", tiny.BASELINE, tiny.TRICKS[:1], (0,)))
    store = remembered(where, plan)
    file.write_text(REORDERED)
    assert planned(where, missing=0) == ""
    with Command(where, "own") as command:
        command.ends(0)
        assert "0 runs trained, 2 reused" in command.out
        assert command.err == ""
    file.write_text(EDITED + "BASELINE = BASELINE.but(optimizer=TINY.optimizer.but(lr=0.2))\n")
    message = "own: baseline, warmup: new runs since optimizer.lr was 0.1 and is 0.2"
    assert planned(where, missing=2) == message
    with Command(where, "own", "--jobs", "1") as command:
        command.until(lambda: "\n" in command.err)
        assert command.err.splitlines()[0] == message
        if number % 2:
            command.ends(0)
    file.write_text(EDITED)
    said = planned(where, missing=0)
    assert not said or "optimizer.lr was 0.2 and is 0.1" in said or "the specification changed" in said  # none began
    return whole(store, plan.runs(), plan), message


@each(quick=1, full=2)
def data_changed(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """A byte, where size and time are kept too; a time alone; a label."""
    where = home(folder, PHOTOS.format(size=32, epochs=2))
    tree(where / "tree", rng)
    plan = photos(where, 32, 2)
    store = remembered(where, plan)
    path = where / "tree" / "train" / "cat" / "0.bmp"
    data, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert planned(where, missing=0) == ""

    os.utime(path, ns=(stamp, stamp + 10**9))
    assert planned(where, missing=0) == ""

    message = "own: baseline: new runs since the content of the data changed"
    flipped = bytearray(data)
    flipped[rng.randrange(60, len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(flipped)
    assert planned(where, missing=2) == message

    path.write_bytes(data)
    os.utime(path, ns=(stamp, stamp + 2 * 10**9))
    assert planned(where, missing=0) == ""
    path.write_bytes(flipped)
    os.utime(path, ns=(stamp, stamp + 2 * 10**9))
    assert planned(where, missing=2) == message
    assert planned(where, "--verify", missing=2) == message
    path.write_bytes(data)
    assert planned(where, missing=0) == ""

    (where / "tree" / "train" / "dog").rename(where / "tree" / "train" / "wolf")
    said = planned(where, missing=0, code=2)
    assert said.startswith(
        "harness.ablate: data.root=tree: classes differ: wolf is in train/ alone, dog is in val/ alone:"
    )
    (where / "tree" / "val" / "dog").rename(where / "tree" / "val" / "wolf")
    assert planned(where, missing=2) == message
    for split in ("train", "val"):
        (where / "tree" / split / "wolf").rename(where / "tree" / split / "dog")
    assert planned(where, missing=0) == ""
    return whole(store, plan.runs(), plan), message


@each(quick=1, full=2)
def fresh(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """What there was is put aside, whole; while another process holds a run, nothing is touched."""
    plan = own(seeds=2)
    runs = plan.runs(["baseline"])
    where = home(folder)
    store = store_of(where)
    for run in runs:
        train(run, store)
    old = {key: store.read(*key) for key in store}
    words = ("own", "--only", "baseline", "--seeds", "2", "--jobs", "1", "--fresh")
    with store.claim(runs[1][0].id, 1), Command(where, *words) as command:
        message = command.ends(2).said("harness.ablate: ")
        assert f"process {os.getpid()} on {socket.gethostname()} holds" in message
    assert {key: store.read(*key) for key in store} == old, "another process holds one, and others are gone"
    with Command(where, *words, forks=number == 0) as command:
        command.ends(0)
        assert "2 runs trained, 0 reused" in command.out
    again = whole(store, runs, plan)
    put = {one.key: one.path for one in aside.everything(store)}
    for key, record in old.items():
        assert json.loads((put[key] / "result.json").read_bytes()) == record
        assert {path.name for path in put[key].iterdir()} == LEFT
        assert store.read(*key)["record"] != record["record"]
    return again, message
