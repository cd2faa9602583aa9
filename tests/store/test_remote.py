"""Runs sent to an address and brought from there: killed at every moment, damaged, and by several at once."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest
import torch

from harness.spec import plain, resolved
from harness.store import Store, remote, sha256
from harness.store.address import Address, Away
from harness.store.aside import everything
from harness.store.care import troubles
from harness.store.remote import pull, push
from tests.kit.stores import ANSWERED, add
from tests.kit.tiny import BASELINE, RESULT

ID = BASELINE.id
KEYS = [(ID, 0), (ID, 1), (ID, 2)]


def finish(store, seed, correct="ff80", **more):
    with store.claim(ID, seed) as claim:
        claim.begin({"spec": plain(BASELINE), "resolved": resolved(BASELINE)})
        arrays = ANSWERED | {"logits": (1 + seed) * ANSWERED["logits"]}
        claim.finish(RESULT | {"correct": correct} | more, {"w": torch.full((3,), float(seed))}, arrays)


@pytest.fixture
def stores(tmp_path):
    """One with three runs, and an empty one of another machine."""
    one, two = Store(tmp_path / "one" / "store"), Store(tmp_path / "two" / "store")
    for _, seed in KEYS:
        finish(one, seed)
    return one, two


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "there")


def told(moves):
    return {one.key[1]: (one.how, one.note) for one in moves}


def hows(moves):
    return sorted(one.how for one in moves)


def files(root, but=()):
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith(("claim", *but))}


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_runs_come_over_byte_for_byte(kind, stores, tmp_path):
    one, two = stores
    url = str(tmp_path / "there") if kind == "folder" else f"memory:/{tmp_path}"
    (one.folder(ID, 3)).mkdir()  # not begun
    assert hows(push(one, one, Address(url))) == ["moved"] * 3
    assert hows(pull(two, Address(url))) == ["moved"] * 3
    assert files(two.root) == files(one.root)
    assert not list(two.root.glob(".*"))
    assert [troubles(two, key) for key in KEYS] == [[]] * 3
    assert hows(push(one, one, Address(url))) == hows(pull(two, Address(url))) == ["there"] * 3


def test_what_is_asked_for_is_sent_and_each_file_once(stores, url):
    one, _ = stores
    assert [one.key for one in push(one, KEYS[1:2], Address(url))] == KEYS[1:2]
    list(push(one, KEYS, Address(url)))
    there = files(Path(url))
    own = {sha256(data) for data in files(one.root).values()}
    assert {name for name in there if name.startswith("files/")} == {f"files/{digest}" for digest in own}
    assert all(sha256(data) == name.removeprefix("files/") for name, data in there.items() if name in own)


def test_of_two_machines_that_trained_one_run_the_first_to_push_has_it(stores, url):
    one, two = stores
    list(push(one, KEYS, Address(url)))
    finish(two, 0, seconds=7.0)
    finish(two, 1, "ff40")
    before, own = files(Path(url)), files(two.root)
    for moves in (push(two, two, Address(url)), pull(two, Address(url))):
        seen = told(moves)
        assert seen[0][0] == "there"
        assert "trained here and there, with the same outcome" in seen[0][1]
        assert seen[1][0] == "different"
        assert f"{ID}, seed 1: trained here and there, AND DIFFERENT: each keeps its own" in seen[1][1]
    assert files(Path(url)) == before
    assert {name: data for name, data in files(two.root).items() if f"{ID}/2/" not in name} == own


def test_two_that_push_at_once_have_one_winner_a_run(tmp_path, url):
    stores = [Store(tmp_path / str(number) / "store") for number in range(2)]
    for store, correct in zip(stores, ("ff80", "ff40"), strict=True):
        for _, seed in KEYS:
            finish(store, seed, correct)
    addresses, seen = [Address(url) for _ in stores], [{}, {}]
    barrier = threading.Barrier(2)
    for address in addresses:  # both have looked, and found nothing, before either sends
        listed = address.listed

        def look(folder, listed=listed):
            found = listed(folder)
            barrier.wait()
            return found

        address.listed = look

    def go(number):
        seen[number] = told(push(stores[number], KEYS, addresses[number]))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, seed in KEYS:
        assert {seen[0][seed][0], seen[1][seed][0]} == {"moved", "different"}
        winner = stores[seen[1][seed][0] == "moved"]
        record = json.loads((Path(url) / f"runs/{ID}/{seed}.json").read_text())
        result = (winner.folder(ID, seed) / "result.json").read_bytes()
        assert record["files"]["result.json"]["sha256"] == sha256(result)


def test_a_run_whose_answer_was_lost_is_sent(stores, url):
    """The library asks again, and is told that one is there: its own."""
    address = Address(url)
    create = address.create

    def lose(name, data):
        create(name, data)
        raise FileExistsError(name)

    address.create = lose
    assert hows(push(stores[0], KEYS, address)) == ["moved"] * 3


def test_each_says_of_how_many(stores, url):
    assert [one.of for one in push(stores[0], KEYS, Address(url))] == [3] * 3


class Killed(Exception):
    """Stands for a kill: nothing catches it."""


class Dying(Address):
    """Dies at an operation, by its number, before or after it is done."""

    def __init__(self, url, at=10**9, after=False):
        super().__init__(url)
        self.at, self.after, self.done, self.dead = at, after, [], False

    def _do(self, work, name, *data):
        self.dead = self.dead or (len(self.done) == self.at and not self.after)
        if self.dead:
            raise Killed
        result = work(name, *data)
        self.done.append(name)
        self.dead = len(self.done) > self.at
        if self.dead:
            raise Killed
        return result

    def put(self, name, data):
        self._do(super().put, name, data)

    def create(self, name, data):
        self._do(super().create, name, data)

    def read(self, name):
        return self._do(super().read, name)


@pytest.mark.parametrize("after", [False, True])
def test_a_push_that_is_killed_anywhere_goes_on_and_sends_nothing_twice(after, stores, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "AT_ONCE", 1)
    one, _ = stores
    whole = Dying(f"{tmp_path}/whole")
    list(push(one, KEYS, whole))
    assert len(whole.done) > 10
    for at in range(len(whole.done)):
        url = f"{tmp_path}/{at}"
        first, two = Dying(url, at, after), Store(tmp_path / f"two-{at}" / "store")
        with pytest.raises(Killed):
            list(push(one, KEYS, first))
        if (Path(url) / "harness.json").exists():
            assert set(hows(pull(two, Address(url)))) <= {"moved"}, "what is a run there is a whole one"
        second = Dying(url)
        list(push(one, KEYS, second))
        sent = [name for name in first.done + second.done if name.startswith("files/")]
        assert sorted(sent) == sorted(name for name in whole.done if name.startswith("files/"))
        assert set(hows(pull(two, Address(url)))) <= {"moved", "there"}
        assert files(two.root) == files(one.root)


@pytest.mark.parametrize("after", [False, True])
def test_a_pull_that_is_killed_anywhere_goes_on_and_brings_nothing_twice(after, stores, url, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "AT_ONCE", 1)
    one, _ = stores
    list(push(one, KEYS, Address(url)))
    whole = Dying(url)
    list(pull(Store(tmp_path / "whole" / "store"), whole))
    assert len(whole.done) > 10
    for at in range(len(whole.done)):
        two = Store(tmp_path / f"two-{at}" / "store")
        first, second = Dying(url, at, after), Dying(url)
        with pytest.raises(Killed):
            list(pull(two, first))
        assert all(troubles(two, key) == [] for key in two), "what is seen is whole"
        assert all(key in two for key in two)
        for left in two.root.glob(".incoming.*"):  # as of a process that is no more
            left.rename(left.with_name(left.name.replace(str(os.getpid()), "4194305")))
        list(pull(two, second))
        assert files(two.root) == files(one.root)
        again = len([name for name in first.done + second.done if name.startswith("files/")])
        lost = after and first.done[-1].startswith("files/")  # it had arrived, and was not written yet
        assert again == len([name for name in whole.done if name.startswith("files/")]) + lost
        assert not list(two.root.glob(".*"))


def test_what_another_machine_gathers_is_left_to_it(stores, url):
    one, two = stores
    list(push(one, KEYS, Address(url)))
    theirs = two.root / ".incoming.elsewhere.4194305" / "x"
    theirs.mkdir(parents=True)
    list(pull(two, Address(url)))
    assert theirs.exists()


def test_what_was_gathered_of_another_record_of_a_run_does_not_enter(stores, url):
    one, two = stores
    list(push(one, KEYS, Address(url)))
    old = two.root / f".incoming.{socket.gethostname()}.4194305" / ID / "0"
    old.mkdir(parents=True)
    (old / "refused.json").write_text("{}")
    (old / "weights.pt").write_bytes(b"other")
    assert hows(pull(two, Address(url))) == ["moved"] * 3
    assert files(two.root) == files(one.root)


def test_what_is_of_another_size_is_not_even_read(stores, url):
    """It may be of any size."""
    one, two = stores
    list(push(one, KEYS[:1], Address(url)))
    weights = sha256((one.folder(ID, 0) / "weights.pt").read_bytes())
    (Path(url) / "files" / weights).write_bytes(b"much more")
    address = Dying(url)
    assert hows(pull(two, address)) == ["damaged"]
    assert f"files/{weights}" not in address.done


def harm(path, how):
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if how == "cut" else bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("what", ["weights.pt", "logits.npz", "result.json", "the run"])
def test_what_is_damaged_there_is_named_and_mended_by_who_has_it(what, how, stores, url):
    one, two = stores
    list(push(one, KEYS, Address(url)))
    record = Path(url) / f"runs/{ID}/1.json"
    path = record if what == "the run" else Path(url) / "files"
    if what != "the run":
        path = path / json.loads(record.read_text())["files"][what]["sha256"]
    harm(path, how)
    seen = told(pull(two, Address(url)))
    assert list(two) == [KEYS[0], KEYS[2]]
    if (what, how) != ("the run", "gone"):
        assert seen.pop(1)[0] == "damaged"
    assert {how for how, _ in seen.values()} == {"moved"}
    assert not list(two.root.glob(".*"))
    path.unlink(missing_ok=True)
    assert hows(push(one, KEYS, Address(url))) == ["moved", "there", "there"]
    assert hows(pull(two, Address(url))) == ["moved", "there", "there"]
    assert files(two.root) == files(one.root)


def test_what_is_missing_there_is_not_mended_by_another_record_of_the_run(stores, url):
    one, two = stores
    list(push(one, KEYS[:1], Address(url)))
    finish(two, 0, seconds=7.0)
    digest = sha256((one.folder(ID, 0) / "result.json").read_bytes())
    (Path(url) / "files" / digest).unlink()
    before = files(Path(url))
    how, note = told(push(two, two, Address(url)))[0]
    assert (how, f"files/{digest} is missing there, and is another here" in note) == ("damaged", True)
    assert files(Path(url)) == before


def test_a_note_on_damage_says_which_file_and_what_to_do(stores, url):
    one, two = stores
    list(push(one, KEYS[:1], Address(url)))
    record = Path(url) / f"runs/{ID}/0.json"
    digest = json.loads(record.read_text())["files"]["weights.pt"]["sha256"]
    harm(Path(url) / "files" / digest, "flipped")
    note = told(pull(two, Address(url)))[0][1]
    assert note == (
        f"{ID}, seed 0: left out: {url}/files/{digest} is missing or damaged: "
        "remove it there, and push again from where the run is"
    )


def test_a_file_that_is_torn_there_is_sent_again(stores, url):
    one, two = stores
    weights = (one.folder(ID, 0) / "weights.pt").read_bytes()
    Address(url).put(f"files/{sha256(weights)}", weights[:7])
    list(push(one, KEYS, Address(url)))
    assert hows(pull(two, Address(url))) == ["moved"] * 3


def changed(**fields):
    return lambda record: record | fields


@pytest.mark.parametrize(
    "change",
    [
        changed(seed=1),
        changed(spec_id="0" * 16),
        changed(more=1),
        changed(files={}),
        lambda record: record | {"files": record["files"] | {"../../x": record["files"]["spec.json"]}},
        lambda record: record | {"files": record["files"] | {"claim": record["files"]["spec.json"]}},
        lambda record: record | {"files": record["files"] | {"spec.json": {"sha256": "../../x", "bytes": 3}}},
        lambda record: record | {"files": {k: v for k, v in record["files"].items() if k != "journal.jsonl"}},
        lambda record: [],
    ],
)
def test_a_run_that_is_none_is_left_there(change, stores, url):
    one, two = stores
    list(push(one, KEYS[:1], Address(url)))
    path = Path(url) / f"runs/{ID}/0.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    before = files(two.root.parent.parent, but=["two"])
    assert told(pull(two, Address(url)))[0][0] == "damaged"
    assert list(two) == []
    assert files(two.root.parent.parent, but=["two"]) == before


def test_what_is_no_run_there_is_passed_over(stores, url):
    one, two = stores
    list(push(one, KEYS, Address(url)))
    for name in (
        "runs/x.json",
        "runs/x/7.json",
        f"runs/{ID}/00.json",
        f"runs/{ID}/0/1.json",
        "runs/../x",
        f"runs/{ID.upper()}/7.json",
    ):
        path = Path(url) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("?")
    assert hows(pull(two, Address(url))) == ["moved"] * 3


def test_a_run_begun_here_is_set_aside_and_one_being_trained_is_left(stores, url):
    one, two = stores
    list(push(one, KEYS[:1], Address(url)))
    with two.claim(ID, 0) as claim:
        claim.begin({"spec": plain(BASELINE), "resolved": resolved(BASELINE)})
        how, note = told(pull(two, Address(url)))[0]
        assert (how, "left out, process" in note) == ("held", True)
    assert KEYS[0] not in two
    assert hows(pull(two, Address(url))) == ["moved"]
    assert [each.key for each in everything(two)] == KEYS[:1]
    assert troubles(two, KEYS[0]) == []


def test_a_run_that_is_damaged_here_is_named_and_others_go(stores, url):
    one, two = stores
    harm(one.folder(ID, 1) / "weights.pt", "flipped")
    seen = told(push(one, KEYS, Address(url)))
    assert [seen[seed][0] for seed in range(3)] == ["moved", "damaged", "moved"]
    assert "weights.pt: is damaged" in seen[1][1]
    assert hows(pull(two, Address(url))) == ["moved"] * 2


def test_an_address_without_runs_is_said(stores, url):
    with pytest.raises(Away, match="holds no runs"):
        list(pull(stores[1], Address(url)))
    add(stores[1], BASELINE, 0)
    assert list(push(stores[1], [], Address(url))) == []
    assert list(pull(stores[1], Address(url))) == []
