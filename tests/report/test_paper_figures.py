"""Figures 3 and 4 of records made by hand: what is drawn, read back from the figure."""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
from matplotlib.colors import to_rgb

from harness import Problem, report
from harness.report import paper_figures
from harness.store import Store
from tests.kit.records import designed, record, rung
from tests.kit.tiny import finish, known

STEPS = 10  # an epoch
QUANTILES = np.linspace(0, 1, 201)
SHAPES = {"schedule.shape": ["Step", "Cosine"]}
SMOOTHED = {"targets": [None, "Smoothing"], "targets.Smoothing.smoothing": [None, 0.1]}


def plan(**more):
    rungs = [
        rung("baseline"),
        rung("cosine", [1, 0], on=[0]) | {"changes": SHAPES},
        rung("label_smoothing", [2, 1], on=[0, 1]) | {"changes": SMOOTHED},
    ]
    names = {"study": "refinements", "label": "refinements", "command": ["refinements"]}
    return designed("ladder", rungs, ["cosine", "label_smoothing"]) | names | more


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return Store(tmp_path / "store")


def rates(kind, epochs):
    total = epochs * STEPS
    step = [[t, 0.1 if t < total / 2 else 0.01] for t in range(total)]
    return step if kind == "step" else [[t, 0.05 * (1 + np.cos(np.pi * t / total))] for t in range(total)]


def add(store, name, seed, top1=(20.0, 60.0, 80.0), kind="step", gaps=None, status="finished", classes=10):
    own = record(top1[-1], status=status) | {"rates": rates(kind, len(top1)), "classes": classes}
    own["epochs"] = [{"epoch": i, "loss": 1.0, "top1": value, "lr": 0.1} for i, value in enumerate(top1)]
    finish(store, name, seed, own | ({} if gaps is None else {"gaps": list(gaps)}))


def normal(mean, sd):
    """Quantiles of the gaps of a test set, as a record keeps them."""
    return np.quantile(scipy.stats.norm(mean, sd).ppf((np.arange(5000) + 0.5) / 5000), QUANTILES)


@pytest.fixture
def trained(store):
    for seed in range(3):
        add(store, "baseline", seed, (20.0 + seed, 60.0, 80.0))
        add(store, "cosine", seed, (10.0, 50.0, 84.0 + 2 * seed), "cosine", normal(7, 2))
        add(store, "label_smoothing", seed, (10.0, 50.0, 85.0), "cosine", normal(4.4, 1))
    return store


def lines(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def text(figure):
    return " ".join([figure.get_suptitle(), *(t.get_text() for axis in figure.axes for t in legend(axis))])


def legend(axis):
    return axis.get_legend().get_texts() if axis.get_legend() else []


def test_schedules_are_drawn_as_used_and_named_by_their_kind(trained):
    upper, lower = paper_figures.schedules(plan(), trained).axes
    drawn = lines(upper)
    assert set(drawn) == {"Cosine: cosine", "Step: baseline"}
    epochs, used = drawn["Cosine: cosine"].get_data()
    assert used == pytest.approx(0.05 * (1 + np.cos(np.pi * np.arange(30) / 30)))
    assert epochs == pytest.approx(np.arange(30) / STEPS)
    step = drawn["Step: baseline"].get_ydata()
    assert list(step[[0, 14, 15, 29]]) == [0.1, 0.1, 0.01, 0.01]
    curves = lines(lower)
    assert list(curves["Cosine: cosine (n = 3)"].get_ydata()) == pytest.approx([10, 50, 86])
    assert list(curves["Step: baseline (n = 3)"].get_ydata()) == pytest.approx([21, 60, 80])
    assert list(curves["Step: baseline (n = 3)"].get_xdata()) == [1, 2, 3]
    band = lower.collections[0].get_paths()[0].vertices
    assert sorted({y for x, y in band if x == 3}) == pytest.approx([84, 88]), "from the least seed to the greatest"
    hues = {to_rgb(line.get_color()) for line in drawn.values()}
    assert len(hues) == len({line.get_linestyle() for line in drawn.values()}) == 2, "told apart without colours too"


def test_a_diverged_seed_is_marked_and_counted(trained):
    add(trained, "cosine", 1, (10.0, 12.0), "cosine", status="diverged")
    figure = paper_figures.schedules(plan(), trained)
    lower = figure.axes[1]
    crosses = [line for line in lower.lines if line.get_marker() == "X"]
    assert [tuple(cross.get_xydata()[0]) for cross in crosses] == [(2.0, 12.0)]
    assert list(lines(lower)["Cosine: cosine (n = 3)"].get_ydata())[-1] == pytest.approx((84 + 12 + 88) / 3)
    assert "×: diverged" in text(figure)


def test_the_optimal_gap_is_where_the_smoothed_loss_is_least():
    for classes, smoothing in ((10, 0.1), (1000, 0.1), (5, 0.3)):
        target = np.full(classes, smoothing / (classes - 1))
        target[0] = 1 - smoothing

        def loss(gap, target=target, classes=classes):
            return -(target * scipy.special.log_softmax(np.append(gap, np.zeros(classes - 1)))).sum()

        best = scipy.optimize.minimize_scalar(loss, bounds=(-20, 20), method="bounded").x
        assert paper_figures.optimal_gap(smoothing, classes) == pytest.approx(best, abs=1e-4)
    assert paper_figures.optimal_gap(0.1, 10) == pytest.approx(4.394, abs=1e-3)
    assert paper_figures.optimal_gap(0.1, 1000) == pytest.approx(9.104, abs=1e-3)
    assert paper_figures.optimal_gap(0.9, 10) == pytest.approx(0, abs=1e-12), "all alike at ε = (K - 1)/K"


def test_the_density_of_quantiles_is_the_distributions():
    edges = np.linspace(-3, 3, 31)
    made = paper_figures.density([normal(0, 1)], edges)
    want = np.diff(scipy.stats.norm.cdf(edges)) / 0.2
    assert made == pytest.approx(want, abs=0.01)
    both = paper_figures.density([normal(-1, 0.5), normal(1, 0.5)], edges)
    mixed = (np.diff(scipy.stats.norm(-1, 0.5).cdf(edges)) + np.diff(scipy.stats.norm(1, 0.5).cdf(edges))) / 0.4
    assert both == pytest.approx(mixed, abs=0.015), "pooled, not averaged: two humps"
    assert paper_figures.density([normal(0, 1)], np.array([-9.0, 0.0, 9.0])) @ [9, 9] == pytest.approx(1)
    point = paper_figures.density([np.zeros(201)], np.array([-1.0, -0.5, 0.5, 1.0]))
    assert list(point) == [0, 1, 0], "all images alike"


def test_theory_and_measured_gaps_are_drawn(trained):
    figure = paper_figures.gaps(plan(), trained)
    upper, lower = figure.axes
    drawn = lines(upper)
    assert {"K = 10", "K = 1,000"} <= set(drawn)
    eps, gap = drawn["K = 10"].get_data()
    assert gap == pytest.approx(np.log(9 * (1 - eps) / eps))
    assert eps.min() > 0
    assert eps.max() < 1
    assert {t.get_text() for t in upper.texts} == {"4.39", "9.10"}
    assert "K = 10, ε = 0.1" in text(figure)
    assert "20 test images" in text(figure)
    optimum = lines(lower)["optimum: 4.39"].get_xdata()
    assert list(optimum) == pytest.approx([np.log(81)] * 2)
    drawn = {p.get_label(): p.get_data() for p in lower.patches if not p.get_label().startswith("_")}
    assert set(drawn) == {"ε = 0.1: label_smoothing (n = 3)", "without: cosine (n = 3)"}
    for name, mean in (("ε = 0.1: label_smoothing (n = 3)", 4.4), ("without: cosine (n = 3)", 7)):
        height, edges, _ = drawn[name]
        assert height @ np.diff(edges) == pytest.approx(1, abs=0.02)
        assert (height * np.diff(edges)) @ (edges[1:] + edges[:-1]) / 2 == pytest.approx(mean, abs=0.1)


def test_one_curve_where_k_is_the_papers(trained):
    for seed in range(3):
        for name in ("cosine", "label_smoothing"):
            add(trained, name, seed, gaps=normal(9, 1), classes=1000)
    upper = paper_figures.gaps(plan(), trained).axes[0]
    assert [t.get_text() for t in legend(upper)] == ["K = 1,000"]


def test_seeds_whose_gaps_are_not_finite_or_missing_are_said_and_do_not_stretch_the_frame(trained):
    add(trained, "cosine", 0, gaps=[float("nan")] * 201, status="diverged")
    add(trained, "label_smoothing", 0)
    add(trained, "label_smoothing", 1, gaps=normal(1e6, 1))
    figure = paper_figures.gaps(plan(), trained)
    assert "without: cosine (n = 2 of 3)" in text(figure)
    assert "label_smoothing (n = 2 of 3)" in text(figure)
    assert "not drawn: 2 runs without finite gaps" in figure.axes[1].get_xlabel()
    add(trained, "label_smoothing", 0, gaps=normal(4.4, 1))
    lower = paper_figures.gaps(plan(), trained).axes[1]
    assert lower.get_xlim()[1] < 20
    assert "up to 34 % of a line beyond the frame" in lower.get_xlabel(), "one of three, and 1 % of the others"


def test_all_of_an_arm_diverged_and_one_seed_are_figures_all_the_same(store):
    one = plan()
    one["rungs"] = [own | {"seeds": [0]} for own in one["rungs"]]
    add(store, "baseline", 0, (10.0,), status="diverged")
    add(store, "cosine", 0, (10.0,), "cosine", [float("nan")] * 201, "diverged")
    add(store, "label_smoothing", 0, (10.0,), "cosine", normal(4, 1))
    assert "cosine (n = 0 of 1)" in text(paper_figures.gaps(one, store))
    assert "(n = 1)" in text(paper_figures.schedules(one, store))


def test_the_pair_is_found_whatever_the_design(trained):
    back = designed(
        "leave-one-out",
        [
            rung("label_smoothing", on=[0, 1]),
            rung("cosine", [0, 1], on=[0]) | {"changes": {k: v[::-1] for k, v in SMOOTHED.items()}},
        ],
        ["cosine", "label_smoothing"],
    )
    pair, differs = paper_figures.around(back, "label_smoothing", trained)
    assert pair == (0, 1)
    assert differs["targets.Smoothing.smoothing"] == (0.1, None)
    assert paper_figures.around(plan(), "label_smoothing", trained) == (
        (2, 1),
        {k: tuple(v[::-1]) for k, v in SMOOTHED.items()},
    )


def test_a_pair_of_another_network_serves_where_the_first_has_no_runs(trained):
    more = plan()
    more["rungs"] = [
        *(own | {"id": known(f"{own['id']}-unrun")} for own in more["rungs"][:2]),
        rung("mobilenet") | {"id": known("baseline")},
        rung("mobilenet.cosine", [3, 2], on=[0]) | {"id": known("cosine"), "changes": SHAPES},
    ]
    assert paper_figures.around(more, "cosine", trained)[0] == (3, 2)


def test_what_cannot_be_drawn_is_a_clear_line(store):
    with pytest.raises(Problem, match="refinements: no rung whose gain is that of cosine"):
        paper_figures.schedules(plan(tricks=[]), store)
    command = "python -m harness.ablate refinements --only baseline cosine"
    with pytest.raises(Problem, match=f"no finished runs to draw: {command}$"):
        paper_figures.schedules(plan(), store)
    for name in ("baseline", "cosine", "label_smoothing"):
        add(store, name, 0)
    with pytest.raises(Problem, match="made before.*harness.ablate refinements --only cosine label_smoothing --fresh$"):
        paper_figures.gaps(plan(), store)
    add(store, "cosine", 0, gaps=normal(7, 1))
    with pytest.raises(Problem, match="--fresh$"):
        paper_figures.gaps(plan(), store)


def test_the_files_are_in_the_reports_folder_and_the_same_each_time(trained, tmp_path):
    for number in (3, 4):
        path = report.paper_figure(plan(), trained, number)
        assert path == tmp_path / "reports" / "refinements" / f"figure{number}.png"
        first = path.read_bytes(), path.with_suffix(".svg").read_bytes()
        assert first[0].startswith(b"\x89PNG")
        report.paper_figure(plan(), trained, number)
        assert (path.read_bytes(), path.with_suffix(".svg").read_bytes()) == first
