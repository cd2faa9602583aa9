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
    "waterfall": lambda study, every, table, gains: figures.waterfall(study, table, below(table)),
    "designs": lambda study, every, table, gains: figures.designs(study, list(table["title"]), under(table["title"])),
    "classes": lambda study, every, table, gains: figures.by_class(study, by_class(table["title"])),
    "transfer": lambda study, every, table, gains: figures.transfer(study, *on_backbones(every, table)),
}
LEAST = {"waterfall": 3}  # rungs, where two are no such figure


def below(table):
    """The rung that each gain is over, by their places: a ladder's."""
    return {place: place - 1 for place in table["place"][1:]}


def under(titles):
    """Each trick's gain under two designs."""
    found = {title: (i - 1.0, i - 1.5, i - 0.5, "helps" if i % 2 else "not resolved") for i, title in enumerate(titles)}
    return {"ladder": found, "each trick alone": found}


def by_class(titles, classes=4):
    """What each rung gains in each class."""
    wide = {"low": -9.0, "high": 9.0, "resolved": False}
    rows = [
        {"place": r, "title": title, "class": f"class {c}", "gain": (r + 1) * (c - 1) / 10} | wide
        for r, title in enumerate(titles)
        for c in range(classes)
    ]
    return pd.DataFrame(rows)


def on_backbones(every, table):
    """The table, a score of each run and of the network that it stands on, and what the score is."""
    both = every[["place", "seed"]].assign(value=every["top1"], backbone_value=70 + every["top1"] / 9)
    return table, both.assign(backbone_score="top1"), "mAP"


def with_epochs(every, tell):
    """`every`, of whose epochs `tell(epoch, place)` is told."""
    return every.assign(
        epochs=[[tell(e, row.place) for e in run] for row, run in zip(every.itertuples(), every["epochs"], strict=True)]
    )


def whole(epoch, place):
    return epoch | {"test_loss": 3 + place + epoch["epoch"], "train_top1": epoch["top1"] + 5 + place}
