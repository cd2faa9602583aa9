"""What the command lines share: one clear line where they cannot go on, and output that may have no reader."""

import argparse
import errno
import io
import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def add_name(p: argparse.ArgumentParser) -> None:
    p.add_argument("--name", type=_name, metavar="NAME", help="the report is STUDY@NAME, not a hash of its settings")


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w-]{0,60}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: letters, digits, _ and -, 60 at most")
    return text


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


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int | None]) -> None:
    """Run, and exit: with 2 on a user's mistake, 130 on Ctrl-C, 1 on an error that nobody foresaw."""
    from harness import Problem, one_line

    displays = open_displays()
    try:
        options = parser.parse_args()
        if getattr(options, "shows", False):  # and does nothing else: it ends when nobody reads on, as `ls | head`
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
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
