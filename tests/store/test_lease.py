"""Claims that hold across machines. Another machine is one whose `kernel` says so, and that asks for no `flock`."""

import errno
import fcntl
import json
import os
import random
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import torch

from harness import Problem, paths
from harness.store import Held, Lost, Store, archive, journal, lease
from harness.store.care import holder, standing, troubles
from harness.store.lease import lock
from tests.faults.commands import FORKS, until
from tests.kit.mounts import mounted_twice
from tests.kit.stores import ANSWERED
from tests.kit.tiny import RESULT
from tests.store.test_store import FORMS, ID, state

T = 0.3


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv("HARNESS_LEASE", str(T))


def elsewhere(name):
    """Make this process one of another machine, with no lock in common."""
    as_on(name)
    lease.flock = lambda file, how, path: None


def as_on(name):
    os.environ["HARNESS_LEASE"] = str(T)
    lease.kernel = lambda: name
    lease.socket = type("socket", (), {"gethostname": staticmethod(lambda: name)})


def patient(folder):
    """The lock, when it can be had, and what lets go of it."""
    while True:
        stack = ExitStack()
        try:
            return stack, stack.enter_context(lock(folder))
        except Held:
            time.sleep(0.01)


def contend(name, folder, log, seed, seconds):
    """Take the lock again and again. While its holder may write, it notes when that began and ended."""
    elsewhere(name)
    rng, ends = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < ends:
        context, own = patient(folder)
        try:
            for _ in range(3):
                began = time.monotonic()
                own.check()
                with log.open("a") as file:
                    file.write(json.dumps([own.number, began, time.monotonic()]) + "\n")
                if rng.random() < 0.1:
                    os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.01)
        except Lost:
            pass
        context.close()


def test_of_machines_that_contend_pause_and_die_one_at_a_time_may_write(tmp_path):
    """Every look that found the lease its own lies after all those of lower numbers."""
    rng, logs = random.Random(0), [tmp_path / f"log-{n}" for n in range(3)]
    made = [FORKS.Process(target=contend, args=(f"m{n}", tmp_path / "a" / "0", logs[n], n, 3.0)) for n in range(3)]
    for process in made:
        process.start()
    os.kill(made[0].pid, 0)
    ends = time.monotonic() + 3.5
    while time.monotonic() < ends:
        time.sleep(rng.uniform(0, 3 * T))  # some sleep past their lease, some do not
        for process in made:
            if process.is_alive():
                os.kill(process.pid, signal.SIGCONT)
        if made[0].is_alive() and rng.random() < 0.2:
            made[0].kill()
    for process in made:
        process.kill()
        process.join()
    looks = [json.loads(line) for log in logs if log.exists() for line in log.read_text().splitlines()]
    first = {}  # by number: when a holder of it first knew that it was its own
    for number, _, ended in looks:
        first[number] = min(ended, first.get(number, ended))
    assert len(first) >= 10
    assert [look for look in looks if any(n > look[0] and look[1] > ended for n, ended in first.items())] == []


def hold(become, root, said):
    """Train, as far as this goes, step by step as told; what came of each step is told."""
    os.environ["HARNESS_LEASE"] = str(T)  # the server that this is forked from may be older than the test
    become()
    try:
        with Store(root).claim(ID, 0) as claim:
            claim.begin(FORMS)
            claim.note("epoch", epoch=0, loss=1.0)
            claim.keep(state(1), "me")
            said.send("holds")
            steps = {
                "note": lambda: claim.note("epoch", epoch=1, loss=2.0),
                "safe": lambda: claim.note("interrupted", safe=True),
                "keep": lambda: claim.keep(state(99), "me"),
                "traceback": lambda: claim.leave_traceback(ValueError("odd")),
                "finish": lambda: claim.finish(RESULT, {"w": torch.full((3,), 99.0)}),
            }
            while (step := said.recv()) != "let go":
                try:
                    steps[step]()
                    said.send("done")
                except Lost as lost:
                    said.send(str(lost))
    except Held as held:
        said.send(f"held: {held}")


@contextmanager
def training(root, become=bool):
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=hold, args=(become, root, theirs))
    process.start()
    assert ours.poll(60)
    try:
        yield process, ours, ours.recv()
    finally:
        process.kill()
        process.join()


def ask(pipe, step):
    pipe.send(step)
    assert pipe.poll(60)
    return pipe.recv()


def test_a_frozen_holder_loses_the_run_and_nothing_of_it_enters(tmp_path):
    store = Store(tmp_path)
    with training(tmp_path) as (process, pipe, said):
        assert said == "holds"
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(Held, match=f"process {process.pid} on {socket.gethostname()} holds"), store.claim(ID, 0):
            pass
        context, claim = until(lambda: taken(store), 10)
        with context:
            claim.begin(FORMS)
            assert claim.saved("me")["epoch"] == 1, "what it had kept is gone on from"
            os.kill(process.pid, signal.SIGCONT)
            assert ask(pipe, "note") == "done"  # it need not look for that; and it does not count
            for step in ("safe", "keep", "traceback", "finish"):
                told = f"process {os.getpid()} on {socket.gethostname()} took this run over"
                assert ask(pipe, step) == f"{told}: nothing of this attempt enters"
            claim.note("epoch", epoch=1, loss=3.0)
            claim.keep(state(2), "me")
            record = claim.finish(RESULT, {"w": torch.zeros(3)})
        assert ask(pipe, "finish").endswith("nothing of this attempt enters")
    assert store.read(ID, 0) == record
    assert store.weights(ID, 0)["w"].tolist() == [0, 0, 0]
    assert [event.get("loss") for event in store.events(ID, 0) if event["event"] == "epoch"] == [1.0, 3.0]
    assert sorted(os.listdir(store.folder(ID, 0))) == [
        *("claim", "journal.jsonl", "result.json", "spec.json", "weights.pt"),
    ]


def taken(store):
    """The claim and what lets go of it, if it can be had."""
    stack = ExitStack()
    try:
        return stack, stack.enter_context(store.claim(ID, 0))
    except Held:
        return None


def test_a_batch_that_takes_long_loses_no_run_and_who_looks_is_told_where_it_is_held(tmp_path):
    store = Store(tmp_path)
    with training(tmp_path, partial(elsewhere, "node7")) as (process, pipe, said):
        assert said == "holds"
        ends = time.monotonic() + 2.5 * T
        while time.monotonic() < ends:
            assert taken(store) is None
            assert standing(store, (ID, 0))["state"] == f"held by {process.pid} on node7"
            time.sleep(0.02)
        assert ask(pipe, "safe") == "done"
        pipe.send("let go")
        process.join()
    assert standing(store, (ID, 0))["state"] == "interrupted"
    with store.claim(ID, 0):
        pass  # at once: it was let go of


def test_one_that_dies_elsewhere_is_waited_for_and_one_that_dies_here_is_not(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with training(tmp_path, partial(elsewhere, "node7")) as (process, _, said):
        assert said == "holds"
        assert taken(store) is None
    died = time.monotonic()
    context, _ = until(lambda: taken(store), 10)
    assert time.monotonic() - died > T / 2
    context.close()
    with training(tmp_path) as (process, _, said):
        assert said == "holds"
        assert holder(store, (ID, 0)).pid == str(process.pid)
    assert standing(store, (ID, 0))["state"] == "killed"
    monkeypatch.setattr(lease, "_watched", {})
    with store.claim(ID, 0):
        pass


def test_who_looks_and_is_frozen_before_it_judges_takes_nothing(tmp_path, monkeypatch):
    """What it read is old by then: the holder has gone on."""
    store, clock = Store(tmp_path), [0.0]
    with training(tmp_path, partial(elsewhere, "node7")) as (process, _, said):
        assert said == "holds"
        os.kill(process.pid, signal.SIGSTOP)  # its beat stands still, and the clock is ours to say
        monkeypatch.setattr(lease.time, "monotonic", lambda: clock[0])
        folder = store.folder(ID, 0)
        assert not lease.newest(folder).over()
        seen = lease.newest(folder)
        clock[0] = 2 * T
        assert not seen.over()
        assert lease.newest(folder).over()
        monkeypatch.undo()
        os.kill(process.pid, signal.SIGCONT)


def test_a_file_that_went_with_a_takeover_is_a_run_lost_and_no_failure(tmp_path, monkeypatch):
    store = Store(tmp_path)

    def taken_over(file):
        """While it writes a checkpoint: the other removes what is half written."""
        monkeypatch.undo()
        os.fsync(file)
        monkeypatch.setattr(lease.Word, "over", lambda word: True)
        with store.claim(ID, 0):
            pass

    def keep():
        with store.claim(ID, 0) as claim:
            claim.begin(FORMS)
            monkeypatch.setattr(os, "fsync", taken_over)
            claim.keep(state(1), "me")

    with pytest.raises(Lost):
        keep()


def test_who_watches_for_others_takes_the_run_away_so_that_they_need_not(tmp_path, monkeypatch):
    """A cluster's workers are new each time: none of them has watched for a lease. The command has."""
    store = Store(tmp_path)
    with training(tmp_path, partial(elsewhere, "node7")) as (_, _, said):
        assert said == "holds"
        assert store.held((ID, 0))
    until(lambda: not store.held((ID, 0)), 10)
    monkeypatch.setattr(lease, "_watched", {})  # as in a new worker
    context, claim = taken(store)
    with context:
        assert claim.lease.number == 3


def test_a_machine_unheard_of_for_long_needs_no_watching(tmp_path):
    """By stamps of the file system; whose clock may be another than ours."""
    store = Store(tmp_path)
    with training(tmp_path, partial(elsewhere, "node7")):
        pass
    beat = store.folder(ID, 0) / "beat-1"
    for leases, state_, free in ((0, "held by", False), (2, "killed", False), (11, "killed", True)):
        then = time.time() - leases * T
        os.utime(beat, (then, then))
        assert standing(store, (ID, 0))["state"].startswith(state_)
        assert (store.set_aside(ID, 0) is not None) if free else taken(store) is None


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two claims of one run: the earlier was held up just after its last look, and the later took over."""
    store = Store(tmp_path)
    with ExitStack() as stack:
        claims = []
        for _ in range(2):
            claims.append(stack.enter_context(store.claim(ID, 0)))
            claims[-1].begin(FORMS)
            monkeypatch.setattr(lease.Word, "over", lambda word: True)
        monkeypatch.setattr(claims[0].lease, "check", lambda: None)
        yield store, *claims


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the later is late", "the earlier is late"])
def test_of_two_results_the_first_stands_with_its_weights_and_journal(two, order):
    store, *claims = two
    for number, claim in enumerate(claims):
        claim.keep(state(number), "me")
    won, lost = (claims[number] for number in order)
    record = won.finish(RESULT, {"w": torch.full((3,), 1.0)})
    with pytest.raises(Lost, match="nothing of this attempt enters"):
        lost.finish(RESULT, {"w": torch.full((3,), 2.0)})
    assert store.read(ID, 0) == record
    assert store.weights(ID, 0)["w"].tolist() == [1, 1, 1]
    store.tidy(ID, 0)
    assert {e["record"] for e in store.events(ID, 0) if e["event"] in ("checkpoint", "finished")} == {won.record}
    assert troubles(store, (ID, 0)) == []


def test_a_late_refusal_harms_no_result(two):
    store, late, claim = two
    claim.finish(RESULT, {"w": torch.full((3,), 1.0)})
    late.finish(RESULT | {"status": "refused"}, {"w": torch.full((3,), 2.0)})
    assert store.weights(ID, 0)["w"].tolist() == [1, 1, 1]
    assert troubles(store, (ID, 0)) == []


def test_the_weights_of_a_refused_run_go_when_it_is_begun_again(tmp_path):
    store = Store(tmp_path)
    for _ in range(3):
        with store.claim(ID, 0) as claim:
            claim.begin(FORMS)
            claim.finish(RESULT | {"status": "refused"}, {"w": torch.rand(3)})
        assert len(list(store.folder(ID, 0).glob("weights*"))) == 1
        assert troubles(store, (ID, 0)) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_links_the_first_wins_too(tmp_path, monkeypatch, number):
    def link(old, new):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    paths.write_first(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        paths.write_first(tmp_path / "a", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"one"
    with Store(tmp_path).claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.finish(RESULT, {})
    assert troubles(Store(tmp_path), (ID, 0)) == []


def test_a_link_whose_answer_was_lost_was_made(tmp_path, monkeypatch):
    """NFS asks again, and is told that the name is there."""
    link = os.link

    def twice(old, new):
        link(old, new)
        link(old, new)

    monkeypatch.setattr(os, "link", twice)
    paths.write_first(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        paths.write_first(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"


def test_half_a_claim_is_waited_for_as_one_of_elsewhere(tmp_path):
    store = Store(tmp_path)
    store.folder(ID, 0).mkdir(parents=True)
    (store.folder(ID, 0) / "claim-3").touch()
    with pytest.raises(Held), store.claim(ID, 0):
        pass
    context, claim = until(lambda: taken(store), 10)
    with context:
        assert claim.lease.number == 4


def test_a_record_of_before_there_were_leases_is_read_and_gone_on_with(tmp_path):
    """Its `claim` alone says that it is held, and its checkpoints bear one number."""
    store = Store(tmp_path)
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.keep(state(1), "me")
    folder = store.folder(ID, 0)
    lines = (folder / "journal-1.jsonl").read_bytes().splitlines()
    events = [journal.parse(line) | {"file": "checkpoint-1.pt"} for line in lines]
    (folder / "journal.jsonl").write_bytes(b"".join(journal.line({**e, "crc": None}) for e in events))
    (folder / "checkpoint-1-1.pt").rename(folder / "checkpoint-1.pt")
    for name in ("journal-1.jsonl", "claim-1", "beat-1"):
        (folder / name).unlink()
    with (folder / "claim").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        with pytest.raises(Held, match="process 4711 on"), store.claim(ID, 0):
            pass
        assert holder(store, (ID, 0)).pid == "4711"
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        assert claim.saved("me")["epoch"] == 1
        claim.finish(RESULT, {})
    assert [event["seq"] for event in store.events(ID, 0)] == [0, 1, 2, 3, 4]
    assert troubles(store, (ID, 0)) == []


@pytest.mark.parametrize("at", ["weights.pt", "logits.npz"])
def test_what_was_killed_just_after_its_result_is_whole_and_is_exported_in_order(at, tmp_path, monkeypatch):
    store = Store(tmp_path / "one")
    rename = os.rename

    def killed(old, new):
        if new.name == at:
            raise KeyboardInterrupt
        rename(old, new)

    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                claim.finish(RESULT, {"w": torch.ones(3)}, ANSWERED)
    assert (ID, 0) in store
    assert at.replace(".", "-1.") in os.listdir(store.folder(ID, 0))
    assert troubles(store, (ID, 0)) == []
    assert store.weights(ID, 0)["w"].tolist() == [1, 1, 1]
    assert store.logits(ID, 0)[1].tolist() == ANSWERED["logits"].tolist()
    assert archive.export(store, [(ID, 0)], tmp_path / "tar") == 1
    two = Store(tmp_path / "two")
    archive.bring(two, tmp_path / "tar")
    assert two.events(ID, 0) == store.events(ID, 0) != []
    there = ["journal.jsonl", "logits.npz", "result.json", "spec.json", "weights.pt"]
    assert sorted(os.listdir(two.folder(ID, 0))) == there


def test_who_has_moved_a_run_away_has_taken_it(two):
    store, _, claim = two
    store.set_aside(ID, 0)
    with pytest.raises(Lost, match="another process took this run over"):
        claim.keep(state(1), "me")
    assert not store.folder(ID, 0).exists()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_a_lease_is_a_number_of_seconds(text, monkeypatch):
    monkeypatch.setenv("HARNESS_LEASE", text)
    with pytest.raises(Problem, match=f"^HARNESS_LEASE={text}: seconds are needed, such as 90$"):
        lease.patience()


# --- two mounts of one folder: no lock in common, as of two machines -----------------------------------------------


@pytest.fixture
def mounts(tmp_path):
    with mounted_twice(tmp_path) as found:
        yield found


def test_two_mounts_do_not_both_claim_and_one_takes_over_from_the_other(mounts):
    one, two = mounts
    with training(one, partial(as_on, "node7")) as (process, _, said):
        assert said == "holds"
        with training(two, partial(as_on, "node8")) as (_, _, other):
            assert other == f"held: process {process.pid} on node7 holds this run"
        process.kill()
        process.join()
    context, claim = until(lambda: taken(Store(two)), 10)
    with context:
        claim.begin(FORMS)
        assert claim.saved("me")["epoch"] == 1
        claim.finish(RESULT, {})
    assert troubles(Store(one), (ID, 0)) == []
