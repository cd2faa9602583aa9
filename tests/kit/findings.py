"""Ladders of made-up runs, and what is found in them."""

from harness import report
from harness.report import findings, frames
from tests.kit.records import designed, record, rung
from tests.kit.tiny import finish

NAMES = ("warmup", "zero_gamma", "mixup")
TITLES = {"warmup": "LR warmup", "zero_gamma": "zero γ"}
LADDER = [  # gains by hand: +1, +1.1, +0.9; then -1, -1.1, -0.9; then +1, -1, +0.3
    ("baseline", (90.0, 91.0, 92.0)),
    ("warmup", (91.0, 92.1, 92.9)),
    ("zero_gamma", (90.0, 91.0, 92.0)),
    ("mixup", (91.0, 90.0, 92.3)),
]


def tricks(*names):
    return [{"name": name, "title": TITLES.get(name, name), "moves": ["mix"]} for name in names]


def stack(names=NAMES, seeds=(0, 1, 2), **more):
    """A ladder of those tricks; mixup trains 3 epochs, all else 2."""
    rungs = [rung("baseline", seeds=seeds)]
    for i, name in enumerate(names, 1):
        own = rung(name, [i, i - 1], range(i), seeds, epochs=2 + ("mixup" in names[:i]))
        rungs.append(own | {"title": f"+ {TITLES.get(name, name)}"})
    return made("ladder", rungs, names, **more)


def made(design, rungs, names=(), **more):
    return designed(design, rungs, **{"about": 'After "Bag of Tricks".'} | more) | {"tricks": tricks(*names)}


def fill(store, scores, **more):
    for name, values in scores:
        for seed, top1 in enumerate(values):
            longer = {"epochs": 3} if name == "mixup" else {}
            finish(store, name, seed, record(top1, **(longer | more)) | {"classes": 10})


def found(plan, store):
    """{what it is about: its sentences, one after the other; and then the rows of its table, cells apart by " | "}."""
    every = report.finished(plan, store)
    told = {}
    for section in findings.found(plan, store, every, frames.rungs(plan, every), frames.effects(plan, every)):
        rows = [] if section.table is None else section.table.itertuples(index=False, name=None)
        told[section.about] = " ".join([*section.lines, *(" | ".join(row) for row in rows)])
    return told


def paper(told):
    """What is said of the paper, under either heading."""
    return told.get("Beside the paper", "")
