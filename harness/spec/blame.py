"""Which line went wrong: an error in one line, which names the user's own code if it went through that."""

import re
import sysconfig
import traceback
from pathlib import Path

import pydantic

from harness import one_line
from harness.spec.canonical import first_error

INSTALLED = {"site-packages", "dist-packages"}
RERAISED = "Original Traceback (most recent call last):"  # what torch puts into the error of a decoding process


def told(error: BaseException) -> str:
    """An error in one line: what it is, and the deepest line of the user's own code, else of any, that it came from."""
    text = str(error).rstrip().rpartition("\n")[2] if RERAISED in str(error) else f"{type(error).__name__}: {error}"
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    place = blamed(error) or (frames[-1] if frames else None)
    return one_line(f"{text} ({Path(place[0]).name}:{place[1]})" if place else text, 1000)


def blamed(error: BaseException) -> tuple[str, int] | None:
    """The file and line where an error went deepest into code that is the user's; None where it did not.

    Of an error that torch raised again, for one of a decoding process, by the traceback that its text holds.
    """
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    frames += [(file, int(line)) for file, line in re.findall(r'File "(.+?)", line (\d+)', str(error))]
    return next((frame for frame in reversed(frames) if _is_users(frame[0])), None)


def _is_users(file: str) -> bool:
    library = (sysconfig.get_path("stdlib"), f"{Path(__file__).parents[1]}/", "<")
    return not file.startswith(library) and not INSTALLED & set(Path(file).parts)


def whence(error: BaseException, path: Path | None = None) -> str:
    """An error in a line: what, and the deepest line of the user's own code, which may be of `path`, it came from."""
    text = first_error(error) if isinstance(error, pydantic.ValidationError) else error
    own = None if isinstance(error, SyntaxError) else blamed(error)  # which says its own
    file = "" if not own or own[0] == str(path) else f"{Path(own[0]).name}, "
    line = f" ({file}line {own[1]})" if own else ""
    return f"{type(error).__name__}: {text}{line}"
