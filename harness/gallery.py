"""`python -m harness.gallery STUDY`: pictures of a study's data, and of what a run of it answers.

Of the data: how many images of each class, how large the files are, what augmentation makes of some. Of one run, where
it is finished: its curves, test images with its answers, the confusion matrix, and its accuracy on all test images, on
200 of them, and on those that training has no other copy of. The answers are computed anew, by the weights in the store
and the loop's own evaluation, and must be those of the record.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import Problem, one_line
from harness.cli import main
from harness.paths import expanded
from harness.spec import sources

if TYPE_CHECKING:  # torch and matplotlib take seconds, which --help need not wait for
    from matplotlib.figure import Figure

    from harness.parts.data import Files, Images
    from harness.spec import Data, Spec
    from harness.store import Store
    from harness.study import Plan, Rung

SHOWN = 16  # test images with their answers
DRAWN = 200  # test images of the second reading
ROWS, DRAWS = 6, 7  # of the sheet of augmented images
SIDE, NEAR = 32, 8  # px, and of 255: images at that size that differ by less on average are one photo, saved twice
PAIRS = 10**6  # of a test and a training image; more are not compared


@dataclass(frozen=True)
class Answers:
    """Of each test image, in order."""

    truth: np.ndarray
    said: np.ndarray
    sure: np.ndarray  # the probability of the class answered


# --- the data --------------------------------------------------------------------------------------------------------


def source(data: Data) -> Data:
    """What `data` is made of, where it is other data with some held out."""
    from harness.parts.data.holdout import Holdout

    return source(data.of) if isinstance(data, Holdout) else data


def class_names(data: Data, classes: Sequence[str]) -> list[str]:
    """The classes as people call them: their "Common Name" by the "Label" in the folder's labels.csv, if it has one.

    They are for pictures alone, and no part of a specification. Where two classes would have one name, none is used.
    Raises Problem where that file cannot be read.
    """
    path = getattr(source(data), "root", Path()) / "labels.csv"
    if not path.is_file():
        return list(classes)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise Problem(f"{path} cannot be read ({error}): mend it or take it out") from None
    told = {row.get("Label"): (row.get("Common Name") or "").strip() for row in rows}
    named = [told.get(name) or name for name in classes]
    return named if len(set(named)) == len(named) else list(classes)


def label_counts(images: Images) -> dict[str, np.ndarray]:
    """Images of each class, by split."""
    splits = [split for split in ("train", "val", "test") if split in images.counts]
    return {split: np.bincount(images.labels(split), minlength=len(images.classes)) for split in splits}


def file_sizes(data: Files) -> dict[str, np.ndarray]:
    """Width and height of the files of each split, N x 2 px, from their headers."""
    from harness.parts.data import SMALL, Photos
    from harness.parts.data.reading import opened

    photos = data.but(size=max(data.size, SMALL + 1)).load()  # small ones keep no list of their files
    assert isinstance(photos, Photos)
    return {
        split: np.array([opened(photos.root / name).size for name, _ in files]) for split, files in photos.files.items()
    }


def pixels(images: Images, x: Any) -> list[np.ndarray]:
    """Normalised images N x C x H x W as uint8, H x W x C each."""
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    whole = np.rint(x.cpu().numpy() * std + mean).clip(0, 255).astype(np.uint8)
    return list(whole.transpose(0, 2, 3, 1))


def prepared(images: Images, split: str, places: np.ndarray) -> list[np.ndarray]:
    """The images of `split` at `places`, as test images are prepared."""
    import torch

    few = images.regrouped({"test": (split, places)})
    return [image for x, _ in few.test(len(places), torch.device("cpu")) for image in pixels(images, x)]


def augmented(images: Images, spec: Spec, places: np.ndarray, draws: int, seed: int = 0) -> list[list[np.ndarray]]:
    """`draws` times the training images at `places`, as the network gets them."""
    import torch

    from harness.rng import streams

    few, made, rng = images.regrouped({"train": ("train", places)}), [], streams(seed)
    for epoch in range(draws):
        order = few.order(epoch, len(places), rng)[0]
        (x, _), *_ = few.train(epoch, len(places), spec.augment, rng, torch.device("cpu"))
        by_place = dict(zip(order.tolist(), pixels(images, x), strict=True))
        made.append([by_place[i] for i in range(len(places))])
    return made


def thumbnails(images: Images, split: str) -> np.ndarray:
    """The images of a split, in order, as test images are prepared, at `SIDE` px: N x values in [0, 255]."""
    import torch
    from PIL import Image

    every = images.regrouped({"test": (split, np.arange(images.counts[split]))})
    shown = (image for x, _ in every.test(64, torch.device("cpu")) for image in pixels(images, x))
    small = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in shown]
    return np.stack([np.asarray(image, np.float32).ravel() for image in small])


def twins(images: Images) -> np.ndarray:
    """Of each test image, whether training has it too but for how it was saved: the mean difference is below `NEAR`."""
    trained, tested = thumbnails(images, "train"), thumbnails(images, "test")
    return np.array([np.abs(trained - image).mean(1).min() < NEAR for image in tested])


def of_data(study: str, spec: Spec, names: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    from harness.parts.data import Files, limited
    from harness.report import pictures

    images, data = spec.data.load(), source(spec.data)
    yield "labels", pictures.labels(study, names, label_counts(images))
    if isinstance(data, Files):
        yield "sizes", pictures.sizes(study, file_sizes(data))
    if spec.augment:
        labels = images.labels("train")
        places = limited(labels, ROWS)  # of as many classes
        told = [names[label] for label in labels[places]]
        drawn = augmented(images, spec, places, DRAWS)
        yield "samples", pictures.samples(study, prepared(images, "train", places), drawn, told)


def chosen(count: int, wanted: int, purpose: str) -> np.ndarray:
    """Places of `wanted` of `count` images, all if there are no more: the same for every run."""
    from harness.rng import stream

    return np.sort(stream(0, "gallery", purpose).permutation(count)[:wanted])


# --- what a run answers ----------------------------------------------------------------------------------------------


def answers(spec: Spec, seed: int, store: Store) -> Answers:
    """What the weights of a finished run say of each test image. Raises Problem where its record says otherwise."""
    import torch

    from harness import tasks
    from harness.engine import places, settle
    from harness.train import evaluate, placed

    record, images = store.read(spec.id, seed), spec.data.load()
    device = settle(places(None, 1)[0])
    model = spec.model.build(images.channels, len(images.classes))
    model.load_state_dict(store.weights(spec.id, seed))
    model = placed(model, device)
    logits: list[torch.Tensor] = []
    model.register_forward_hook(lambda module, args, z: logits.append(z.float().cpu()))
    shown = spec.evaluation.view(images) if spec.evaluation else images
    evaluate(tasks.of(spec), model, shown, spec.precision.on(device), device)
    z = torch.cat(logits)
    said = z.argmax(1)  # not of the probabilities, which may be 1 more than once
    sure = z.softmax(1)[torch.arange(len(z)), said]
    answered = Answers(images.labels("test"), said.numpy(), sure.numpy())
    check(answered, record)
    return answered


def check(answered: Answers, record: dict[str, Any]) -> None:
    """Raise Problem where other test images are right than a record says."""
    n = len(answered.truth)
    told = np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8), count=n).astype(bool)
    differ = int((told != (answered.said == answered.truth)).sum())
    if differ:
        raise Problem(
            f"{record['spec_id']}, seed {record['seed']}: {differ} of {n} test images are answered otherwise than its "
            f"record says, which was made on {record['environment'].get('device_name')}: make the gallery there"
        )


def confusion(answered: Answers, classes: int) -> np.ndarray:
    """How many images of class i were taken for class j, `classes` x `classes`."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (answered.truth, answered.said), 1)
    return counts


def accuracies(answered: Answers, record: dict[str, Any], near: np.ndarray) -> list[tuple[str, int, int]]:
    """(of what, right, images): all test images, 200 of them, those without twins `near` them, and those held out."""
    right = answered.truth == answered.said
    n = len(right)
    few = chosen(n, DRAWN, "drawn")
    told = [(f"all {n:,} test images", int(right.sum()), n)]
    if len(few) < n:
        told.append((f"{len(few)} test images drawn at random", int(right[few].sum()), len(few)))
    if near.any():
        of = f"test images without a twin in training, by less than {NEAR} of 255 on average at {SIDE} px"
        told.append((of, int(right[~near].sum()), int((~near).sum())))
    if "val_top1" in record["metrics"]:
        held = record["images"]["val"]
        told.append(
            (
                "held-out images, by which the weights were chosen",
                round(record["metrics"]["val_top1"] / 100 * held),
                held,
            )
        )
    return told


def of_answers(
    study: str, run: str, images: Images, names: Sequence[str], answered: Answers
) -> Iterator[tuple[str, Figure]]:
    from harness.report import pictures

    few = chosen(len(answered.truth), SHOWN, "shown")
    truth, said = ([names[label] for label in labels[few]] for labels in (answered.truth, answered.said))
    sure = answered.sure[few].tolist()
    yield "answers", pictures.answers(study, run, prepared(images, "test", few), truth, said, sure)
    yield "confusion", pictures.confusion(study, run, confusion(answered, len(names)), names)


# --- the index, and the command line ---------------------------------------------------------------------------------


def index(study: str, made: Sequence[str], told: Sequence[tuple[str, int, int]], note: str) -> str:
    """The pictures by name, their captions, and a run's accuracies, as Markdown."""
    from harness.report.pictures import CAPTIONS
    from harness.report.tables import literal
    from harness.stats import wilson

    lines = [f"# {literal(one_line(study))}: gallery", literal(one_line(note, 400))]
    if told:
        rows = ["| of | right | images | top-1 | 95 % Wilson interval |", "|:--|--:|--:|--:|:--|"]
        for of, right, n in told:
            if not n:  # a test set that is in training whole
                rows.append(f"| {of}: there is none | – | 0 | – | – |")
                continue
            low, high = (100 * end for end in wilson(right, n))
            rows.append(f"| {of} | {right:,} | {n:,} | {100 * right / n:.2f} | {low:.2f} to {high:.2f} |")
        lines += ["\n".join(rows), INTERVALS]
    for name in made:
        title, caption = CAPTIONS[name]
        lines += [f"## {title}", f"![{title}]({name}.png)", caption]
    return "\n\n".join(lines) + "\n"


INTERVALS = (
    "Intervals are of accuracy on new images like these, for this one network; another seed is another network. What "
    "chose the weights is told too well by as much as the choice gained."
)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.gallery", description="Draw a study's data, and what one of its runs answers."
    )
    p.add_argument("study", nargs="?", default="digits", help="a file of experiments/, by name (default: %(default)s)")
    p.add_argument("--rung", metavar="NAME", help="default: the first")
    p.add_argument("--seed", type=int, metavar="N", help="default: the study's first")
    p.add_argument("--set", action="append", default=[], metavar="SLOT.FIELD=VALUE", help="as harness.ablate was told")
    p.add_argument("--to", type=expanded, metavar="DIR", help="default: runs/reports/, the study's name, gallery/")
    return p


def run(options: argparse.Namespace) -> None:
    from harness import study
    from harness.parts.data import Files
    from harness.paths import write_atomic
    from harness.report import figures, folder_of, pictures
    from harness.store import Store

    store = Store()
    plan = study.plan(study.load(options.study), [*map(study.setting, options.set)])
    rung = _rung(plan, options.rung)
    spec, seed, label = rung.spec, plan.seeds[0] if options.seed is None else options.seed, plan.label
    if seed not in plan.seeds:
        own = ", ".join(map(str, plan.seeds))
        raise Problem(f"--seed {seed}: no such run of {rung.name}; the study's seeds: {own}")
    folder = options.to or folder_of({"label": label}) / "gallery"
    images = spec.data.load()
    names = class_names(spec.data, images.classes)
    drawn, told, of = dict(of_data(label, spec, names)), [], f"{rung.title}, seed {seed}"
    note = f"{of}: no finished run yet"
    if (spec.id, seed) in store:
        record = store.read(spec.id, seed)
        note = f"{of}: {record['status']}, on {record['environment'].get('device_name')}"
        drawn["curves"] = pictures.curves(label, of, record["epochs"], record["kept"] if spec.stop else None)
        stale = sources.changed(record)
        note += f"; trained before the source of {', '.join(stale)} changed, so without its answers" if stale else ""
        if record["status"] == "finished" and not stale:  # of one that diverged the answers are no numbers
            answered = answers(spec, seed, store)
            few = isinstance(source(spec.data), Files) and images.counts["train"] * images.counts["test"] <= PAIRS
            told = accuracies(answered, record, twins(images) if few else np.zeros(images.counts["test"], bool))
            drawn |= of_answers(label, of, images, names, answered)
    for name, figure in drawn.items():
        figures.save(folder, name, figure)
    text = index(label, list(drawn), told, note)
    write_atomic(folder / "gallery.md", text.encode())
    print(f"{note}\n{len(drawn)} pictures and gallery.md are in {folder}/")


def _rung(plan: Plan, name: str | None) -> Rung:
    found = [rung for rung in plan.rungs if name in (None, rung.name)]
    if not found:
        known = ", ".join(rung.name for rung in plan.rungs)
        raise Problem(f"--rung {name}: no such rung in {plan.study}; there are: {known}")
    return found[0]


if __name__ == "__main__":
    main(parser(), run)
