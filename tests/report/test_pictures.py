"""Pictures, read back from what matplotlib was told to draw."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from harness import one_line
from harness.report import figures, pictures
from tests.kit.hostile import NAMES

RNG = np.random.default_rng(0)


def image(channels=3):
    return RNG.integers(0, 256, (8, 8, channels), dtype=np.uint8)


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.filterwarnings("ignore:Glyph")  # of other alphabets
def test_names_are_text_and_no_formula(tmp_path):
    """All at once, as classes, and each picture drawn to the end: what is no formula does not raise."""
    names = [given for given, _ in NAMES.values()]
    k, few = len(names), 6
    images, counts = [image()] * few, RNG.integers(0, 9, (k, k))
    drawn = [
        (k, pictures.labels("$x$", names, {"train": counts[0]})),
        (k, pictures.confusion("$x$", r"\frac{", counts, names)),
        (few, pictures.samples("$x$", images, [images], names[:few])),
        (few, pictures.answers("$x$", r"\frac{", images, names[:few], names[few - 1 :: -1], [0.5] * few)),
    ]
    assert k <= pictures.NAMED
    for n, figure in drawn:
        assert "<svg" in figures.save(tmp_path, "p", figure)
        assert figure.get_suptitle().startswith("$x$: ")
        told = "".join(texts(figure))
        assert [seen for _, seen in list(NAMES.values())[:n] if one_line(seen, pictures.LONG) not in told] == []


def test_bars_are_the_counts():
    counts = {"train": np.array([5, 7]), "val": np.array([1, 2]), "test": np.array([3, 0])}
    axis = pictures.labels("s", ["a", "b"], counts).axes[0]
    assert [[bar.get_width() for bar in bars] for bars in axis.containers] == [[5, 7], [1, 2], [3, 0]]
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["training: 12", "held out: 3", "test: 3"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]


def test_a_size_is_drawn_once_and_told_where_it_is_common():
    own = np.array([[250, 250]] * 20 + [[400, 300]])
    axis = pictures.sizes("s", {"train": own}).axes[0]
    (dots,) = axis.collections
    assert dots.get_offsets().tolist() == [[250, 250], [400, 300]]
    assert dots.get_sizes() == pytest.approx([9 * 20**0.5, 9])
    assert [t.get_text() for t in axis.texts] == ["20 of 250 x 250"]


def test_right_and_wrong_are_told_apart_without_colour():
    truth, said = ["a", "b", "a"], ["a", "a", "b"]
    figure = pictures.answers("s", "run", [image(1)] * 3, truth, said, [0.9, 0.4, 0.25])
    told = [(axis.get_xlabel(), axis.get_title()) for axis in figure.axes[:3]]
    assert told == [("✓ a, 90 %", ""), ("✗ a, 40 %", "is b"), ("✗ b, 25 %", "is a")]
    dashes = [axis.spines["left"].get_linestyle() for axis in figure.axes[:3]]
    assert dashes[0] == "-"
    assert dashes[1] == dashes[2] != "-"
    assert figure.get_suptitle() == "s: run, 3 test images: 1 right"


def test_confusion_shades_the_row_and_prints_the_count():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    figure = pictures.confusion("s", "run", counts, ["a", "b", "c"])
    axis = figure.axes[0]
    assert axis.images[0].get_array().tolist() == [[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]
    assert [(t.get_position(), t.get_text()) for t in axis.texts] == [((0, 0), "8"), ((1, 0), "2"), ((1, 1), "5")]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a (10)", "b (5)", "c (0)"]
    assert figure.get_suptitle() == "s: run, 13 of 15 right"


@pytest.mark.parametrize("watched", ["val", "test"])
def test_curves_are_of_what_was_measured_each_epoch(watched):
    top1 = "val_top1" if watched == "val" else "top1"
    epochs = [{"loss": 2 - i, "train_top1": 10 * i, f"{watched}_loss": 3 - i, top1: 20 * i} for i in range(3)]
    figure = pictures.curves("s", "run", epochs, 1 if watched == "val" else None)
    for axis, trained, measured in zip(figure.axes, ([2, 1, 0], [0, 10, 20]), ([3, 2, 1], [0, 20, 40]), strict=True):
        lines = {line.get_label(): line for line in axis.lines}
        told = pictures.SPLITS[watched][0]
        assert lines["training"].get_ydata().tolist() == trained
        assert lines[told].get_ydata().tolist() == measured
        assert lines[told].get_xdata().tolist() == [1, 2, 3]
        assert lines[told].get_linestyle() != lines["training"].get_linestyle()
        assert to_hex(lines[told].get_color()) != to_hex(lines["training"].get_color())
        kept = [line for name, line in lines.items() if name.startswith("weights kept")]
        assert [line.get_xdata() for line in kept] == ([[2, 2]] if watched == "val" else [])


def test_many_classes_are_drawn_without_names(tmp_path):
    names, counts = [f"class {i}" for i in range(100)], np.ones(100, int)
    for figure in (
        pictures.labels("s", names, {"train": counts, "test": counts}),
        pictures.confusion("s", "run", np.eye(100, dtype=int), names),
    ):
        assert not any("class 5" in text for text in texts(figure))
        figures.save(tmp_path, "p", figure)
