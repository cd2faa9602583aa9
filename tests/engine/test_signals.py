"""How a command is asked to stop."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from harness.engine import ECHO, asked_to_stop
from tests.faults import commands  # noqa: F401  # what the processes below are forked from has imported already


def test_an_echo_of_ctrl_c_is_heard_as_the_first_and_a_later_one_is_another():
    stopped, before = SimpleNamespace(stopping=False), signal.getsignal(signal.SIGINT)
    echo = threading.Timer(ECHO / 2, os.kill, (os.getpid(), signal.SIGINT))
    with asked_to_stop(stopped):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.stopping
        echo.start()  # it comes when the work has ended
    echo.join()
    with pytest.raises(KeyboardInterrupt, match="goes on from what is kept"), asked_to_stop(stopped):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_hangs_up_stops_runs_unless_that_is_ignored(ignored):
    """Twice: a shell says so, and the kernel. `nohup` has it ignored, and so it stays."""
    stopped, handler = SimpleNamespace(stopping=False), signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with asked_to_stop(stopped):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                assert stopped.stopping == (not ignored)
                time.sleep(ECHO + 0.01)
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)
