"""One job in several processes of this machine at the same moment: what each came to, or why one did not."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from harness import Problem, one_line
from harness.engine.ranks import end_with
from harness.engine.signals import unheard
from harness.engine.worker import begin_as_worker, why

LONGEST = 900.0  # seconds until all have answered: photos that nobody read before are listed in them
METHOD = "spawn"  # how processes start: CUDA bears no fork
Job = Callable[[str, Callable[[], Any]], Any]


def together(job: Job, places: Sequence[str]) -> list[Any]:
    """What `job(place, ready)` returns in a process for each of `places`, in their order; `ready()` waits for all.

    No process outlives this call, nor its caller. Raises Problem, in the words of the first that fails.
    """
    context: Any = multiprocessing.get_context(METHOD)
    barrier, until = context.Barrier(len(places), timeout=LONGEST), time.monotonic() + LONGEST
    answers: list[Any] = [None] * len(places)
    processes: list[Any] = []
    left: dict[Any, int] = {}
    try:
        for place in places:
            ours, theirs = context.Pipe(duplex=False)
            processes.append(context.Process(target=_answer, args=(job, place, barrier, theirs)))
            left[ours] = len(processes) - 1
            with unheard():
                processes[-1].start()
            theirs.close()
        while left:
            heard = wait(list(left), max(0.0, until - time.monotonic()))
            if not heard:
                raise Problem(f"no answer in {LONGEST:.0f} s")
            pipe: Any
            for pipe in heard:
                try:
                    done, answer = pipe.recv()
                except (EOFError, OSError):
                    raise Problem("a process was killed") from None
                if not done:
                    raise Problem(answer)
                answers[left.pop(pipe)] = answer
        for process in processes:
            process.join(10)  # its own processes end with it
        return answers
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _answer(job: Job, place: str, barrier: Any, pipe: Any) -> None:
    begin_as_worker()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    try:
        told = True, job(place, barrier.wait)
    except Exception as error:
        told = False, one_line(why(error), 300)
    with suppress(OSError):
        pipe.send(told)
