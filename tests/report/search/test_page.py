import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from harness import Problem, one_line
from harness.report import search as report
from harness.report.looks import SCRIPT
from tests.kit.hostile import NAMES
from tests.kit.html import Tree
from tests.kit.trials import ODD, RATE, SEARCH, done, failed, lines_of, mixed, rows_of, study_of


def test_the_page_is_one_file_with_its_figures_and_commands(whole):
    text = (whole[0] / "index.html").read_text()
    tree = Tree(text)
    heads = ["What was found", "Best trials", "What was searched", "How", "Trials", "Parallel coordinates"]
    assert tree.texts("h2") == [*heads, "Importances", "Slices", "Expected best of n trials", "To make it again"]
    assert tree.texts("script") == [SCRIPT]
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
    assert tree.texts("script") == [SCRIPT]
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
