"""`python -m harness.new [DATA] [--to FILE]`: write a study to start from, for a folder of data, or for digits.

It asks nothing. How the folder is laid out is guessed, and so are the size of images and the batch; all stands in the
file, to be changed. What it writes is made for two cores: a network of four blocks, trained from scratch.
"""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

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
    "train/CLASS/FILE beside val/CLASS/FILE or test/CLASS/FILE; VOC2007/ (or another year) as Pascal VOC; "
    "images/training/ and annotations/training/ as ADE20K; leftImg8bit/train/ and gtFine/train/ as Cityscapes"
)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.new",
        description="Write a study to start from. It asks nothing: the layout of DATA is guessed, and what is guessed "
        "is said.",
        epilog=f"Layouts that are known: {LAYOUTS}.",
    )
    p.add_argument("data", nargs="?", help="a folder of images (default: scikit-learn's digits, which need none)")
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
    if not root.is_dir():
        raise Problem(f"{one_line(data, 200)}: there is no such folder")
    if re.fullmatch(r"VOC\d{4}", root.name) and (root / "JPEGImages").is_dir():
        root = root.parent  # a VOCdevkit has a folder for each year
    for guess in (_boxes, _masks, _classes):
        if found := guess(root):
            told = f"{root}, {found.pop('told')}"
            return {"what": re.sub(r'["\\\\]', "", one_line(root.absolute().name)), **found}, told
    raise Problem(f"{root}: no layout that is known. There are: {LAYOUTS}")


def _classes(root: Path) -> dict[str, object] | None:
    test = next((name for name in ("val", "test") if (root / name).is_dir()), None)
    if not test or not any(path.is_dir() for path in _inside(root / "train")):
        return None
    classes = sum(path.is_dir() for path in _inside(root / "train"))
    side, count = _short_side(root / "train"), sum(1 for _ in islice(_files(root / "train"), BATCH * STEPS))
    size, batch = max(SMALL, min(side, LARGE)), _batch(count)
    small = ", small=True" if size < LARGE else ""
    own = {
        "data": f"ImageFolder(root={_quoted(root)}, size={size})",
        "model": f"ResNet(blocks=(1, 1, 1, 1), width=16{small})",
        "batch": batch,
        "augment": f"(Flip(), Shift(pixels={max(1, size // 16)}))",
        "imports": ("parts.augment.Flip", "parts.augment.Shift", "parts.data.ImageFolder"),
        "told": f"images of {classes} classes in train/ and {test}/, taken at {size} px",
    }
    return CLASSIFY | own


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
            short = max(32, min(_short_side(root / images), 180))
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
    return f"({', '.join(f'({json.dumps(year)}, {json.dumps(name)})' for year, name in every)},)"


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


def _short_side(folder: Path) -> int:
    """The median of a few images, in px; where none can be read, what is proposed at most."""
    from PIL import Image

    sides = []
    for path in islice(_files(folder), LOOKED):
        try:
            with Image.open(path) as image:
                sides.append(min(image.size))
        except OSError:  # no image, which the data itself says
            continue
    return int(median(sides)) if sides else LARGE


if __name__ == "__main__":
    main(parser(), run)
