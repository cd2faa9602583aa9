import math
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from harness import stats
from harness.report import figures, tuned
from harness.report import search as report
from tests.kit.hostile import NAMES
from tests.kit.trials import ODD, lines_of, mixed, study_of


def test_names_in_figures_are_text(tmp_path):
    given = [NAMES[name][0] for name in ("script", "bad formula", "lines", "long", "surrogate")]
    space = {f"p.{name}": CategoricalDistribution([name, "b"]) for name in given}
    study = study_of(
        create_trial(params={path: own.choices[i % 2] for path, own in space.items()}, distributions=space, value=i)
        for i in (90, 91, 92)
    )
    trials = report.read(study)
    for figure in (
        report.parallel(given[0], trials, report.scales(trials)),
        report.slices(given[1], trials, report.scales(trials)),
        report.importance(given[2], [report.Importance(path, 0.2, 0.1, True) for path in space]),
        tuned.curves({path: [90.0, 91.0] for path in space}, "s"),
    ):
        told = [text.get_text() for text in figure.findobj(Text)]
        assert any("alert(1)" in text for text in told)
        assert all(max(map(len, text.split("\n"))) <= 120 for text in told)
        assert "\u202e" not in "".join(told)
        assert "<script" not in re.sub("<!--.*?-->", "", figures.save(tmp_path, "x", figure))


def test_the_history_shows_the_best_so_far_and_what_was_pruned_apart():
    figure = report.history("s", report.read(mixed()))
    axis = figure.axes[0]
    (step,) = lines_of(axis, "best so far")
    assert list(step.get_xdata()) == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 11]
    assert list(step.get_ydata()) == [90, 91, *[93.5] * 9]
    dots = {own.get_label(): own for own in axis.collections}
    assert dots["pruned, at what it last reported"].get_offsets().tolist() == [[2, 85.25]]
    assert not len(dots["pruned, at what it last reported"].get_facecolors())
    assert len(dots["complete"].get_offsets()) == 10
    assert list(lines_of(axis, "failed")[0].get_xdata()) == [5]
    assert axis.get_ylim()[0] > 60
    (low,) = lines_of(axis, "_below")
    assert list(low.get_xdata()) == [8]  # 10 %, at the edge
    assert any("93.50, trial 3" in text.get_text() for text in axis.texts)


def test_parallel_coordinates_thread_each_complete_trial_through_its_values():
    trials = report.read(mixed())
    space = report.scales(trials)
    figure = report.parallel("s", trials, space)
    paths = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    order = report.ranked(report.complete(trials))[::-1]  # the best on top
    assert len(paths) == len(order) == 10
    low, high = report.room([trial.score for trial in order])
    for patch, trial in zip(paths, order, strict=True):
        points = patch.get_path().vertices
        at = {x: y for x, y in points if x in (0, 1, 2)}
        assert at[0] == pytest.approx((math.log10(trial.values["optimizer.lr"]) + 4) / 4)
        assert (at[1] > 0.5) == (trial.values["schedule.shape"] == "step")
        assert at[2] == pytest.approx(max(0, (trial.score - low) / (high - low)))
    widths = [patch.get_linewidth() for patch in paths]
    assert widths[-1] > max(widths[:-1])
    weights = [np.dot(to_rgb(patch.get_edgecolor()), [0.299, 0.587, 0.114]) for patch in paths]
    assert weights == sorted(weights, reverse=True)  # the darker the better, without hues too
    broken = report.read(study_of(ODD["conditional"]))
    many = report.parallel("s", broken, report.scales(broken)).axes[0].patches
    assert {list(patch.get_path().codes).count(1) for patch in many} == {2}


def test_slices_have_the_scores_on_the_scale_of_the_search():
    trials = report.read(mixed())
    figure = report.slices("s", trials, report.scales(trials))
    rate, shape = figure.axes
    assert (rate.get_xscale(), shape.get_xscale()) == ("log", "linear")
    points = {own.get_label(): own.get_offsets() for own in rate.collections}
    told = [[trial.values["optimizer.lr"], trial.score] for trial in report.complete(trials)]
    assert sorted(points["complete"].tolist()) == sorted(told)
    assert points["pruned, at what it last reported"].tolist() == [[0.01, 85.25]]
    for own in shape.collections:
        x = own.get_offsets()[:, 0]
        assert (np.abs(x - x.round()) <= 0.2).all()
    assert [label.get_text() for label in shape.get_xticklabels()] == ["cosine", "step"]
    assert [list(map(float, lines_of(axis, "_best")[0].get_ydata())) for axis in figure.axes] == [[93.5]] * 2


def test_best_of_n_as_drawn():
    values = np.random.default_rng(0).normal(90, 1, 20)
    axis = report.best_of_n("s", values).axes[0]
    (line,) = lines_of(axis, "expected best")
    assert line.get_ydata() == pytest.approx(stats.best_of_n(values, range(1, 21)))
    (median,) = lines_of(axis, "median best")
    low, high = stats.best_of_n_interval(values, range(1, 21))
    assert ((low <= median.get_ydata()) & (median.get_ydata() <= high)).all()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "expected best",
        "median best",
        "its 95 % interval",
    ]
    assert report.best_of_n("s", [90.0]) is None
