"""How a command is asked to stop, by Ctrl-C or by whoever runs it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from time import monotonic, sleep
from typing import Protocol

ECHO = 0.5  # seconds in which a second Ctrl-C is still the first
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def unheard() -> Iterator[None]:
    """Processes that are started within it do not hear of it: Ctrl-C goes to the whole group, and is their parent's."""
    resource_tracker.ensure_running()  # else starting it, on the way to a process, would unblock them again
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # which a process inherits
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class Stoppable(Protocol):
    stopping: bool


@contextmanager
def asked_to_stop(who: Stoppable) -> Iterator[None]:
    """Within it the first SIGINT, SIGTERM or SIGHUP sets `who.stopping`, the next raises KeyboardInterrupt.

    One that follows within `ECHO` is the same: a launcher (timeout, uv run) passes on what its whole group was sent.
    Nor is a SIGHUP a next one: a shell and the kernel send it both. Where it is ignored (nohup), it stays so.
    """
    since = 0.0

    def ask(number: int, frame: object) -> None:
        nonlocal since
        if not who.stopping:
            who.stopping, since = True, monotonic()
        elif number != signal.SIGHUP and monotonic() - since > ECHO:
            raise KeyboardInterrupt("the same command goes on from what is kept")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hung_up = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    old = {number: signal.signal(number, ask) for number in STOPS if number != signal.SIGHUP or not hung_up}
    try:
        yield
    finally:
        sleep(max(0.0, since + ECHO - monotonic()))  # an echo may be under way yet
        for number, handler in old.items():
            signal.signal(number, handler)
