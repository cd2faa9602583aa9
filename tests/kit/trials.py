"""Searches of made-up trials."""

import itertools
import math

import optuna
from markdown_it import MarkdownIt
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

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


# --- figures ---------------------------------------------------------------------------------------------------------


def lines_of(axis, label):
    return [line for line in axis.lines if line.get_label() == label]
