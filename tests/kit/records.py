"""Records and plans of made-up runs, for reports."""

from harness.report import frames, tables
from harness.store import spec_hash
from tests.kit.tiny import known, whole

NAMES = ["baseline", "one", "two"]
EPOCHS = [2, 2, 3]


def record(
    top1,
    *,
    status="finished",
    epochs=2,
    emulated=False,
    macs=1_500_000,
    top5=None,
    device="a",
    commit="c",
    libraries=None,
    correct="ff",
    evidence=(),
    seen=None,
    tested=8,
    **more,
):
    return more | {
        "status": status,
        "metrics": {"test_loss": 1.0, "top1": top1, **({"top5": top5} if top5 else {})},
        "epochs": [{"epoch": i, "loss": 1.0, "top1": top1, "lr": 0.1} for i in range(epochs)],
        "params": 1000,
        "macs": macs,
        "seconds_per_epoch": 0.5,
        "seconds": 1.0,
        "precision": {"name": "FP32", "emulated": emulated},
        "environment": {"device_name": device, "commit": commit, **(libraries or {})},
        "images": {"train": 10, "test": tested},
        "correct": correct,
        "evidence": evidence,
        "seen": seen,
    }


def rung(name, gain=None, on=(), seeds=(0, 1, 2), may=(), epochs=2):
    own = {"name": name, "title": name, "id": known(name), "epochs": epochs, "seeds": list(seeds)}
    return own | {"gain": gain, "also": [], "may": list(may), "on": list(on), "changes": {"targets": [None, "x"]}}


def designed(design, rungs, tricks=(), **more):
    own = {"study": "s", "label": "s", "about": "", "settings": [], "design": design, "decide": None, "upstream": []}
    own |= {
        "command": ["s"],
        "tricks": [{"name": name, "title": name, "moves": ["mix"]} for name in tricks],
        "orders": [],
        "generators": [],
    }
    return own | {"rungs": rungs} | more


def plan(titles=("baseline", "+ one", "+ two"), seeds=(0, 1, 2), upstream=()):
    rungs = [
        {
            "name": n,
            "title": t,
            "id": known(n),
            "epochs": e,
            "seeds": list(seeds),
            "gain": gain,
            "also": [],
            "may": [],
            "on": [],
        }
        for n, t, e, gain in zip(NAMES, titles, EPOCHS, (None, [1, 0], [2, 1]), strict=True)
    ]
    return {
        "study": "s",
        "label": "s",
        "about": "",
        "settings": [],
        "command": ["s"],
        "tricks": [],
        "design": "ladder",
        "decide": None,
        "rungs": rungs,
        "upstream": [{"of": of} for of in upstream],
    }


def write(folder, p, every, study="s"):
    table = frames.rungs(p, every)
    proof, notes = frames.evidence(p, every), frames.footnotes(p, every, table)
    return tables.write(folder, study, p["design"], table, frames.effects(p, every), proof, notes)


def rows(store, p):
    return frames.rungs(p, frames.runs(p, store)).set_index("rung")


NASTY = ["<script>alert(1)</script>", r"\input{/etc/passwd}", "a | b & 50 % $x$ _y_ #1"]


def keep(store, form, seed, *args, **kwargs):
    """A finished run of a resolved specification, slots and all; its id."""
    spec_id = spec_hash(form)
    with store.claim(spec_id, seed) as claim:
        claim.begin({"spec": {}, "resolved": form})
        claim.finish(whole(record(*args, **kwargs)), {})
    return spec_id
