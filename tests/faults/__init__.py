"""Faults that a study must survive, each with its injection: one table; the tests run a part, `make faults` all.

A fault is a function of (a folder of its own, how many times to inject it, a seed). It asserts what must hold of every
fault: each finished run is there exactly once, no half-run enters a table, results, weights and the table equal the
undisturbed ones bit for bit (durations aside), and the user reads one clear line. It returns what it saw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    injected: int
    lost: int  # finished runs that were gone, or trained twice
    redone: int  # batches trained more than once
    message: str  # the line that the user reads


Inject = Callable[[Path, int, int], Outcome]


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Inject
    quick: int  # times in `make test`
    full: int  # times in `make faults`


FAULTS: dict[str, Fault] = {}


def fault(quick: int, full: int) -> Callable[[Inject], Inject]:
    """Enters a function in the table under its name, which says what happens; `quick=0` keeps it out of the tests."""

    def enter(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, inject, quick, full)
        return inject

    return enter
