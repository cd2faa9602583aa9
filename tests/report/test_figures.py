"""Figures, read back from what matplotlib was told to draw, or from their SVG."""

import io
import itertools
import math
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from sklearn.isotonic import IsotonicRegression

from harness import one_line, stats
from harness.report import figures
from tests.test_security import NAMES, size_of

EPOCHS, STEPS = 4, 10
MARKS = {"budget_changed": False, "upstream": False, "also": False, "elsewhere": False}


def runs_of(n, seeds=3, titles=None, diverged=(), emulated=()):
    """(every, table, gains) of `n` rungs: seed s of rung r has 90 + r/10 + noise; `diverged` are (rung, seed)."""
    rng = np.random.default_rng(0)
    every = []
    for place, seed in itertools.product(range(n), range(seeds)):
        bad = (place, seed) in diverged
        top1 = 10.0 if bad else 90 + place / 10 + float(rng.normal())
        told = [{"epoch": e, "loss": 2 / (e + 1) + 0.1 * seed, "top1": top1 - 20 / (e + 1)} for e in range(EPOCHS)]
        told = [*told[:1], {"epoch": 1, "loss": math.nan, "top1": 10.0}] if bad else told
        every.append(
            {
                "place": place,
                "rung": f"r{place}",
                "title": one_line(titles[place] if titles else f"rung {place}"),
                "seed": seed,
            }
            | {"status": "diverged" if bad else "finished", "top1": top1, "epochs": told, "gmacs": 1 + place % 3}
            | {"seconds_per_epoch": 1.0 + place, "steps_per_epoch": float(STEPS), "emulated": place in emulated}
            | {"rates": [[step, 0.1 if place < 2 else 0.2] for step in range(EPOCHS * STEPS)]}
        )
    every = pd.DataFrame(every)
    rows, gains = [], {}
    for place, own in every.groupby("place"):
        below = every.loc[every["place"] == place - 1, "top1"]
        gains[place] = list(enumerate(own["top1"].to_numpy() - below.to_numpy())) if place else []
        gain, low, high, _ = stats.paired_t([g for _, g in gains[place]])
        said = "" if math.isnan(low) else ("helps", "hurts", "not resolved (MDE 0.42)", "not resolved")[place % 4]
        rows.append(
            {"place": place, "title": own["title"].iloc[0], "n": seeds, "top1_mean": own["top1"].mean()}
            | {"gain_pairs": seeds, "gain": gain, "gain_low": low, "gain_high": high, "verdict": said, "epochs": EPOCHS}
            | {"gmacs": own["gmacs"].iloc[0], "seconds_per_epoch": 1.0 + place, "emulated": place in emulated}
            | MARKS
        )
    return every, pd.DataFrame(rows), gains


def effects_of(names=("a", "b", "a × b"), **columns):
    n = len(names)
    table = pd.DataFrame({"name": names, "value": np.arange(n) - 0.5, "order_se": math.nan, "aliases": "", "n": 5})
    table = table.assign(low=table["value"] - 0.4, high=table["value"] + 0.4, main=[True] * (n - 1) + [False])
    return table.assign(verdict=["hurts", *["helps"] * (n - 2), "not resolved"], **columns)


def lines(axis, label):
    return [line for line in axis.lines if line.get_label() == label]


def dots(axis):
    """(x, y) of each seed, and the marks that stand for them."""
    seeds = [c for c in axis.collections if c.get_label() == "seeds"]
    return np.concatenate([c.get_offsets() for c in seeds]), [len(c.get_offsets()) for c in seeds]


DRAW = {
    "ladder": figures.forest,
    "curves": lambda study, every, table, gains: figures.curves(study, with_epochs(every, whole), table),
    "rates": lambda study, every, table, gains: figures.rates(study, every, table),
    "cost": lambda study, every, table, gains: figures.cost(study, every, table),
    "effects": lambda study, every, table, gains: figures.effects(study, effects_of((*table["title"], "x × y"))),
}


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_pareto_is_what_nothing_beats(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (2, 12)).astype(float)
    y[rng.random(12) < 0.1] = math.nan
    there = [i for i in range(12) if y[i] == y[i]]
    beaten = {
        i for i in there for j in there if x[j] <= x[i] and y[j] >= y[i] and (x[j] < x[i] or y[j] > y[i])
    }  # fmt: skip
    front = figures.pareto(x, y)
    assert sorted(front) == sorted(set(there) - beaten)
    assert list(x[front]) == sorted(x[front])


@pytest.mark.parametrize("seed", range(20))
def test_names_part_as_little_as_they_must(seed):
    rng = np.random.default_rng(seed)
    n, gap = int(rng.integers(1, 20)), 0.05
    wanted = rng.random(n).round(1)
    made = figures.apart(wanted, gap)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(n)
    fit = IsotonicRegression(y_min=0, y_max=1 - steps[-1]).fit_transform(np.arange(n), wanted[order] - steps)
    assert made[order] == pytest.approx(fit + steps)
    assert (np.diff(made[order]) >= gap - 1e-9).all()


def test_names_part_by_hand():
    assert list(figures.apart([0.5, 0.5], 0.1)) == pytest.approx([0.45, 0.55])
    assert list(figures.apart([0.9, 0.1], 0.1)) == [0.9, 0.1]
    assert list(figures.apart([1, 1, 1], 0.1)) == pytest.approx([0.8, 0.9, 1])
    assert list(figures.apart([0, 0, 0], 0.9)) == pytest.approx([0, 0.5, 1])


def test_a_frame_has_every_point_and_no_more_than_thrice_their_room():
    low, high = figures.frame([1, 2, 3, math.nan], [[0.5, 3.5], [math.nan, math.nan]])
    assert (low, high) == pytest.approx((0.35, 3.65))
    low, high = figures.frame([1, 3], [-100, 3.5])
    assert (low, high) == pytest.approx((-3 - 0.325, 3.5 + 0.325))


# --- forest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "seeds"), [(2, 1), (3, 2), (10, 5), (40, 3)])
def test_every_seed_and_every_pair_is_a_dot(n, seeds):
    every, table, gains = runs_of(n, seeds)
    left, right = figures.forest("s", every, table, gains).axes
    at, _ = dots(left)
    assert sorted(at[:, 0]) == pytest.approx(sorted(every["top1"]))
    assert set(at[:, 1].round()) == set(range(n))
    (pairs,) = lines(right, "pairs")
    assert len(pairs.get_xdata()) == (n - 1) * seeds
    assert sorted(pairs.get_xdata()) == pytest.approx(sorted(g for own in gains.values() for _, g in own))
    for axis, x in ((left, at[:, 0]), (right, pairs.get_xdata())):
        assert axis.get_xlim()[0] < min(x)
        assert max(x) < axis.get_xlim()[1]


def test_a_gain_is_hollow_unless_it_helps_or_hurts():
    every, table, gains = runs_of(10)
    table.loc[9, "verdict"] = ""
    right = figures.forest("s", every, table, gains).axes[1]
    hollow = {round(float(m.get_ydata()[0])): m.get_mfc() == "white" for m in lines(right, "open")}
    filled = {round(float(m.get_ydata()[0])): m.get_mfc() == m.get_color() for m in lines(right, "resolved")}
    assert hollow == {2: True, 3: True, 6: True, 7: True, 9: True}
    assert filled == {1: True, 4: True, 5: True, 8: True}
    color = {round(float(m.get_ydata()[0])): m.get_color() for m in lines(right, "resolved")}
    assert color[4] == color[8] != color[1] == color[5]


def test_a_diverged_run_is_marked_and_a_refused_one_is_not_there():
    every, table, gains = runs_of(3, diverged={(1, 0)})
    every.loc[8, "status"] = "refused"
    left = figures.forest("s", every, table, gains).axes[0]
    at, counts = dots(left)
    assert counts == [7, 1]
    assert list(at[-1]) == pytest.approx([10, 1 - figures.BESIDE / 2])
    assert "diverged" in left.get_xlabel()
    assert every["top1"][8] not in at[:, 0]


def test_a_design_without_gains_has_one_panel():
    every, table, _ = runs_of(4)
    (axis,) = figures.forest("s", every, table.assign(gain=math.nan), {}).axes
    assert "paired" not in axis.figure._suptitle.get_text()


def test_an_interval_beyond_the_frame_ends_in_an_arrow():
    every, table, gains = runs_of(3)
    table.loc[1, ["gain_low", "gain_high"]] = [-1000.0, 1000.0]
    right = figures.forest("s", every, table, gains).axes[1]
    assert {m.get_marker() for m in right.lines if round(float(np.ravel(m.get_ydata())[0])) == 1} >= {"<", ">"}
    assert max(map(abs, right.get_xlim())) < 50


# --- curves and rates ------------------------------------------------------------------------------------------------


def test_a_band_is_from_least_to_greatest_and_holds_its_mean():
    every, table, _ = runs_of(3)
    for axis, name in zip(figures.curves("s", every, table).axes, ("loss", "top1"), strict=True):
        means = lines(axis, "mean")
        assert len(means) == len(axis.collections) == 3
        for place, (mean, band) in enumerate(zip(means, axis.collections, strict=True)):
            told = np.array([[epoch[name] for epoch in run] for run in every.loc[every["place"] == place, "epochs"]])
            assert list(mean.get_xdata()) == [1, 2, 3, 4]
            assert mean.get_ydata() == pytest.approx(told.mean(0))
            x, y = band.get_paths()[0].vertices.T
            for epoch, low, high in zip((1, 2, 3, 4), told.min(0), told.max(0), strict=True):
                assert (y[x == epoch].min(), y[x == epoch].max()) == pytest.approx((low, high))


def test_a_run_that_diverged_keeps_its_last_accuracy_and_its_loss_ends():
    every, table, _ = runs_of(2, diverged={(1, 0)})
    loss, top1 = figures.curves("s", every, table).axes
    told = [[epoch["top1"] for epoch in run] for run in every.loc[every["place"] == 1, "epochs"]]
    expected = np.mean([[told[0][0], 10, 10, 10], *told[1:]], axis=0)
    assert lines(top1, "mean")[1].get_ydata() == pytest.approx(expected)
    assert [(list(m.get_xdata()), list(m.get_ydata())) for m in lines(top1, "diverged")] == [([2], [10.0])]
    assert np.isfinite(lines(loss, "mean")[1].get_ydata()).all()
    assert top1.get_ylim()[0] < 10


def with_epochs(every, tell):
    """`every`, of whose epochs `tell(epoch, place)` is told."""
    return every.assign(
        epochs=[[tell(e, row.place) for e in run] for row, run in zip(every.itertuples(), every["epochs"], strict=True)]
    )


def whole(epoch, place):
    return epoch | {"test_loss": 3 + place + epoch["epoch"], "train_top1": epoch["top1"] + 5 + place}


def test_training_and_test_stand_beside_each_other():
    every, table, _ = runs_of(3)
    every = with_epochs(every, whole)
    figure = figures.curves("s", every, table)
    names = {"training loss": "loss", "test loss": "test_loss"}
    names |= {"training top-1 (%)": "train_top1", "test top-1 (%)": "top1"}
    assert [axis.get_ylabel() for axis in figure.axes] == list(names)
    at = {axis.get_ylabel(): axis.get_position() for axis in figure.axes}
    assert at["training loss"].x1 < at["test loss"].x0
    assert at["training loss"].y0 > at["training top-1 (%)"].y1
    for axis in figure.axes:
        for place, line in enumerate(lines(axis, "mean")):
            runs = every.loc[every["place"] == place, "epochs"]
            told = [[epoch[names[axis.get_ylabel()]] for epoch in run] for run in runs]
            assert line.get_ydata() == pytest.approx(np.mean(told, axis=0))
        assert {text.get_text() for text in axis.texts} == (
            set(figures.names(table)) if axis.get_ylabel().startswith("test") else set()
        )


def held_out(epoch, place):
    """An epoch of a run that holds images out: it measures these, and the test set at its end."""
    own = {"val_loss": 7.0 + place, "val_top1": epoch["top1"]}
    return {"epoch": epoch["epoch"], "loss": epoch["loss"], "train_top1": 50.0} | own


def test_images_held_out_are_in_the_place_of_the_test_set():
    every, table, _ = runs_of(2)
    held = with_epochs(every, held_out)
    figure = figures.curves("s", held, table)
    labels = ["training loss", "held-out loss", "training top-1 (%)", "held-out top-1 (%)"]
    assert [axis.get_ylabel() for axis in figure.axes] == labels
    assert [set(line.get_ydata()) for line in lines(figure.axes[1], "mean")] == [{7.0}, {8.0}]
    own = lines(figures.curves("s", every, table).axes[-1], "mean")
    for line, same in zip(lines(figure.axes[3], "mean"), own, strict=True):
        assert list(line.get_ydata()) == list(same.get_ydata())
    some = with_epochs(every, lambda epoch, place: held_out(epoch, place) if place else whole(epoch, place))
    labels = [axis.get_ylabel() for axis in figures.curves("s", some, table).axes]
    assert labels[1::2] == ["test or held-out loss", "test or held-out top-1 (%)"]


def test_a_run_stopped_early_keeps_its_last_accuracy_and_its_loss_ends():
    every, table, _ = runs_of(2, seeds=2)
    every.at[0, "epochs"] = every["epochs"][0][:2]
    loss, top1 = figures.curves("s", every, table).axes
    (short, full) = every["epochs"][0], every["epochs"][1]
    assert lines(loss, "mean")[0].get_ydata()[2:] == pytest.approx([epoch["loss"] for epoch in full[2:]])
    mean = [(short[-1]["top1"] + epoch["top1"]) / 2 for epoch in full[2:]]
    assert lines(top1, "mean")[0].get_ydata()[2:] == pytest.approx(mean)


def test_a_rung_that_has_no_finite_loss_has_no_name_beside_it():
    every, table, _ = runs_of(2)
    every = with_epochs(every, lambda epoch, place: epoch | {"test_loss": math.nan if place else 1.0})
    _, loss, top1 = figures.curves("s", every, table).axes
    assert [text.get_text() for text in loss.texts] == ["rung 0"]
    assert [text.get_text() for text in top1.texts] == ["rung 0", "rung 1"]


def test_records_without_epochs_or_rates_have_no_such_figure():
    every, table, _ = runs_of(2)
    assert figures.rates("s", every.assign(rates=None), table) is None
    assert figures.curves("s", every.assign(epochs=[[{}]] * len(every)), table) is None


def test_rungs_of_one_schedule_share_a_line():
    every, table, _ = runs_of(9)
    figure = figures.rates("s", every, table)
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert [line.get_ydata()[0] for line in drawn] == [0.1, 0.2]
    assert list(drawn[0].get_xdata()) == pytest.approx(np.arange(40) / STEPS)
    told = [label.get_text().split("\n") for label in figure.axes[0].get_legend().get_texts()]
    assert [[name.strip() for name in names] for names in told] == [
        ["rung 0", "rung 1"],
        ["rung 2", "rung 3", "rung 4", "rung 5", "and 3 more"],
    ]


# --- effects and cost ------------------------------------------------------------------------------------------------


def test_effects_are_bars_main_ones_first():
    table = effects_of(
        ("a × b", "b", "a"), main=[False, True, True], aliases=["c × d", "", ""], order_se=[math.nan, 0.1, 0.2]
    )
    axis = figures.effects("s", table).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a", "a × b\nor c × d"]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 1.5, -0.5]
    assert [bar.get_facecolor()[3] > 0 for bar in axis.patches] == [True, False, True]
    spans = [list(line.get_xdata()) for line in lines(axis, "orders")]
    assert spans == [pytest.approx([0.4, 0.6]), pytest.approx([1.3, 1.7])]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def test_points_of_cost_are_where_their_cost_and_mean_are():
    every, table, _ = runs_of(12, emulated={3, 5})
    upper, lower = figures.cost("s", every, table).axes
    for axis, x in ((upper, [EPOCHS * (1 + i) for i in range(12)]), (lower, [1 + i % 3 for i in range(12)])):
        points = lines(axis, "rung")
        at = [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points]
        assert at == [pytest.approx(point) for point in zip(x, table["top1_mean"], strict=True)]
        assert [i for i, p in enumerate(points) if p.get_marker() == "s"] == [3, 5]
        (front,) = lines(axis, "front")
        assert max(front.get_ydata()) == pytest.approx(table["top1_mean"].max())
        assert {text.get_text() for text in axis.texts} == set(figures.names(table))
    assert (upper.get_xscale(), lower.get_xscale()) == ("log", "linear")


def test_logarithmic_axes_have_plain_numbers():
    every, table, _ = runs_of(12)
    steep = [[{"epoch": 0, "loss": 100.0, "top1": 1.0}, {"epoch": 1, "loss": 0.1, "top1": 2.0}]] * len(every)
    for axis in (
        figures.curves("s", every.assign(epochs=steep), table).axes[0],
        figures.cost("s", every, table).axes[0],
    ):
        with figures.style():
            axis.figure.draw_without_rendering()
        side = {"log": axis.yaxis}.get(axis.get_yscale(), axis.xaxis)
        assert side.get_scale() == "log"
        told = [label.get_text() for label in side.get_ticklabels()]
        assert len(told) >= 3
        assert [float(text) for text in told] == pytest.approx(list(side.get_majorticklocs()))


def test_of_many_rungs_the_first_and_the_front_are_named():
    every, table, _ = runs_of(20)
    upper = figures.cost("s", every, table).axes[0]
    front = figures.pareto(table["seconds_per_epoch"] * table["epochs"], table["top1_mean"])
    assert {text.get_text() for text in upper.texts} == {f"rung {i}" for i in {0, *front}}


# --- as they are read ------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("n", [2, 10, 40])
@pytest.mark.parametrize("name", DRAW)
def test_no_letters_overlap_or_leave_the_figure(name, n):
    titles = [f"+ {'W' * 60 if i == 1 else 'rung'} {i}" for i in range(n)]
    figure = DRAW[name]("s", *runs_of(n, 2, titles))
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
def test_the_same_data_give_the_same_bytes(name, tmp_path):
    data = runs_of(3)
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        svg = figures.save(folder, name, DRAW[name]("s", *data))
        made.append([path.read_bytes() for path in sorted(folder.iterdir())])
        assert {path.name for path in folder.iterdir()} == {f"{name}.png", f"{name}.svg"}
        assert (folder / f"{name}.svg").read_text() == svg
    assert made[0] == made[1]


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_laid_out_once_and_saved_as_matplotlib_would(name, tmp_path, monkeypatch):
    data, laid_out, whole = runs_of(3), [], ConstrainedLayoutEngine.execute
    with figures.style(), mpl.rc_context({"svg.hashsalt": name}):
        buffer = io.BytesIO()
        DRAW[name]("s", *data).savefig(buffer, format="svg", metadata={"Date": None})
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *at: laid_out.append(at) or whole(*at))
    figure = DRAW[name]("s", *data)
    assert figures.save(tmp_path, name, figure) == buffer.getvalue().decode()
    assert len(laid_out) == 1
    assert size_of((tmp_path / f"{name}.png").read_bytes()) == tuple(
        int(side) for side in 160 * figure.get_size_inches()
    )


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize("name", DRAW)
def test_a_name_is_letters_in_every_figure(name, key, tmp_path):
    given, shown = NAMES[key]
    short = shown if len(shown) <= 40 else f"{shown[:39]}…"
    data = runs_of(2, 2, ["first", given])
    with mpl.rc_context({"svg.fonttype": "none", "text.usetex": True, "text.parse_math": True}):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter the font lacks is a box
            svg = figures.save(tmp_path, name, DRAW[name](given, *data))
        plain = figures.save(tmp_path / "plain", name, DRAW[name]("s", *runs_of(2, 2)))
    elements = list(ElementTree.fromstring(svg).iter())
    assert {e.tag for e in elements} == {e.tag for e in ElementTree.fromstring(plain).iter()}
    texts = ["".join(e.itertext()).strip() for e in elements if e.tag.endswith("}text")]
    assert any(line.strip() == one_line(short) for line in texts)
    assert any(line.startswith(f"{short}: ") for line in texts)
    assert not any("$\\math" in line for line in texts)
    pictures = [size_of((folder / f"{name}.png").read_bytes()) for folder in (tmp_path, tmp_path / "plain")]
    assert pictures[0] == pictures[1]
