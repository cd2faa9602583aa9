"""Faults of an object store: it refuses, is busy, slow, away, or loses answers, while runs are sent and brought."""

import os
import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from unittest import mock

from harness.store import Store
from harness.store.address import Address, Away
from harness.store.care import troubles
from harness.store.remote import Moved, pull, push
from tests.faults import Outcome, fault
from tests.kit.objects import Answer, Objects, error, served
from tests.kit.stores import add
from tests.kit.tiny import BASELINE

HARMS = ("412 to what it did", "409", "503", "slow", "cut", "away")


class Harm:
    """Strikes once, at a request that is drawn; `away` from there on, until the command has ended."""

    def __init__(self, how: str, at: int) -> None:
        self.how, self.at, self.struck = how, at, 0

    def before(self, method: str, path: str) -> Answer | None:
        creates = method == "PUT" and "/runs/" in path
        mine = self.how in ("503", "slow", "away") or (self.how == "409" and creates)
        if not mine or not self._due():
            return None
        if self.how == "slow":
            time.sleep(1)
            return None
        if self.how == "409":
            return error("409 Conflict", "ConditionalRequestConflict", "another request is in progress")
        return error("503 Slow Down", "SlowDown", "Please reduce your request rate.")

    def after(self, method: str, path: str, answer: Answer) -> Answer:
        if self.how == "412 to what it did" and method == "PUT" and "/runs/" in path and self._due():
            return error("500 Internal Server Error", "InternalError", "it was done")
        if self.how == "cut" and method == "GET" and "/team/" in path and self._due():
            return answer[0], answer[1][: len(answer[1]) // 2]
        return answer

    def _due(self) -> bool:
        self.at -= 1
        due = self.at < 0 if self.how == "away" else self.at in (-1, -2) if self.how == "503" else self.at == -1
        self.struck += due
        return due


@fault(quick=6, full=60)
def object_store_answering_412_409_503_slowly_and_not_whole(folder: Path, times: int, seed: int) -> Outcome:
    """Each in turn, at a request of a push or of the pull after it: a run is there once and whole, and sent once."""
    rng, message, sent = random.Random(seed), "", 0
    one, two = Store(folder / "one" / "store"), Store(folder / "two" / "store")
    own = {"AWS_MAX_ATTEMPTS": "2"}  # an absence is not waited out for a minute
    with served() as objects, mock.patch.dict(os.environ, own):
        address = Address(objects.url)
        for number in range(times):
            keys = [(BASELINE.id, 2 * number), (BASELINE.id, 2 * number + 1)]
            for _, at in keys:
                add(one, BASELINE, at)
            how, turn = HARMS[number % len(HARMS)], number // len(HARMS)
            pushing = how[0] == "4" or (how != "cut" and turn % 2 == 0)
            harm = Harm(how, rng.randrange(2 if how[0] == "4" else 8))
            push_all, pull_all = partial(push, one, keys, address), partial(pull, two, address)
            message = _struck(objects, harm if pushing else None, push_all) or message
            objects.asked.clear()
            assert {each.how for each in push_all()} == {"there"}
            sent += sum(objects.sent("/files/").values())
            message = _struck(objects, None if pushing else harm, pull_all) or message
            assert harm.struck, f"{how} met no request"
            for key in keys:
                assert troubles(two, key) == []
                for path in two.folder(*key).iterdir():
                    assert path.read_bytes() == (one.folder(*key) / path.name).read_bytes()
            assert set(two) == set(one)
            assert not list(two.root.glob(".*"))
    return Outcome(times, 0, sent, message)


def _struck(objects: Objects, harm: Harm | None, command: Callable[[], Iterable[Moved]]) -> str:
    """A command, and where it could not go on the same once more; the line that it ended with."""
    message = ""
    if harm:
        objects.before, objects.after = harm.before, harm.after
    try:
        moves = list(command())
    except Away as away:
        message = str(away)
        assert "the same command goes on from here" in message
        objects.calm()
        moves = list(command())
    finally:
        objects.calm()
    assert {each.how for each in moves} <= {"moved", "there"}, moves
    return message
