"""An ablation-study harness for image classification."""

import re

__version__ = "0.1.0"


class Problem(Exception):
    """A user's mistake or a broken input: its text is one line saying what, where and what to do."""


def one_line(text: str, longest: int = 80) -> str:
    """A name from outside, fit to be shown: printable letters on one line, cut with an ellipsis.

    Control characters, terminal escapes, bidirectional overrides and lone surrogates go. What is special to a page or
    a table stays: whoever writes one escapes for it.
    """
    line = " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def without_password(address: str) -> str:
    """A database's address, fit to be shown."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", address))


def named(name: str) -> bool:
    """Whether `name` may name a study: a file or a folder, in one place."""
    return bool(re.fullmatch(r"\w[\w@-]*", name)) and len(name.encode()) <= 200


def file_name(name: str) -> str:
    """`name`, fit to name a file or a folder. Raises Problem where it could lead elsewhere."""
    if not named(name):
        raise Problem(f"{one_line(name)!r} cannot be a study's name: letters, digits, _, - and @ only, 200 at most")
    return name
