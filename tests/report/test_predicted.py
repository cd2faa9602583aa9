"""Pictures of boxes and masks, read back from what matplotlib was told to draw."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from harness import one_line, stats
from harness.report import figures, predicted
from tests.kit.hostile import NAMES
from tests.kit.scored import DETECTION, LOWER, A, B, boxes, said

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (120, 320, 3), dtype=np.uint8)
AWAY = (200, 100, 299, 119)
SOLID, DASHED, DOTTED = (predicted.DASHES[how] for how in ("right", "wrong", "difficult"))


def rectangles(axis):
    return [patch for patch in axis.patches if isinstance(patch, Rectangle)]


def texts(where):
    return [text.get_text() for text in where.findobj(lambda artist: hasattr(artist, "get_text"))]


def dashes(axis):
    return [patch.get_linestyle() for patch in rectangles(axis)]


def test_a_box_frames_its_pixels_from_the_first_to_the_last():
    """The pixels 2 to 4 of a row that begins with 1 have their middles at 1 to 3, and edges at 0.5 and 3.5."""
    figure = predicted.boxes("s", "r", [PHOTO], [boxes((2, 6, 4, 6))], [said((0.9, (2, 6, 4, 6)))], ["a"])
    for axis in figure.axes:
        (drawn,) = rectangles(axis)
        assert drawn.get_bbox().extents.tolist() == [0.5, 4.5, 3.5, 5.5]
        assert axis.get_xlim() == (-0.5, 319.5)
        assert axis.get_ylim() == (119.5, -0.5)


def test_boxes_are_right_wrong_or_do_not_count():
    truth = boxes(A, B, AWAY, difficult=(B,))
    found = said((0.6, LOWER), (0.9, A), (0.8, B), (0.7, (0, 100, 50, 119)), (0.49, AWAY))
    left, right = predicted.boxes("s", "r", [PHOTO], [truth], [found], ["cell"]).axes
    assert dashes(left) == [SOLID, DOTTED, DASHED]
    assert [t.get_text() for t in left.texts] == ["cell"] * 3
    drawn = {t.get_text(): line for t, line in zip(right.texts, dashes(right), strict=True)}
    assert drawn == {"cell 0.90": SOLID, "cell 0.80": DOTTED, "cell 0.70": DASHED, "cell 0.60": DASHED}
    assert left.get_title("left") == "1 of 2 boxes found"
    assert right.get_title("left") == "4 found with a score of 0.5 or more, 1 right"


def test_twenty_boxes_at_most_are_drawn_the_surest_on_top():
    found = said(*((0.5 + i / 100, (i, 0, i + 20, 20)) for i in range(30)))
    _, right = predicted.boxes("s", "r", [PHOTO], [boxes()], [found], ["a"]).axes
    assert [t.get_text() for t in right.texts] == [f"a {0.6 + i / 100:.2f}" for i in range(20)]
    assert right.get_title("left") == "30 found with a score of 0.5 or more, 0 right, the 20 surest drawn"


def test_the_tag_of_a_box_that_leaves_the_image_stays_in_it():
    found = said((0.9, (-5, -9, 40, 40)), (0.8, (200, 60, 330, 150)))
    _, right = predicted.boxes("s", "r", [PHOTO], [boxes((-5, -9, 40, 40))], [found], ["a"]).axes
    assert [t.get_position() for t in right.texts] == [(199, 119.5), (0, 0)]


def test_a_class_has_one_colour():
    truth = np.array([[1, *A, 0], [2, *B, 0]])
    left, right = predicted.boxes("s", "r", [PHOTO], [truth], [np.array([[2, 0.9, *B]])], ["a", "b"]).axes
    (first, second), (found,) = rectangles(left), rectangles(right)
    assert first.get_edgecolor() != second.get_edgecolor() == found.get_edgecolor()


@pytest.mark.parametrize("n", [1, 3, 20, 21, 150])
def test_no_two_classes_have_the_same_colour(n):
    hues = predicted.palette(n)
    assert hues.shape == (n, 3)
    assert 0 <= hues.min() <= hues.max() <= 1
    assert len(np.unique(hues.round(3), axis=0)) == n


def test_the_curve_its_envelope_and_eleven_dots():
    """A hit, a false alarm, a hit, of three boxes: recall 1/3, 1/3, 2/3 at precision 1, 1/2, 2/3."""
    truth, found, *_ = DETECTION["a miss, a false alarm"]
    curves = [*stats.curves(truth, found, 1), stats.Curve(0, np.zeros(0), np.zeros(0, bool))]
    first, second = predicted.recalls("s", "r", curves, ["a", "b"]).axes
    raw, envelope, dots = first.lines
    assert raw.get_xydata().ravel() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 2, 2 / 3, 2 / 3])
    assert envelope.get_xydata().ravel() == pytest.approx([0, 1, 1 / 3, 1, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert envelope.get_drawstyle() == "steps-pre", "the height at a recall holds back to the one before"
    assert dots.get_ydata() == pytest.approx([1] * 4 + [2 / 3] * 3 + [0] * 4)
    assert dots.get_ydata().mean() == pytest.approx(6 / 11)
    assert first.get_title() == "a\n54.5 (55.6), n = 3"
    assert second.get_title() == "b: no box"
    assert not second.lines
    assert first.figure.get_suptitle() == "s: r, mAP 54.55 (by area 55.56)"


def test_a_recall_of_exactly_three_tenths_has_its_dot():
    truth, found, *_ = DETECTION["recall 3/10"]
    (axis,) = predicted.recalls("s", "r", stats.curves(truth, found, 1), ["a"]).axes
    assert axis.lines[-1].get_ydata().tolist() == [1] * 4 + [0] * 7


def test_a_class_of_which_nothing_is_found_has_dots_alone():
    (axis,) = predicted.recalls("s", "r", stats.curves([boxes(A)], [said()], 1), ["a"]).axes
    assert axis.lines[-1].get_ydata().tolist() == [0] * 11
    assert axis.get_title() == "a\n0.0 (0.0), n = 1"


def test_masks_are_mixed_into_the_photo_and_wrong_pixels_told():
    image = np.full((2, 2, 3), 100, np.uint8)
    truth, answer = np.array([[0, 1], [1, -1]]), np.array([[0, 0], [1, 1]])
    figure = predicted.masks("s", "r", [image], [truth], [answer], ["a", "b", "c"])
    photo, own, said_, wrong = (axis.images[0].get_array() for axis in figure.axes)
    assert (photo == image).all()
    hues = predicted.palette(3)
    due = 0.35 * 100 + 0.65 * 255 * hues
    assert np.abs(own[0, 0] - due[0]).max() <= 1
    assert np.abs(own[0, 1] - due[1]).max() <= 1
    assert own[1, 1].tolist() == wrong[1, 1].tolist() == [0, 0, 0], "not labelled"
    assert np.abs(said_[1, 1] - due[1]).max() <= 1
    red = 0.2 * 100 + 0.8 * 255 * np.array(to_rgb(figures.HURTS))
    assert np.abs(wrong[0, 1] - red).max() <= 1
    assert wrong[0, 0].tolist() == wrong[1, 0].tolist() == [185] * 3, "the photo, pale: 255 (.55 + .45 · 100/255)"
    assert figure.axes[3].get_xlabel() == "66.7 % of pixels right"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["b", "a", "not labelled"], "c is nowhere"


def test_of_many_classes_the_legend_names_the_greatest():
    labels = np.repeat(np.arange(30), np.arange(1, 31))[None]
    image = np.zeros((*labels.shape, 3), np.uint8)
    figure = predicted.masks("s", "r", [image], [labels], [labels], [f"name{i}" for i in range(30)])
    told = [t.get_text() for t in figure.legends[0].get_texts()]
    assert told == [*(f"name{i}" for i in range(29, 5, -1)), "and 6 more", "not labelled"]


@pytest.mark.filterwarnings("error")
def test_an_image_without_labels_is_drawn():
    none = np.full((2, 2), -1)
    figure = predicted.masks("s", "r", [PHOTO[:2, :2]], [none], [np.zeros((2, 2), int)], ["a"])
    assert figure.axes[3].get_xlabel() == "no pixel is labelled"


def test_rows_of_the_confusion_are_shares_of_a_class():
    matrix = np.array([[98, 2, 0], [50, 150, 0], [0, 0, 0]])
    figure = predicted.pixels("s", "r", matrix, ["a", "b", "c"])
    axis = figure.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.98, 0.02, 0], [0.25, 0.75, 0], [0, 0, 0]])
    assert [(t.get_position(), t.get_text()) for t in axis.texts] == [
        ((0, 0), "98"),
        ((1, 0), "2"),
        ((0, 1), "25"),
        ((1, 1), "75"),
    ]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a (33 %)", "b (67 %)", "c (0 %)"]
    assert figure.get_suptitle() == "s: r, 82.7 % of pixels right, mIoU 69.8", "248/300; (98/150 + 150/202)/2"


def test_all_of_150_names_are_written_in_letters_that_fit_their_row():
    names = [f"class {i}" for i in range(150)]
    figure = predicted.pixels("s", "r", np.eye(150, dtype=np.int64), names)
    figure.dpi = 160  # as it is saved
    figure.draw_without_rendering()
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == names
    row = axis.get_window_extent().height / 150
    assert not axis.texts
    for label in axis.get_yticklabels()[:3]:
        assert 0.5 * row < label.get_window_extent().height < 1.1 * row
        assert label.get_window_extent().height > 9, "px: letters that can be read"


@pytest.mark.filterwarnings("ignore:Glyph")  # of other alphabets
def test_names_are_text_and_no_formula():
    """Each picture is laid out: what is no formula does not raise."""
    names = [given for given, _ in NAMES.values()][: predicted.NAMED]
    k = len(names)
    labels = np.arange(k).repeat(20)[None].repeat(20, 0)
    photo = np.zeros((*labels.shape, 3), np.uint8)
    own = np.array([[i + 1, 20 * i + 1, 1, 20 * i + 20, 20, 0] for i in range(k)], float)
    found = np.c_[own[:, 0], np.full(k, 0.9), own[:, 1:5]]
    drawn = {
        14: [
            predicted.boxes("$x$", r"\frac{", [photo], [own], [found], names),
            predicted.recalls("$x$", r"\frac{", stats.curves([own], [found], k), names),
        ],
        28: [
            predicted.masks("$x$", r"\frac{", [photo], [labels], [labels], names),
            predicted.pixels("$x$", r"\frac{", stats.confusion(labels, labels, k), names),
        ],
    }
    for long, pictures in drawn.items():
        for figure in pictures:
            with figures.style():
                figure.draw_without_rendering()
            assert figure.get_suptitle().startswith(r"$x$: \frac{, ")
            told = "".join(texts(figure))
            assert [name for name in names if one_line(name, long) not in told] == []


def test_every_picture_has_a_caption():
    assert set(predicted.CAPTIONS) == {"boxes", "masks", "recalls", "pixels"}
    assert all(callable(getattr(predicted, name)) for name in predicted.CAPTIONS)
