import itertools
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from harness import one_line
from harness.report import figures
from tests.kit.figures import DRAW, LEAST, runs_of
from tests.kit.hostile import NAMES, size_of


def visible(figure):
    """Boxes of all letters, as drawn."""
    with figures.style():
        figure.draw_without_rendering()
    labels = [t for axis in figure.axes for t in (*axis.texts, axis.xaxis.label, axis.yaxis.label)]
    for side in (side for axis in figure.axes for side in (axis.xaxis, axis.yaxis)):
        low, high = sorted(side.get_view_interval())
        labels += [tick.label1 for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
    labels += [text for axis in figure.axes if axis.get_legend() for text in axis.get_legend().get_texts()]
    labels.append(figure._suptitle)
    return [(t.get_text(), t.get_window_extent()) for t in labels if t.get_text() and t.get_visible()]


@pytest.mark.parametrize("n", [2, 40])
@pytest.mark.parametrize("name", DRAW)
def test_no_letters_overlap_or_leave_the_figure(name, n):
    titles = [f"+ {'W' * 60 if i == 1 else 'rung'} {i}" for i in range(max(n, LEAST.get(name, n)))]
    figure = DRAW[name]("s", *runs_of(len(titles), 2, titles))
    boxes = visible(figure)
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in boxes:
        assert -3 <= box.x0 <= box.x1 <= width + 3, text
        assert -3 <= box.y0 <= box.y1 <= height + 3, text
    for (a, one), (b, other) in itertools.combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, down) < 1, f"{a} on {b}"
    for axis in figure.axes:
        assert axis.get_window_extent().width > width / 6


@pytest.mark.parametrize("name", DRAW)
def test_the_same_data_give_the_same_bytes(name, tmp_path, monkeypatch):
    kinds = ("png", "svg", *(["pdf"] if name == "ladder" else []))  # which takes as long as all else of a figure
    monkeypatch.setattr(import_module("harness.report.figures.style"), "PDF", "pdf" in kinds)
    data = runs_of(3)
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        svg = figures.save(folder, name, DRAW[name]("s", *data))
        made.append([path.read_bytes() for path in sorted(folder.iterdir())])
        assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for kind in kinds}
        assert (folder / f"{name}.svg").read_text() == svg
    assert made[0] == made[1]


AS_LETTERS = {"svg.fonttype": "none", "text.usetex": True, "text.parse_math": True}


GROUPS = [list(NAMES)[start::5] for start in range(5)]  # a figure with each name would take a minute


@cache
def plain_figure(name, n):
    """(SVG, size of the PNG) of a figure of `n` rungs with ordinary names."""
    with TemporaryDirectory() as folder, mpl.rc_context(AS_LETTERS):
        svg = figures.save(Path(folder), name, DRAW[name]("s", *runs_of(n, 2)))
        return svg, size_of((Path(folder) / f"{name}.png").read_bytes())


@pytest.mark.parametrize(
    ("name", "keys"), [(name, GROUPS[(place + k) % len(GROUPS)]) for place, name in enumerate(DRAW) for k in (0, 1)]
)
def test_a_name_is_letters_in_every_figure(name, keys, tmp_path):
    """Rungs have the names, and the study has one of them, in each figure another."""
    given, shown = zip(*(NAMES[key] for key in keys), strict=True)
    place = (1 + list(DRAW).index(name)) % len(keys)
    data = runs_of(len(keys) + 1, 2, ["first", *given])
    with mpl.rc_context(AS_LETTERS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter the font lacks is a box
        svg = figures.save(tmp_path, name, DRAW[name](given[place], *data))
    plain, size = plain_figure(name, len(keys) + 1)
    elements = list(ElementTree.fromstring(svg).iter())
    assert {e.tag for e in elements} == {e.tag for e in ElementTree.fromstring(plain).iter()}
    texts = ["".join(e.itertext()).strip() for e in elements if e.tag.endswith("}text")]
    for due in shown:
        short = due if len(due) <= 40 else f"{due[:39]}…"
        assert any(line.strip() == one_line(short) for line in texts), due
    study = shown[place] if len(shown[place]) <= 40 else f"{shown[place][:39]}…"
    assert any(line.startswith(f"{study}: ") for line in texts)
    assert not any("$\\math" in line for line in texts)
    assert size_of((tmp_path / f"{name}.png").read_bytes()) == size
