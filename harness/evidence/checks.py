"""A check: what evidence is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One measurement: `what` was `expected`, what was `seen`, and whether that will do."""

    what: str
    expected: str
    seen: str
    ok: bool
