"""What a detector or a segmenter answers: photos beside the truth, and precision and recall or confusion of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import Problem, one_line
from harness.gallery.anew import Record, answerable, evaluated, otherwise, told
from harness.gallery.data import chosen

if TYPE_CHECKING:  # torch and matplotlib take seconds, which --help need not wait for
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

    from harness.spec import Spec
    from harness.store import Store

SHOWN = 6  # test images, a row each
SAME = 1e-6  # percent: a score that differs by more is another


class Marked:
    """A task that keeps what marked its last evaluation: the loop's own has the detections, or the matrix of pixels."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.marks: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def marking(self, images: Any, split: str) -> Any:
        self.marks = self.task.marking(images, split)
        return self.marks


def gallery(
    study: str, run: str, spec: Spec, seed: int, store: Store
) -> tuple[dict[str, Figure], list[str | pd.DataFrame], str]:
    """(Figures by name, paragraphs and tables, how the run stands). Raises Problem where no finished run is there."""
    if (spec.id, seed) not in store:
        raise Problem(f"{run}: no finished run is here, which pictures of boxes and masks are of: train it first")
    record = store.read(spec.id, seed)
    if not answerable(record):
        raise Problem(f"{run}: {told(record)}: there are no answers to show")
    drawn = (detected if spec.data.truth == "boxes" else segmented)(study, run, spec, seed, store, record)
    return drawn, table(record, spec.data.load().classes), told(record)


def detected(study: str, run: str, spec: Spec, seed: int, store: Store, record: Record) -> dict[str, Figure]:
    """Photos with boxes, precision and recall. Raises Problem where the scores are not the record's."""
    from harness import stats
    from harness.report import predicted

    task, images = Marked(spec.task), spec.data.load()
    check(*evaluated(spec, seed, store, task, lambda given, z: None), record)
    truth, found = [images.truth("test", place) for place in range(images.counts["test"])], task.marks.found
    few = chosen(len(truth), SHOWN, "shown")
    shown = [photo(images, place) for place in few], [truth[i] for i in few], [found[i] for i in few]
    curves = stats.curves(truth, found, len(images.classes))
    return {
        "boxes": predicted.boxes(study, run, *shown, images.classes),
        "recalls": predicted.recalls(study, run, curves, images.classes),
    }


def segmented(study: str, run: str, spec: Spec, seed: int, store: Store, record: Record) -> dict[str, Figure]:
    """Photos with masks, confusion of pixels. Raises Problem where the scores are not the record's."""
    from harness.report import predicted
    from harness.tasks.segment import at_size

    task, images = Marked(spec.task), spec.data.load()
    few, said = chosen(images.counts["test"], SHOWN, "shown"), dict[int, np.ndarray]()

    def saw(given: tuple[Tensor, ...], z: Tensor) -> None:
        x, frames = given
        for cells, frame in zip(z.float(), frames.tolist(), strict=True):
            if int(frame[4]) in few:  # its place among the test images
                said[int(frame[4])] = at_size(cells, x.shape[2:], frame)[0].argmax(0).cpu().numpy()

    check(*evaluated(spec, seed, store, task, saw), record)
    shown = [photo(images, i) for i in few], [images.truth("test", i) for i in few], [said[i] for i in few.tolist()]
    return {
        "masks": predicted.masks(study, run, *shown, images.classes),
        "pixels": predicted.pixels(study, run, task.marks.matrix, images.classes),
    }


def photo(images: Any, place: int) -> np.ndarray:
    """A test image as its file has it, H x W x 3."""
    from harness.parts.data.reading import opened, rgb

    return np.asarray(rgb(opened(images.root / images.scenes["test"][place].name)))


def check(scores: Mapping[str, float], kept: Mapping[str, Any], record: Record) -> None:
    """Raise Problem where the scores, or those of a class, are not the record's."""
    due, seen = (
        _flat(each, classes) for each, classes in ((record["metrics"], record["by_class"]), (scores, kept["by_class"]))
    )
    differ = [name for name, score in seen.items() if not np.isclose(score, due.get(name, np.nan), 0, SAME, True)]
    if differ:
        raise otherwise(record, f"{', '.join(map(one_line, differ[:3]))} of the test images is other")


def _flat(scores: Mapping[str, float], classes: Mapping[str, Any]) -> dict[str, float]:
    return {**scores, **{f"{name} of {kind}": own[name] for kind, own in classes.items() for name in own}}


def table(record: Record, names: Sequence[str]) -> list[str | pd.DataFrame]:
    """The scores of a record in words, and a table of each class by name."""
    import pandas as pd

    from harness.report.words import METRICS, SECOND

    score, classes = record["score"], record["by_class"]
    named = METRICS | {"AP": "AP", "AP_area": "AP (area)", "IoU": "IoU"}
    what = [name for name in next(iter(classes.values())) if name != "n"]
    of = "boxes" if score == "mAP" else "pixels"
    whole = " and ".join(f"{METRICS[name]} {record['metrics'][name]:.2f}" for name in (score, SECOND[score]))
    rows = []
    for name in names:
        values = (classes[name][each] for each in what)
        said = ("–" if np.isnan(value) else f"{value:.2f}" for value in values)
        rows.append((one_line(name), *said, f"{classes[name]['n']:,}"))
    frame = pd.DataFrame(rows, columns=["class", *(named[name] for name in what), of])
    return [f"{record['images']['test']:,} test images: {whole}.", frame]
