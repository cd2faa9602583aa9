"""Figures of made-up runs."""

import itertools
import math

import numpy as np
import pandas as pd

from harness import one_line, stats
from harness.report import figures

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


DRAW = {
    "ladder": figures.forest,
    "curves": lambda study, every, table, gains: figures.curves(study, with_epochs(every, whole), table),
    "rates": lambda study, every, table, gains: figures.rates(study, every, table),
    "cost": lambda study, every, table, gains: figures.cost(study, every, table),
    "effects": lambda study, every, table, gains: figures.effects(study, effects_of((*table["title"], "x × y"))),
}


def with_epochs(every, tell):
    """`every`, of whose epochs `tell(epoch, place)` is told."""
    return every.assign(
        epochs=[[tell(e, row.place) for e in run] for row, run in zip(every.itertuples(), every["epochs"], strict=True)]
    )


def whole(epoch, place):
    return epoch | {"test_loss": 3 + place + epoch["epoch"], "train_top1": epoch["top1"] + 5 + place}
