"""One process's life: take a run, train it, say what happens."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import Problem
from harness.cli import open_displays
from harness.engine.environment import environment, repository
from harness.engine.mps import used_mps
from harness.engine.ranks import Beside, end_with, gathered
from harness.engine.scheduler import Event
from harness.engine.signals import STOPS
from harness.evidence import Upstream, apart
from harness.parts.data import decoding
from harness.ranks import Gone, Over, joined
from harness.spec import Spec, blame, needed, plain, resolved, sources
from harness.store import EVERY, TRACEBACK, Claim, Held, Lost, Store
from harness.study import Run
from harness.train import LAYOUT, PLAIN, How, Keeper, State, train

Say = Callable[[Event], None]
STOP = "stop"  # said to a worker: keep the run that you train, and leave it
FAULT = 71  # the exit code of a worker whose card failed, by its own run or by another that MPS serves


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h, in bytes


def begin_as_worker() -> None:
    """In a process that works for another: what a terminal sends to all is for its parent to heed."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # a parent that is gone is seen by its pipe
    open_displays()  # a user's part may print


def settle(place: str) -> Any:
    """Set this process up to train on the device of that name, which is returned."""
    import torch

    device = torch.device(place)
    if device.type == "cpu":
        torch.set_num_threads(1)  # one thread a process: fastest together, and bits do not depend on `jobs`
        keep_freed()
    elif device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True  # and no benchmark, whose pick of algorithms changes the bits
    return device


def keep_freed() -> None:
    """Have what is freed stay with this process: given back, each page of the next batch's tensors would be a fault.

    By glibc's malloc; where there is another, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, most in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, most)


class Interrupted(Exception):
    """The run was asked to stop, and is kept."""


class _Kept(Keeper):
    """Keeps a run by its claim, and says how it goes; `stop` tells whether to leave it at the next batch."""

    def __init__(self, claim: Claim, by: str, say: Say, stop: Callable[[], bool], how: How) -> None:
        self.claim, self.by, self.say, self.stop, self.how = claim, by, say, stop, how
        self.stopping = False

    def saved(self) -> State | None:
        state = self.claim.saved(self.by)
        happened = self.claim.since_start()
        for event in happened:
            if event["event"] == "resumed":
                epoch, batch = event["epoch"], event["batch"]
                at = f"{epoch + 1}, batch {batch + 1}" if batch else f"{epoch}'s end"
                text = f"goes on from epoch {at}"
            else:
                text = f"passes over {event['file']}: {event['why']}"
            self.say({"kind": "note", "text": text})
        if happened and state is None:
            self.say({"kind": "note", "text": "starts anew: no checkpoint will do"})
        return state

    def due(self, epoch_done: bool) -> bool:
        self.stopping = self.stop()
        return self.stopping or self.claim.due(epoch_done)

    def leave(self) -> None:
        """Where there is no next batch to stop at: the run goes on from its last checkpoint."""
        if self.stop():
            raise Interrupted

    def keep(self, state: State) -> None:
        self.claim.keep(state, self.by)
        if self.stopping:
            raise Interrupted

    def report(self, event: Event) -> None:
        if "batch" not in event:
            self.claim.note("epoch", **event)
        self.say({"kind": "batch" if "batch" in event else "epoch", "at": event})


def work(connection: Connection, store: Store, place: str, decoding: int, every: float, how: How) -> None:
    """A process's life: take a run, train it, say what happens; until told None, or the parent is gone."""
    begin_as_worker()
    os.environ.setdefault("HARNESS_DECODERS", str(decoding))  # what a user set stays
    device = settle(place)

    def say(event: Event) -> None:
        with suppress(OSError):  # the parent is gone, and `poll` will say so
            connection.send(event)

    while True:
        try:
            run: tuple[Run, Beside] | str | None = connection.recv()
        except (EOFError, OSError):  # the parent is gone
            return
        except Exception as error:  # a module of the user's, which this process imports for the first time
            say({"kind": "failed", "why": why(error)})
            continue
        if run is None:
            return
        if isinstance(run, str):  # it is STOP, of a run that had just ended
            continue
        ended = attempt(run[0], store, device, say, connection.poll, every, run[1], how)
        dead = ended["kind"] == "failed" and not alive(device)
        if dead and used_mps():  # one client's fault ends all: whose it was cannot be told, so that all are lost
            os._exit(FAULT)
        say(ended)
        if dead:  # no run would do here
            return


def alive(device: Any) -> bool:
    """Whether a device still works for this process: after some errors of CUDA nothing does."""
    import torch

    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def attempt(
    run: Run,
    store: Store,
    device: Any,
    say: Say,
    stop: Callable[[], bool],
    every: float = EVERY,
    beside: Beside = Beside(),  # noqa: B008
    how: How = PLAIN,
) -> Event:
    """Execute a run: how that ended."""
    spec, seed = run
    try:
        trained = execute(spec, seed, store, device, say, stop, every, beside, how)
    except Held as held:
        if isinstance(held, Lost):
            say({"kind": "note", "text": str(held)})
        return {"kind": "held", "pid": f"{held.owner.pid} on {held.owner.host}"}
    except Interrupted:
        return {"kind": "interrupted"}
    except Exception as error:
        more = (store.folder(spec.id, seed) / TRACEBACK).exists() and not isinstance(error, Problem)
        advice = f"; the whole traceback: python -m harness.store show {spec.id}/{seed}" if more else ""
        return {"kind": "failed", "why": why(error, spec, how.sharing) + advice}
    return {"kind": "finished"} if trained else {"kind": "finished", "reused": True}


def execute(
    spec: Spec,
    seed: int,
    store: Store,
    device: Any,
    say: Say = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    every: float = EVERY,
    beside: Beside = Beside(),  # noqa: B008
    how: How = PLAIN,
) -> bool:
    """Train one run into the store, unless it is there by the time the claim is ours; from its checkpoint, if any.

    Returns whether it was trained. One of several ranks is trained
    `beside` too. Raises Held where another process has it, Lost where one took it over, and Interrupted when `stop`
    said so and the run is kept.
    """
    import torch

    with store.claim(spec.id, seed, every) as claim:
        if (spec.id, seed) in store:
            return False
        if spec.but().id != spec.id:
            raise Problem("its data has changed since the plan was made: start again")
        around, own = environment(device, how.sharing), sources.of(spec)
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        say({"kind": "started"})
        try:
            by = ", ".join(
                [f"torch {torch.__version__} on {device.type}, layout {LAYOUT}", *map(" ".join, own.items())]
            )
            keeper = _Kept(claim, by, say, stop, how)
            decoding.waiting = keeper.leave
            following = partial(follow, spec=spec, seed=seed, root=store.root)
            with gathered(spec, device, beside, following) as ranks:
                trained = train(spec, seed, device, upstream_of(store, spec, seed), keeper, ranks)
            if device.type != "cpu" and "why" in (passes := trained.result.get("passes", {})):
                say({"kind": "note", "text": f"has no CUDA graphs from some step on: {passes['why']}"})
        except Interrupted:
            claim.note("interrupted", safe=True)
            raise
        except Lost:  # the journal is another's
            raise
        except Exception as error:
            with suppress(OSError):  # the disk may be full
                claim.note("failed", why=why(error, spec, how.sharing))
                if not isinstance(error, Problem):
                    claim.leave_traceback(error)
            raise
        finally:
            decoding.waiting = decoding.go_on
        made = {**trained.result, "environment": around}
        if own:  # the package's own parts are of its commit
            made |= {"sources": own, "repository": ", ".join(dict.fromkeys(map(repository, sources.files(own))))}
        check = apart(made["seen"], siblings(store, spec.id, seed))
        made["evidence"] = [*made["evidence"], {"part": "split", **asdict(check)}]
        if not check.ok:
            made["status"] = "refused"
        record = claim.finish(made, trained.model.state_dict(), trained.arrays)
    if record["status"] == "refused":
        bad = next(check for check in record["evidence"] if not check["ok"])
        seen = f"{bad['part']}, {bad['what']}: expected {bad['expected']}, seen {bad['seen']}"
        raise Problem(f"REFUSED by its evidence: {seen}; see {store.folder(spec.id, seed)}")
    return True


def upstream_of(store: Store, spec: Spec, seed: int) -> Callable[..., Upstream]:
    """How a run finds what it builds on, in the store."""
    first = dict(needed(spec, seed))  # what it holds comes after what that holds

    def inner(upstream_spec: Spec, upstream_seed: int | None = None) -> Upstream:
        """The trained run of a specification; where no seed is said, of the one that this run needs."""
        at = first[upstream_spec] if upstream_seed is None else upstream_seed
        record = store.read(upstream_spec.id, at)
        if record["status"] != "finished":
            raise Problem(f"the run it builds on, {upstream_spec.id}, was {record['status']}")
        model = upstream_spec.model.build(upstream_spec.data.channels, len(upstream_spec.data.load().classes))
        model.load_state_dict(store.weights(upstream_spec.id, at))
        return Upstream(model, record["spec_id"], record, record["seed"])

    return inner


def follow(pipe: Any, rank: int, file: Path, far: bool, place: str, *, spec: Spec, seed: int, root: Path) -> None:
    """The life of a rank that is not 0: it trains as rank 0 does, and keeps nothing."""
    begin_as_worker()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    try:
        device = settle(place)
        with joined(rank, spec.places, file, device, far) as own:
            train(spec, seed, device, upstream_of(Store(root), spec, seed), ranks=own)
    except (Over, Gone):  # another's end is rank 0's to see
        os._exit(0)
    except Exception as error:
        with suppress(OSError):
            pipe.send(why(error, spec))
        os._exit(1)


def siblings(store: Store, spec_id: str, seed: int) -> dict[int, dict[str, str]]:
    """What the finished runs of a specification showed, by their seeds, but for this one."""
    return {own: record.get("seen") or {} for own, record in store.finished(spec_id) if own != seed}


def why(error: Exception, spec: Spec | None = None, sharing: int = 1) -> str:
    """One line: what went wrong, where in the user's code if it went through that, and what to do.

    `sharing` is how many runs were on its card.
    """
    import torch

    starved = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    if starved and spec:
        batch = f"batch_size={spec.batch_size}" + (f", microbatch={spec.microbatch}" if spec.microbatch else "")
        half = (spec.microbatch or spec.batch_size) // 2
        smaller = "" if spec.microbatch else f"--set batch_size={half}, or "
        passes = f"--set microbatch={half}, which keeps the batch but shows batch norm {half} images at a time"
        advice = smaller + passes if half else "take a smaller model, or another device"
        many = f" with {sharing} runs on the card" if sharing > 1 else ""
        if many:
            advice = f"let fewer runs share a card, by --jobs N (default: one a card); or {advice}"
        return f"out of memory at {batch}, {spec.model!r}, {type(spec.precision).__name__}{many}: {advice}"
    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, OSError) and not blame.blamed(error):
        return f"{error}: mend that, and the same command goes on from the last checkpoint"
    return blame.told(error)
