"""An ablation-study harness for image classification."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from harness.outcomes import Results

__version__ = "0.1.0"


class Problem(Exception):
    """A user's mistake or a broken input: its text is one line saying what, where and what to do."""


def installed(package: str, extra: str) -> None:
    """Raises Problem, which names the extra, where an optional package is not installed."""
    if find_spec(package) is None:
        raise Problem(f'{package} is not installed, and this needs it: pip install "ablation-harness[{extra}]"')


def one_line(text: str, longest: int = 80) -> str:
    """A name from outside, fit to be shown: printable letters on one line, cut with an ellipsis.

    Control characters, terminal escapes, bidirectional overrides and lone surrogates go. What is special to a page or
    a table stays: whoever writes one escapes for it.
    """
    line = " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def without_password(text: str, address: str = "") -> str:
    """`text`, fit to be shown: without the passwords in all addresses that are in it.

    A password should have its @, : and / written as %40, and has not always: all up to the last @ of a word is taken
    for one. An error on such an `address` quotes parts of it, where it was cut at another place: they go too.
    """
    if address:
        plain = _NAMED.sub(r"\1***", address)
        begins, user = re.fullmatch(r"(?s)([\w+.-]*:/+)?(?:(.*)@)?.*", plain).groups("")  # type: ignore[union-attr]
        name, colon, secret = user.partition(":")
        secret = secret if colon or not begins.startswith("http") else name
        shown = plain.replace(f":{secret}@", ":***@") if colon else plain
        secrets = [secret, *(value for _, value in _NAMED.findall(address))]
        text = shown.join(_without(each, secrets) for each in text.split(address))
    text = _NAMED.sub(r"\1***", text)  # first: such a value may have an @
    text = re.sub(r"(:/+[^\s:/]*:)\S*@", r"\1***@", text)
    return re.sub(r"(https?:/+)[^\s:/@]+@", r"\1***@", text)  # a token


_NAMED = re.compile(r"(?i)\b([\w-]*(?:passw(?:or)?d|pwd|token|secret|api[_-]?key)(?:=|%3D))([^&\s]+)")


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        parts = {secret, unquote(secret), *re.split(r"[@:/?#&%\s]+", f"{secret} {unquote(secret)}")} - {""}
        for part in sorted(parts, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "***", text)
    return text


def named(name: str) -> bool:
    """Whether `name` may name a study: a file or a folder, in one place."""
    return bool(re.fullmatch(r"\w[\w@-]*", name)) and len(name.encode()) <= 200


def file_name(name: str) -> str:
    """`name`, fit to name a file or a folder. Raises Problem where it could lead elsewhere."""
    if not named(name):
        raise Problem(f"{one_line(name)!r} cannot be a study's name: letters, digits, _, - and @ only, 200 at most")
    return name


def results(study: str, test: str | None = None, metric: str | None = None) -> Results:
    """What a study that was run here came to: frames of its runs, and its networks; see `harness.outcomes`.

    `study` is the name of its report, "digits" or "digits@shapley", or its address, "./my_study.py". `test`, by which
    gains are judged: "moderated" or "t"; as the study was run, where none is given. `metric`, by which rungs are
    compared, one of `--metric`: the study's own, where none is given. Raises Problem where it was not run here.
    """
    from harness.outcomes import Results

    return Results(study, test, metric)
