"""Numbers and lists in sentences."""

from collections.abc import Iterable


def count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def together(items: Iterable[object]) -> str:
    """`a, b and c`."""
    every = list(map(str, items))
    return " and ".join(filter(None, [", ".join(every[:-1]), *every[-1:]]))
