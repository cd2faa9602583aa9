"""Image files: opened, decoded, and each read once: its digest is remembered.

A file that was read is known again by its size, its times of change and its inode; one in a hundred, drawn anew each
time, is read again nonetheless. Where one has other content, every file is.
"""

import hashlib
import io
import json
import os
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness import Problem
from harness.paths import runs, write_atomic

ENDINGS = set(Image.registered_extensions())
AGAIN = 100  # one file in so many, and no more than so many, are read again
warnings.simplefilter("error", Image.DecompressionBombWarning)


def opened(path: Path, read: bytes | None = None) -> Image.Image:
    """The image with its header read, and not yet decoded, of a file, or of what was `read` of one.

    Raises Problem, naming the file, where it is none.
    """
    try:
        image = Image.open(io.BytesIO(path.read_bytes() if read is None else read))
    except FileNotFoundError:
        raise Problem(f"{path}: there is no such file") from None
    except Exception as error:  # Pillow's many readers raise whatever damaged bytes lead them to
        raise _undecoded(str(path), error) from None
    image.filename = str(path)
    return image


def rgb(image: Image.Image) -> Image.Image:
    """The whole image, decoded, in RGB. Raises Problem, naming the file, if it does not decode or has 32-bit pixels."""
    sixteen = image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")  # Pillow scales it to 65535
    if image.mode in ("I", "F") and not sixteen:  # Pillow would clip to black or white
        name = getattr(image, "filename", "an image")
        raise Problem(f"{name} has 32-bit or signed pixels (mode {image.mode}): save it with 8 or 16 bits a channel")
    try:
        image.load()
        if image.mode == "RGB" and "transparency" not in image.info:
            return image
        if sixteen:  # Pillow would clip 16 bits to white
            return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
        return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    except Exception as error:
        raise _undecoded(getattr(image, "filename", "an image"), error) from None


def greatest(image: Image.Image) -> int | None:
    """The greatest value of a 16-bit image, which is decoded for it; none of others. Raises Problem as `rgb` does."""
    sixteen = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # as it is stored
    shown = rgb(image)
    if image.mode.startswith("I"):
        return int(np.asarray(image).max())
    return int(np.asarray(shown).max()) << 8 | 255 if sixteen else None  # of colours Pillow keeps the upper 8 bits


def arrow(module: str) -> Any:
    """A module of pyarrow, which reads parquet and arrow. Raises Problem where it is not installed."""
    try:
        return import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise Problem(f"parquet and arrow files need pyarrow ({brief(error)}): pip install pyarrow") from None


def _undecoded(name: str, error: Exception) -> Problem:
    what = "no image format" if isinstance(error, UnidentifiedImageError) else brief(error)  # Pillow tells an address
    return Problem(f"{name} does not decode ({what}): repair it or take it out")


def brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def shrunk(image: Image.Image, most: float) -> int:
    """Have a JPEG that is not yet decoded come out at 1/2, 1/4 or 1/8 of its sides, by at most `most`; answers by what.

    The decoder then leaves out what resizing would remove; a crop of 2000 x 1500 px takes half the time.
    """
    by = next((by for by in (8, 4, 2) if by <= min(most, *image.size)), 1)  # a side of 0 px would not do
    return by if by > 1 and image.draft(None, (image.width // by, image.height // by)) else 1


class Seen(NamedTuple):
    """What is remembered of a file that was read. The first three are what was remembered before the others were."""

    size: int
    modified: int  # ns
    sha: str | None  # none where it is no image
    changed: int  # ns; no program can set it back
    inode: int
    most: int | None  # the greatest value of a 16-bit image; of others none

    @property
    def stat(self) -> tuple[int, ...]:
        return self.size, self.modified, self.changed, self.inode


trusting = True  # what is remembered; else every file is read anew


def read_all(root: Path, names: list[str], skipped: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The sha256 of every file that is an image, by name, and notes on the rest; new and touched files are decoded.

    `skipped` is no image, as is known. Raises Problem where some do not decode, naming them; the others are remembered.
    """
    memory = runs() / "cache" / "folders" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.json"
    known = _remembered(memory) if trusting else {}
    stats = {name: stat_of(os.path.join(root, name)) for name in names}
    fresh = {name: known[name] for name, stat in stats.items() if name in known and known[name].stat == stat}
    other = _other_than_remembered(root, fresh)
    if other:
        print(
            f"{root}/{other} has other content, but size, times and inode as before: every file is read anew",
            file=sys.stderr,
        )
        known, fresh = {}, {}
    new = [name for name in names if name not in fresh]
    if len(new) > 5000:
        print(f"reading {len(new):,} files under {root}, once", file=sys.stderr)
    broken: list[Problem] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, read in zip(new, pool.map(partial(_read, root), new), strict=True):
            if isinstance(read, Problem):
                broken.append(read)
            else:
                size, modified, changed, inode = stats[name]
                fresh[name] = Seen(size, modified, read[0], changed, inode, read[1])
    if new:
        write_atomic(memory, json.dumps(known | fresh).encode())  # of others too: this may be a slice
    if broken:
        rest = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise Problem(f"{len(broken)} of {len(names)} files: {'; '.join(map(str, broken[:5]))}{rest}")
    notes = _notes({name: fresh[name] for name in names}, skipped)
    return {name: sha for name in names if (sha := fresh[name].sha)}, notes


Load = TypeVar("Load", bound=Callable[..., Any])
loads: list[Any] = []  # caches of loaded sets


def kept(load: Load) -> Load:
    """A cached function that loads a set of files, which `harness.parts.data.distrust` empties."""
    loads.append(load)
    return load


def looked(root: Path, sums: Mapping[str, str], look: Callable[[Path], Any]) -> dict[str, Any]:
    """What `look` finds in each of the files that `sums` names, JSON-ready. It is remembered by their content.

    A function that finds something else takes another name.
    """
    wanted = sorted(set(sums.values()))
    key = hashlib.sha256(json.dumps([look.__name__, wanted]).encode()).hexdigest()[:16]
    memory = runs() / "cache" / "looked" / f"{key}.json"
    found: Any = None
    if trusting:
        with suppress(OSError, ValueError):
            found = json.loads(memory.read_bytes())
    if not isinstance(found, list) or len(found) != len(wanted):
        names = {sha: name for name, sha in sums.items()}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(look, (root / names[sha] for sha in wanted)))
        write_atomic(memory, json.dumps(found).encode())
    known = dict(zip(wanted, found, strict=True))
    return {name: known[sha] for name, sha in sums.items()}


def size_of(path: Path) -> list[int]:
    """Height and width of an image as it is stored, in px; EXIF does not turn it."""
    return list(opened(path).size[::-1])


def _remembered(memory: Path) -> dict[str, Seen]:
    """By name; nothing where the list is damaged. What was remembered without the time of change is left out."""
    try:
        return {name: Seen(*entry) for name, entry in json.loads(memory.read_bytes()).items() if len(entry) == 6}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _other_than_remembered(root: Path, fresh: Mapping[str, Seen]) -> str | None:
    """Of a few files that seem unchanged, drawn by chance, and by none of the streams of a run, one that is not."""
    images = [name for name, seen in fresh.items() if seen.sha]
    drawn = random.SystemRandom().sample(images, min(AGAIN, -(-len(images) // AGAIN)))
    return next((name for name in drawn if _sha(root / name) != fresh[name].sha), None)


def _notes(seen: Mapping[str, Seen], skipped: Sequence[str]) -> list[str]:
    """What the user should know of files that were read."""
    kept = [name for name, one in seen.items() if one.sha]
    endings = Counter(map(_ending, kept))
    alone = [name for name in kept if named_as_image(name) and endings[_ending(name)] == 1 < len(kept) / 10]
    return [
        *told("not an image, skipped", [*skipped, *(name for name, one in seen.items() if not one.sha)]),
        *told(f"the only one of its ending among {len(kept):,} images", alone),
        *told("no image ending, read as an image by its content", [name for name in kept if not named_as_image(name)]),
        *_dark([one.most for one in seen.values() if one.most is not None]),
    ]


def told(what: str, names: Sequence[str]) -> list[str]:
    """One note on all files of a kind, that names five; none where there are none."""
    shown = ", ".join(names[:5]).encode(errors="backslashreplace").decode()  # a name may be no UTF-8
    rest = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return [f"{what}: {shown}{rest}"] if names else []


def _dark(most: Sequence[int]) -> list[str]:
    """A note where no 16-bit image, by their greatest values, has a quarter of white: 12 bits in 16, say."""
    bits = max(most, default=0).bit_length()
    if not 0 < bits <= 14:
        return []
    return [
        f"16-bit images, {len(most):,} of them, use the lower {bits} bits alone and so are dark, white being 65535: "
        f"save them anew with their values times {2 ** (16 - bits)}"
    ]


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def stat_of(path: str) -> tuple[int, ...]:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise Problem(f"{path} cannot be read ({error.strerror}): repair it or take it out") from None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def named_as_image(name: str) -> bool:
    return _ending(name) in ENDINGS


def is_image(path: str) -> bool:
    """By its ending or, without one, by its header."""
    if not named_as_image(path):
        try:
            Image.open(path).close()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, FileNotFoundError):
            pass  # reading it says what is wrong
        except Exception:
            return False
    return True


def _read(root: Path, name: str) -> tuple[str | None, int | None] | Problem:
    """The file's sha256, none where it is no image by content or ending, and the greatest value of a 16-bit image.

    A Problem where it does not decode.
    """
    path = root / name
    if not is_image(str(path)):
        return None, None
    try:
        image = opened(path)
        shrunk(image, 8)  # every byte is read, at a third of the time
        most = greatest(image)
    except Problem as problem:
        return problem
    return _sha(path), most


def _sha(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Problem(f"{path} cannot be read ({error.strerror}): repair it or take it out") from None
