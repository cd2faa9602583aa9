"""`python -m harness.new [DATA] [--to FILE]`: write a study to start from, for data of one's own, or for digits.

It asks nothing. How the data is laid out is guessed, and so are the size of images and the batch; all stands in the
file, to be changed. What it writes is made for two cores: a network of four blocks, trained from scratch.
"""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from harness import Problem, file_name, one_line
from harness.cli import answer, main
from harness.paths import expanded, write_first

LOOKED = 50  # images whose size is looked at
SMALL, LARGE = 8, 64  # the sizes that are proposed, in px: what memory holds, and what a core can train on
BATCH, STEPS = 32, 4  # images at most; steps an epoch at least

FILE = '''"""Which trick helps on {what}?

    harness ablate {address} --dry-run   # the plan, and what it will cost
    harness check {address}              # each rung on a few batches
    harness ablate {address}
"""

{imports}

BASELINE = Spec(
    data={data},
    model={model},
{task}    init=(Xavier(),),
    decay=DecayAll(weight=1e-4),
    optimizer={optimizer},
    schedule=Piecewise({shape}),
    batch_size={batch},
    epochs={epochs},
    augment={augment},
    precision=FP32(),
)
TRICKS = {tricks}
SEEDS = range(3)
'''
ALWAYS = (
    *("parts.decay.DecayAll", "parts.init.Xavier", "parts.models.ResNet", "parts.optimizers.NAG"),
    *("parts.precision.FP32", "parts.schedules.Piecewise", "spec.Spec"),
)
CLASSIFY = {
    "task": "",
    "optimizer": "NAG(lr=0.1, per=256)",
    "shape": "",
    "epochs": 15,
    "tricks": "(partial(warmup, epochs=1), resnet_d, cosine, label_smoothing, mixup)",
}
NETWORK = "ResNet(blocks=(1, 1, 1, 1), width=16)"
DENSE = {"optimizer": "NAG(lr=0.05, per=None)", "epochs": 8, "augment": "(Flip(),)"}
LAYOUTS = (
    "CLASS/FILE, or train/CLASS/FILE beside val/CLASS/FILE or the like; a CSV or parquet with a path, a label and a "
    "split of each image; .npz or .npy with x_train, y_train, x_test, y_test; images within .tar, .parquet or .arrow; "
    "VOC2007/ (or another year) as Pascal VOC; images/training/ and annotations/training/ as ADE20K; "
    "leftImg8bit/train/ and gtFine/train/ as Cityscapes"
)
TABLES, CONTAINERS = (".csv", ".tsv"), (".tar", ".parquet", ".arrow")
PATH = ("path", "file", "file_name", "filename", "filepath", "file_path", "image_path")
COLUMNS = {  # what a table may call what the data expects
    "path": (*PATH, "image", "img"),
    "image": ("img",),
    "label": ("labels", "class", "fine_label", "category", "target", "y"),
    "split": ("set", "subset", "partition"),
}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.new",
        description="Write a study to start from. It asks nothing: the layout of DATA is guessed, and what is guessed "
        "is said.",
        epilog=f"Layouts that are known: {LAYOUTS}.",
    )
    p.add_argument("data", nargs="?", help="a folder or file of images (default: scikit-learn's digits)")
    p.add_argument("--to", type=expanded, default=Path("my_study.py"), metavar="FILE", help="(default: %(default)s)")
    return p


def run(options: argparse.Namespace) -> int:
    path = options.to
    if path.suffix != ".py":
        raise Problem(f"--to {path}: the name of a Python file is needed, my_study.py say")
    file_name(path.stem)
    if path.exists():
        raise Problem(f"{path} is there already: nothing was written; --to names another file")
    found, told = guessed(options.data)
    address = path.as_posix() if "/" in path.as_posix() else f"./{path}"
    write_first(path, study(found, address).encode())
    answer({"file": path, "study": address})
    print(f"{path} is written, for {told}. It is yours to change. Next:\n")
    print(f"  harness ablate {address} --dry-run\n  harness ablate {address}")
    return 0


def guessed(data: str | None) -> tuple[dict[str, object], str]:
    """What the file is filled with; and of what that is, in words. Raises Problem where no layout is met."""
    if data is None:
        imports = ("parts.augment.Shift", "parts.data.Digits")
        model = "ResNet(blocks=(1, 1, 1), width=16, small=True)"
        own = {"data": "Digits()", "model": model, "batch": BATCH, "augment": "(Shift(pixels=1),)"}
        return CLASSIFY | own | {"what": "scikit-learn's digits", "imports": imports}, "scikit-learn's digits"
    root = expanded(data)
    if not root.exists():
        raise Problem(f"{one_line(data, 200)}: there is no such file or folder")
    if re.fullmatch(r"VOC\d{4}", root.name) and (root / "JPEGImages").is_dir():
        root = root.parent  # a VOCdevkit has a folder for each year
    for guess in (_boxes, _masks, _classes):
        if found := guess(root):
            told = f"{root}, {found.pop('told')}"
            return {"what": re.sub(r'["\\\\]', "", one_line(root.absolute().name)), **found}, told
    raise Problem(f"{root}: no layout that is known. There are: {LAYOUTS}")


def _classes(root: Path) -> dict[str, object] | None:
    """An image a class, by what the data itself finds there. Raises Problem as that does."""
    from harness.parts import data
    from harness.parts.data.gathered import whole

    if not (met := _met(root)):
        return None
    kind, at, told, columns = met
    named = {"columns": columns} if columns else {}
    part, split = _opened(getattr(data, kind), {"root": at, **named})
    if isinstance(part, data.Arrays):
        images = part.load()
        classes, count, size, grey = len(images.classes), images.counts["train"], images.size, images.channels == 1
    else:
        found = part.listing()
        whole(f"data.root={at}", found, found.files)
        files = [found.root / name for name, _ in found.files["train"]]
        classes, count, grey = len(found.classes), len(files), False
        size = max(SMALL, min(_short_side(files), LARGE))
        told = told or (" and ".join(found.parts.values()) if found.parts["train"] else "their folders")
    words = [f"root={_quoted(at)}", *(f"{name}={_tuple(value)}" for name, value in named.items())]
    words += [] if isinstance(part, data.Arrays) else [f"size={size}"]
    shift = f"Shift(pixels={max(1, size // 16)})"
    own = {
        "data": f"{kind}({', '.join([*words, *(['split=Split()'] if split else [])])})",
        "model": f"ResNet(blocks=(1, 1, 1, 1), width=16{', small=True' if size < LARGE else ''})",
        "batch": _batch(min(count, BATCH * STEPS)),
        "augment": f"({shift},)" if grey else f"(Flip(), {shift})",  # of digits a mirror image is no digit
        "imports": (
            *([] if grey else ["parts.augment.Flip"]),
            *("parts.augment.Shift", f"parts.data.{kind}"),
            *(["parts.data.Split"] if split else []),
        ),
        "told": f"images of {classes} classes in {told}, taken at {size} px"
        + ("; a fifth of each is set apart as the test set" if split else ""),
    }
    return CLASSIFY | own


def _met(root: Path) -> tuple[str, Path, str, tuple[str, ...] | None] | None:
    """The data's type, where it lies, what that is in words, and its columns where they are called otherwise."""
    inside = [] if root.is_file() else _inside(root)
    arrays = [path for path in inside if path.suffix == ".npz"]
    tables = [path for path in inside if path.suffix in TABLES]
    if root.suffix == ".npz" or any(path.suffix == ".npy" for path in inside):
        return "Arrays", root, "arrays", None
    if root.suffix in (*TABLES, ".parquet"):
        return _table(root)
    packed = next((path for path in islice(_files(root), LOOKED) if path.suffix in CONTAINERS), None)
    if root.suffix in CONTAINERS or packed:
        return "Packed", root, "containers", _columns(packed, ("image", "label", "split"))
    if len(arrays) == 1:
        return "Arrays", arrays[0], f"the arrays of {arrays[0].name}", None
    if any(path.is_dir() for path in _inside(root / "train")) or (not tables and _has_classes(inside)):
        return "ImageFolder", root, "", None
    return _table(tables[0]) if len(tables) == 1 else None


def _has_classes(inside: Iterable[Path]) -> bool:
    """Whether two folders there have files, of which one is an image."""
    from harness.parts.data.reading import is_image

    firsts = [next((path for path in _inside(folder) if path.is_file()), None) for folder in inside if folder.is_dir()]
    return sum(path is not None for path in firsts) > 1 and any(path and is_image(str(path)) for path in firsts)


def _table(path: Path) -> tuple[str, Path, str, tuple[str, ...] | None]:
    """A table of paths; or of images, where no column has paths."""
    if path.suffix == ".parquet" and not set(_titles(path)) & {*PATH}:
        return "Packed", path, f"the images of {path.name}", _columns(path, ("image", "label", "split"))
    return "Table", path, f"the table {path.name}", _columns(path, ("path", "label", "split"))


def _columns(path: Path | None, due: tuple[str, ...]) -> tuple[str, ...] | None:
    """What a table has for the columns that are due; None where they are called so, or nothing alike is there."""
    titles = _titles(path) if path and path.suffix in (*TABLES, ".parquet") else []
    called = tuple(next((name for name in (one, *COLUMNS[one]) if name in titles), one) for one in due)
    return None if called == due else called


def _titles(path: Path) -> list[str]:
    from harness.parts.data.table import titles

    return titles(path)


def _opened(kind: Any, fields: dict[str, Any]) -> tuple[Any, bool]:
    """The data, and whether a test set must be set apart from it. Raises Problem as the data does."""
    from harness.parts.data import Arrays, Split

    def opened(**more: Any) -> Any:
        part = kind(**fields, **more)
        _ = part.load() if kind is Arrays else part.listing()
        return part

    try:
        return opened(), False
    except Problem as error:
        with suppress(Problem):
            return opened(split=Split()), True
        raise error


def _boxes(root: Path) -> dict[str, object] | None:
    years = [path for path in _inside(root) if re.fullmatch(r"VOC\d{4}", path.name) and (path / "Annotations").is_dir()]
    lists = {(path.name[3:], one.stem) for path in years for one in _inside(path / "ImageSets" / "Main")}
    tested = next(([each] for name in ("test", "val") for each in sorted(lists) if each[1] == name), [])
    if not tested:
        return None
    learned = []
    for path in years:
        year = path.name[3:]
        names = ["trainval", "train"] if tested[0][1] == "test" else ["train"]
        learned += [(year, name) for name in names if (year, name) in lists][:1]
    count = sum(len((root / f"VOC{y}" / "ImageSets" / "Main" / f"{n}.txt").read_text().split()) for y, n in learned)
    own = {
        "data": f"VOC(root={_quoted(root)}, train={_lists(learned)}, test={_lists(tested)}, short=240, long=320)",
        "model": f"FasterRCNN(\n        backbone={NETWORK},\n        anchors=(16, 32, 64, 128),\n"
        "        anchor_samples=128,\n        region_samples=64,\n    )",
        "task": "    task=Detect(),\n",
        "shape": "warmup=LinearWarmup(epochs=0.5), shape=Step(at=(0.7,))",
        "batch": _batch(count, 4),
        "tricks": "(cosine, no_bias_decay)",
        "imports": (
            *("parts.augment.Flip", "parts.data.VOC", "parts.models.FasterRCNN", "parts.schedules.Step"),
            *("tasks.detect.Detect", "tricks.warmup.LinearWarmup"),
        ),
        "told": f"photos with boxes, tested on {tested[0][1]} of {tested[0][0]}",
    }
    return DENSE | own


def _masks(root: Path) -> dict[str, object] | None:
    for kind, images, masks in (
        ("ADE20K", "images/training", "annotations/training"),
        ("Cityscapes", "leftImg8bit/train", "gtFine/train"),
    ):
        if (root / images).is_dir() and (root / masks).is_dir():
            short = max(32, min(_short_side(_files(root / images)), 180))
            count = sum(1 for _ in islice(_files(root / images), BATCH * STEPS))
            own = {
                "data": f"{kind}(root={_quoted(root)}, short={short}, long={2 * short})",
                "model": f"FCN(backbone={NETWORK})",
                "task": "    task=Segment(),\n",
                "shape": "shape=Poly()",
                "batch": _batch(count, 8),
                "tricks": "(partial(warmup, epochs=0.5), no_bias_decay)",
                "imports": (
                    *("parts.augment.Flip", f"parts.data.{kind}", "parts.models.FCN", "parts.schedules.Poly"),
                    "tasks.segment.Segment",
                ),
                "told": f"photos with a class for each pixel, laid out as {kind}",
            }
            return DENSE | own
    return None


def study(found: dict[str, object], address: str) -> str:
    """The text of the file."""
    named = re.findall(r"\b(?:cosine|label_smoothing|mixup|no_bias_decay|resnet_d|warmup)\b", str(found["tricks"]))
    imports = {*ALWAYS, *found["imports"], *(f"tricks.{name}.{name}" for name in named)}  # type: ignore[misc]
    by_module: dict[str, list[str]] = {}
    for name in sorted(imports):
        module, _, thing = name.rpartition(".")
        by_module.setdefault(module, []).append(thing)
    lines = [f"from harness.{module} import {', '.join(things)}" for module, things in by_module.items()]
    if "partial(" in str(found["tricks"]):
        lines = ["from functools import partial", "", *lines]
    return FILE.format(**found | {"imports": "\n".join(lines), "address": address})


def _quoted(path: Path) -> str:
    return json.dumps(path.as_posix(), ensure_ascii=False)


def _lists(every: Iterable[tuple[str, str]]) -> str:
    return f"({', '.join(map(_tuple, every))},)"


def _tuple(words: Iterable[str]) -> str:
    return f"({', '.join(json.dumps(word, ensure_ascii=False) for word in words)})"


def _batch(images: int, most: int = BATCH) -> int:
    """A power of two: `most`, or such that an epoch of few images has some steps."""
    fits = [size for size in (2, 4, 8, 16, 32) if size <= min(most, images // STEPS)]
    return fits[-1] if fits else 2


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names))


def _short_side(files: Iterable[Path]) -> int:
    """The median of a few images, in px; where none can be read, what is proposed at most."""
    from PIL import Image

    sides = []
    for path in islice(files, LOOKED):
        try:
            with Image.open(path) as image:
                sides.append(min(image.size))
        except OSError:  # no image, which the data itself says
            continue
    return int(median(sides)) if sides else LARGE


if __name__ == "__main__":
    main(parser(), run)
