"""What the command lines share: one clear line where they cannot go on, output that may have no reader, `--json`."""

import argparse
import errno
import io
import json
import math
import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any, NoReturn, TextIO


def add_name(p: argparse.ArgumentParser) -> None:
    p.add_argument("--name", type=_name, metavar="NAME", help="the report is STUDY@NAME, not a hash of its settings")


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w-]{0,60}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: letters, digits, _ and -, 60 at most")
    return text


def add_metric(p: argparse.ArgumentParser, what: str) -> None:
    p.add_argument(
        "--metric",
        metavar="NAME",
        help=f"the metric {what}: top1, top5, loss, balanced_accuracy, macro_f1, worst_class, ece, seconds, or one "
        "of the study's METRICS",
    )


TRACKERS = ("mlflow", "tensorboard", "wandb")


def add_track(p: argparse.ArgumentParser, to: str = "show runs in") -> None:
    p.add_argument(
        "--track",
        nargs="+",
        choices=TRACKERS,
        default=["mlflow"],
        metavar="WHERE",
        help=f"{to} these: {', '.join(TRACKERS)} (default: mlflow)",
    )


class Display(io.FileIO):
    """Standard output or error. Where its reader is gone, a pipe's or a terminal, what is written is lost, no more.

    `failed` is the first error of another cause, such as a full disk: what was written is not whole then.
    """

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:  # full, where another program made it non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            if isinstance(error, ConnectionError) or error.errno == errno.EIO:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.fileno())  # for the processes that are started from now on, too
                os.close(null)
            else:
                self.failed = self.failed or OSError(error.errno, error.strerror, self.name)
            return memoryview(data).nbytes


def open_displays() -> list[Display]:
    """Make standard output and error such that no print fails: for lack of a reader, or of a letter (γ, ±)."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would have its number, and get what others print
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    made = []
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):  # not a test's or a notebook's
            display = Display(stream.fileno(), "w", closefd=False)
            display.name = f"<{name}>"
            lines, buffer = stream.line_buffering or stream.write_through, io.BufferedWriter(display)
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=lines))
            made.append(display)
    return made


ENDS = (
    "Exit status: 0, done; 1, something failed or does not hold, which is said; 2, a mistake in what was asked for, in "
    "one line; 130, interrupted."
)


@dataclass
class Output:
    """How this command speaks, and what it came to."""

    json: bool = False
    quiet: bool = False
    answer: Any = None
    words: list[str] = field(default_factory=list)  # what was printed, where a program reads


output = Output()


def answer(value: Any) -> None:
    """What this command came to, as `--json` prints it: mappings, lists, numbers, texts and paths. The last counts."""
    output.answer = value


def jsonable(value: Any) -> Any:
    """JSON's own values: numpy's numbers as Python's, paths as text, and null for what is no finite number."""
    if value is None or type(value) in (str, int, bool):  # nearly all of the runs of a large study
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    value = str(value) if isinstance(value, PurePath) else value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _add(parser: argparse.ArgumentParser) -> None:
    """Give a command, and each command within it, what all have: --json, --quiet, and the meaning of its exit status.

    Only `main` does, when the other options are there.
    """
    parser.epilog = " ".join(filter(None, [parser.epilog, ENDS]))
    parser.error = partial(_mistaken, parser)  # type: ignore[method-assign]
    how, flag = parser.add_argument_group("output"), {"action": "store_true", "default": argparse.SUPPRESS}
    how.add_argument("--json", help="the result as JSON on stdout, and words on stderr", **flag)  # type: ignore[arg-type]
    how.add_argument("--quiet", help="no words but warnings and errors", **flag)  # type: ignore[arg-type]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _add(command)


def _mistaken(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """A mistake in the words of a command, in one line, and as JSON where they ask for it."""
    from harness import one_line

    told = one_line(message, 2000)
    if "--json" in sys.argv:
        print(json.dumps({"error": told}, indent=1))
    print(f"{parser.prog}: {told}; see --help", file=sys.stderr)
    sys.exit(2)


class _Words(io.TextIOBase):
    """Standard output where a program reads it: words go to standard error, and are kept."""

    def write(self, text: str, /) -> int:
        output.words.append(text)
        return len(text) if output.quiet else sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def _spoken(options: argparse.Namespace) -> Iterator[None]:
    """Within it words go where the options say; what a program reads comes last, and alone."""
    global output
    output = Output(getattr(options, "json", False), getattr(options, "quiet", False))
    out: TextIO = sys.stdout
    if output.json or output.quiet:
        sys.stdout = _Words()
    try:
        yield
        told = {"words": "".join(output.words).splitlines()} if output.answer is None else output.answer
        _print(told, out)
    except (Exception, KeyboardInterrupt) as error:
        _print({"error": " ".join(f"{error}".split()) or type(error).__name__}, out)
        raise
    finally:
        sys.stdout = out


def _print(told: Any, out: TextIO) -> None:
    if output.json:
        print(json.dumps(jsonable(told), indent=1, allow_nan=False), file=out)


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int | None]) -> None:
    """Run, and exit as `ENDS` says: with 2 on a user's mistake, 130 on Ctrl-C, 1 on an error that nobody foresaw."""
    from harness import Problem, one_line

    displays = open_displays()
    _add(parser)
    try:
        options = parser.parse_args()
        if getattr(options, "shows", False):  # and does nothing else: it ends when nobody reads on, as `ls | head`
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        with _spoken(options):
            code = run(options)
        sys.stdout.flush()
        for failed in filter(None, (display.failed for display in displays)):
            raise failed
        sys.exit(code)
    except Problem as problem:
        print(f"{parser.prog}: {one_line(str(problem), 2000)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as told:
        print("\n" + "; ".join([f"{parser.prog}: interrupted", *map(str, told.args)]), file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # of a user's own part or study, or a fault of ours
        print(f"{parser.prog}: {_crashed(error)}", file=sys.stderr)
        sys.exit(1)


def _crashed(error: Exception) -> str:
    """An error that nobody foresaw, in a line; all of it is left beside the runs."""
    from harness import Problem
    from harness.paths import runs, write_atomic
    from harness.spec import blame

    told = blame.told(error)
    with suppress(OSError, Problem):
        path = runs() / "traceback.txt"
        write_atomic(path, "".join(traceback.format_exception(error)).encode(errors="replace"))
        return f"{told}; the whole traceback is in {path}"
    return told
