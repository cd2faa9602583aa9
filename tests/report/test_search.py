"""Reports of searches whose trials are made by hand, not trained; read back by parsers, or from what was drawn."""

import itertools
import math
import re
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from harness import Problem, one_line, stats
from harness.report import figures, tuned
from harness.report import search as report
from tests.report.test_page import Tree
from tests.test_security import NAMES

RATE, DECAY = FloatDistribution(1e-4, 1.0, log=True), FloatDistribution(0.0, 0.3)
SHAPE, EPOCHS = CategoricalDistribution(["cosine", "step"]), IntDistribution(10, 60, step=10)
SEARCH = {
    "label": "digits-cosine",
    "study": "digits",
    "title": "+ cosine decay",
    "trials": 12,
    "sampler": "TPE",
    "pruner": "median",
    "seed": 0,
    "share": 0.1,
    "seeds": [0, 1],
    "objectives": ["top1"],
    "storage": "postgresql://me:***@host/optuna",
    "command": "python -m harness.search digits --trials 12",
    "chosen": {"trial": 3, "values": {"optimizer.lr": 0.1}, "score": 93.5, "spec_id": "s3"}
    | {"test": {0: 92.0, 1: 93}},
    "tested": ["s3"],
}


@pytest.fixture(autouse=True, scope="module")
def few_shuffles():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.report.search.importances.SHUFFLES", 39)
        yield


def done(score, rate=0.1, shape="cosine", seeds=None, cost=None, **told):
    """A complete trial; of two objectives with a cost."""
    space = {"optimizer.lr": RATE, "schedule.shape": SHAPE}
    values = {"value": score} if cost is None else {"values": [score, cost]}
    own = {"scores": {str(s): v for s, v in enumerate(seeds or [score])}, "seconds": 60.0, "spec": "s"}
    return create_trial(
        params={"optimizer.lr": rate, "schedule.shape": shape}, distributions=space, user_attrs=own | told, **values
    )


def stopped(reached, rate=0.01, state=TrialState.PRUNED, **told):
    own = {"params": {"optimizer.lr": rate, "schedule.shape": "step"}, "user_attrs": told}
    steps = dict(enumerate(reached))
    return create_trial(
        state=state, distributions={"optimizer.lr": RATE, "schedule.shape": SHAPE}, intermediate_values=steps, **own
    )


def failed(**told):
    return stopped([], state=TrialState.FAIL, **told)


def study_of(trials, directions=("maximize",)):
    made = optuna.create_study(directions=list(directions))
    made.add_trials(trials)
    return made


def mixed():
    """Twelve trials: 3 is the best, 11 the second; 2 was pruned, 5 failed and 6 takes it up."""
    scores = [90.0, 91.0, None, 93.5, 88.0, None, 91.5, 92.0, 10.0, 90.5, 89.0, 93.0]
    trials = [done(score or 0, rate=10 ** (-4 + i / 3)) for i, score in enumerate(scores)]
    trials[3] = done(93.5, 0.1, seeds=[93.0, 94.0])
    trials[2] = stopped([40.0, 85.25], why="below the median")
    trials[5], trials[6] = failed(why="out of memory"), done(91.5, 0.5, failed_trial=5)
    return study_of(trials)


def rows_of(text):
    """Cells of the first table of a Markdown text."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    table = tokens[next(i for i, t in enumerate(tokens) if t.type == "table_open") :]
    end = next(i for i, t in enumerate(table) if t.type == "table_close")
    rows, cells = [], []
    for before, token in itertools.pairwise(table[:end]):
        if before.type in ("th_open", "td_open"):
            cells.append("".join(child.content for child in token.children))
        if token.type == "tr_close":
            rows.append(cells)
            cells = []
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return folder, report.render(SEARCH, mixed(), folder)


# --- the files -------------------------------------------------------------------------------------------------------


def test_best_trials_first_then_pruned_ones_then_the_rest(whole):
    folder, made = whole
    head, *rows = rows_of((folder / "trials.md").read_text())
    assert [row[0] for row in rows] == ["3", "11", "7", "6", "1", "9", "0", "10", "4", "8"]
    assert head[1:] == ["validation top-1 (%)", "optimizer.lr", "schedule.shape", "seconds", "state"]
    assert rows[0][1:] == ["93.50 ± 0.71", "0.1", "cosine", "60", "complete"]  # |93 - 94|/√2
    assert rows[3][-1] == "complete, takes up 5"
    assert [row[0] for row in rows_of(made.text)[1:]] == ["3", "11", "7", "6", "1"]
    everyone = report.ranked(report.read(mixed()))
    assert [trial.number for trial in everyone[-2:]] == [2, 5]
    assert report.state_of(everyone[-2]) == "pruned: at 85.25, step 1; below the median"
    assert report.state_of(everyone[-1]) == "failed: out of memory"


def test_the_csv_has_all_trials_unrounded(whole):
    table = pd.read_csv(whole[0] / "trials.csv")
    assert list(table["trial"]) == list(range(12))
    assert table.loc[3, "score_sd"] == np.std([93, 94], ddof=1)
    assert table["optimizer.lr"][1] == pytest.approx(
        10 ** (-4 + 1 / 3), rel=1e-14, abs=0
    )  # pandas reads to the last bit but one
    assert list(table["state"][[2, 5]]) == ["pruned", "failed"]
    assert (table["reached"][2], table["step"][2]) == (85.25, 1)
    assert np.isnan(table["score"][2])
    assert table["takes_up"][6] == 5


def test_the_text_says_what_was_found_in_numbers(whole):
    text = whole[1].text
    assert "Trial 3 is the best of 10 complete trials: 93.50 ± 0.71 % top-1 (mean ± s.d. of 2 seeds)" in text
    pool = [90.0, 91.0, 85.25, 93.5, 88.0, 91.5, 92.0, 10.0, 90.5, 89.0, 93.0]  # no failed one
    half, before = (np.mean([max(own) for own in itertools.combinations(pool, n)]) for n in (5, 10))
    assert f"rises by {93.5 - half:.2f} points from 5 to 11 of the trials" in text
    assert f"by {93.5 - before:.3f} with the last one" in text
    assert f"{(93.5 - 93.0) / 11:.3f} with" in text
    assert "This search looked at the test set once, by the chosen configuration." in text


def test_the_page_is_one_file_with_its_figures_and_commands(whole):
    text = (whole[0] / "index.html").read_text()
    tree = Tree(text)
    heads = ["What was found", "Best trials", "What was searched", "How", "Trials", "Parallel coordinates"]
    assert tree.texts("h2") == [*heads, "Importances", "Slices", "Expected best of n trials", "To make it again"]
    assert not tree.of("script")
    assert not tree.comments
    assert len(tree.of("svg")) == len(tree.of("figcaption")) == 5
    ids = [own["id"] for _, own, *_ in tree.elements if "id" in own]
    assert len(ids) == len(set(ids))
    (again,) = tree.texts("code")
    first, second, third = again.splitlines()
    assert (first, second) == (SEARCH["command"], "optuna-dashboard 'postgresql://me:***@host/optuna'")
    assert third.startswith("# harness ")
    said = " ".join(tree.texts("p"))
    assert "Scored on 10 % of the training data, held out. Each trial at seeds 0 and 1, its score the mean." in said
    assert "12 asked; 10 complete, 1 pruned, 1 failed" in said
    assert "Trial 3: optimizer.lr = 0.1. 93.50 % on held-out training data, 92.50 ± 0.71 % on the test set" in said
    assert "trial 6 takes up 5" in " ".join(tree.texts("figcaption"))
    assert [name for name in ("history", "parallel", "importances", "slices", "best_of_n") if name in text] == [
        path.stem for path in sorted(whole[0].glob("*.png"), key=lambda p: text.index(f'id="{p.stem}.'))
    ]


def test_the_same_study_is_the_same_bytes(whole, tmp_path):
    report.render(SEARCH, mixed(), tmp_path)
    for path in whole[0].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_the_space_as_searched():
    space = {"optimizer.lr": RATE, "decay.rate": DECAY, "epochs": EPOCHS, "schedule.shape": SHAPE}
    params = {"optimizer.lr": 0.1, "decay.rate": 0.1, "epochs": 20, "schedule.shape": "step"}
    trials = report.read(study_of([create_trial(params=params, distributions=space, value=1.0)]))
    assert report.space_table(report.scales(trials)).to_numpy().tolist() == [
        ["optimizer.lr", "float", "0.0001 to 1", "log"],
        ["decay.rate", "float", "0 to 0.3", "linear"],
        ["epochs", "int", "10 to 60", "steps of 10"],
        ["schedule.shape", "categorical", "cosine, step", "–"],
    ]


@pytest.mark.parametrize(
    ("tested", "said"),
    [
        ([], "was not looked at."),
        (["a"], "looked at the test set once, by the chosen configuration."),
        (["a", "a"], "looked at the test set once, by the chosen configuration."),
        (["b", "a", "c"], "looked at the test set 3 times, by the chosen configuration and 2 other configurations."),
        (["b", "c"], "looked at the test set twice, by 2 configurations."),
    ],
)
def test_looks_at_the_test_set_are_counted(tested, said):
    assert report.test_said({"tested": tested, "chosen": {"spec_id": "a"}}).endswith(said)


# --- odd studies -----------------------------------------------------------------------------------------------------


def other(score):
    """A trial with another second parameter."""
    space = {"optimizer.lr": RATE, "decay.rate": DECAY}
    return create_trial(params={"optimizer.lr": 0.1, "decay.rate": 0.1}, distributions=space, value=score)


ODD = {
    "one": [done(90.0)],
    "three": [done(90.0), done(91.0, 0.2), done(90.5, 0.3, "step")],
    "all pruned": [stopped([10.0, 20.0 + i], 10 ** (-i)) for i in range(4)],
    "all failed": [failed(why="diverged") for _ in range(3)],
    "no reports": [stopped([]), stopped([]), done(90.0)],
    "constant": [done(90.0, 10 ** (-i / 4), ["cosine", "step"][i % 2]) for i in range(12)],
    "infinite": [done(math.inf), done(90.0), done(91.0)],
    "one parameter": [
        create_trial(params={"decay.rate": 0.01 * i}, distributions={"decay.rate": DECAY}, value=90.0 + i)
        for i in range(12)
    ],
    "one value": [
        create_trial(params={"decay.rate": 0.1}, distributions={"decay.rate": FloatDistribution(0.1, 0.1)}, value=i)
        for i in range(3)
    ],
    "no parameter": [create_trial(value=1.0), create_trial(value=2.0)],
    "conditional": [done(90.0 + i / 10, 10 ** (-i / 4)) for i in range(8)] + [other(91.0 + i) for i in range(8)],
}
LEFT_OUT = {
    "one": "1 complete trial,",
    "all pruned": "0 complete trials,",
    "constant": "all scores are equal",
    "one parameter": "fewer than two parameters",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_studies_have_a_report_without_a_warning(name, tmp_path, monkeypatch):
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, file: None)  # half of the time
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = report.render({}, study_of(ODD[name]), tmp_path)
    tree = Tree((tmp_path / "index.html").read_text())
    assert len(tree.of("svg")) == len(list(tmp_path.glob("*.png")))
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(ODD[name])
    shown = rows_of((tmp_path / "trials.md").read_text())
    assert len(shown) == 1 + min(10, len(ODD[name]))
    assert "nan" not in (tmp_path / "index.html").read_text().lower().replace("nano", "")
    if name in LEFT_OUT:
        assert LEFT_OUT[name] in " ".join(tree.texts("p"))
        assert LEFT_OUT[name] in made.text


def test_a_search_without_a_trial_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="digits-cosine: the search has no trial to report"):
        report.render(SEARCH, study_of([]), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_names_from_outside_are_text(name, tmp_path, monkeypatch):
    given, seen = NAMES[name]
    monkeypatch.setattr("harness.report.search.page.draw", lambda *args: iter(()))
    space = {f"p{given}": CategoricalDistribution([given, "other"]), "optimizer.lr": RATE}
    trials = [
        create_trial(params={f"p{given}": given, "optimizer.lr": 0.1}, distributions=space, value=90.0 + i)
        for i in range(3)
    ]
    trials += [failed(why=given)]
    told = {"title": given, "sampler": given, "pruner": given, "storage": given, "command": given}
    made = report.render(told, study_of(trials), tmp_path)
    text = (tmp_path / "index.html").read_text()
    tree = Tree(text)
    assert not tree.of("script")
    assert not tree.comments
    plain = report.render({}, study_of(trials), tmp_path / "plain")
    assert {e[0] for e in tree.elements} == {e[0] for e in Tree((tmp_path / "plain/index.html").read_text()).elements}
    head, *rows = rows_of(made.text)
    assert {len(row) for row in [head, *rows]} == {7}
    assert head[2] == one_line(f"p{given}")
    assert rows[0][2] == one_line(given, 40)
    assert rows[-1][-1] == f"failed: {seen}"
    assert rows == rows_of(plain.text)[1:]
    assert len(pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)) == 4


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


# --- figures ---------------------------------------------------------------------------------------------------------


def lines_of(axis, label):
    return [line for line in axis.lines if line.get_label() == label]


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


def test_places_on_an_axis():
    def scale(own, value):
        params = {"x": value}
        trials = report.read(study_of([create_trial(params=params, distributions={"x": own}, value=0.0)]))
        (made,) = report.scales(trials)
        return made

    rate = scale(RATE, 0.1)
    assert [rate.at(rate.number(x)) for x in (1e-4, 1e-2, 1.0)] == pytest.approx([0, 0.5, 1])
    assert [tick for tick, _ in rate.ticks()] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    decay = scale(DECAY, 0.1)
    assert decay.at(0.15) == pytest.approx(0.5)
    assert [said for _, said in decay.ticks()] == ["0", "0.1", "0.2", "0.3"]
    shape = scale(SHAPE, "step")
    assert [shape.at(shape.number(x)) for x in ("cosine", "step")] == [0.25, 0.75]
    assert scale(FloatDistribution(2.0, 2.0), 2.0).at(2.0) == 0.5
    assert [tick for tick, _ in scale(FloatDistribution(0.2, 0.3, log=True), 0.25).ticks()] == [0.2, 0.3]


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


# --- importances -----------------------------------------------------------------------------------------------------


def searched(score, n=60, seed=0):
    rng = np.random.default_rng(seed)
    space = {name: FloatDistribution(0, 1) for name in "abc"}
    draws = rng.uniform(size=(n, 3))
    return study_of(
        create_trial(params=dict(zip("abc", map(float, x), strict=True)), distributions=space, value=score(x, rng))
        for x in draws
    )


def test_importances_are_optunas_and_above_chance_where_there_is_an_effect():
    study = searched(lambda x, rng: 90 - 10 * (x[1] - 0.3) ** 2 + 0.05 * rng.normal())
    rows = report.importances(report.read(study))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.1)
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert {row.path: row.share for row in rows} == pytest.approx(theirs)
    assert (rows[0].path, rows[0].resolved) == ("b", True)
    assert [row.resolved for row in rows[1:]] == [False, False]
    assert report.matters_said(rows).startswith("What matters most: b (")


def test_importances_of_noise_are_within_chance():
    found = [report.importances(report.read(searched(lambda x, rng: rng.normal(), 20, seed))) for seed in range(5)]
    assert sum(row.resolved for rows in found for row in rows) <= 4  # of 15, of which 0.75 are expected; 4 s.d.
    assert report.matters_said([report.Importance("a", 1.0, 2.0, False)]).startswith("No parameter")


def test_importances_that_fail_cost_a_line(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(optuna.importance, "get_param_importances", broken)
    level = optuna.logging.get_verbosity()
    said = report.importances(report.read(searched(lambda x, rng: float(x[0]))))
    assert said == "Left out: PED-ANOVA failed: RuntimeError: two lines"
    assert optuna.logging.get_verbosity() == level


# --- two objectives --------------------------------------------------------------------------------------------------


def test_the_front_of_two_objectives(tmp_path, monkeypatch):
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, file: None)
    rng = np.random.default_rng(3)
    points = [(float(90 + rng.normal()), float(10 ** rng.uniform(1, 2.5))) for _ in range(25)]
    trials = [done(score, 10 ** (-i / 7), cost=cost, seconds=cost) for i, (score, cost) in enumerate(points)]
    best = [
        i
        for i, (score, cost) in enumerate(points)
        if not any(s >= score and c <= cost and (s, c) != (score, cost) for s, c in points)
    ]
    best.sort(key=lambda i: points[i][1])
    assert len(best) > 2
    study = study_of([*trials, failed()], ("maximize", "minimize"))
    report.render(SEARCH | {"objectives": ["top1", "seconds"]}, study, tmp_path)
    tree = Tree((tmp_path / "index.html").read_text())
    heads = tree.texts("th", scope="row")
    assert [head for head in heads if head.isdigit()][-len(best) :] == list(map(str, best))
    assert "Accuracy against cost" in tree.texts("h2")
    every = report.read(study)
    axis = report.front("s", every, [every[i] for i in best], "seconds").axes[0]
    step, _ = lines_of(axis, "front")
    assert list(zip(step.get_ydata(), step.get_xdata(), strict=True)) == [points[i] for i in best]
    assert [text.get_text() for text in axis.texts] == list(map(str, best))
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel() == "seconds of a trial"
    assert "## Pareto front" in (tmp_path / "trials.md").read_text()


def test_a_cost_that_is_not_time_has_its_column():
    trials = report.read(study_of([done(90.0, cost=0.25)], ("maximize", "minimize")))
    table = report.trial_table(trials, [], "gmacs")
    assert table.to_numpy().tolist() == [["0", "90.00", "0.25", "60", "complete"]]
    assert table.columns[2] == "GFLOPs of one image's forward"
