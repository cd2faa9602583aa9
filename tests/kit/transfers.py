"""Made-up runs of detectors and segmenters, each on a made-up backbone of its seed."""

from harness.store import spec_hash
from harness.store.schema import SCORES
from tests.kit.records import designed, record, rung
from tests.kit.tiny import whole

LADDER = {  # the backbones' top-1 by seed, and the mAP of what stands on them: gains of mAP +1 each, but for the last
    "baseline": ((70.0, 71.0, 72.0), (50.0, 51.0, 52.0)),
    "efficient": ((71.0, 72.0, 73.5), (51.0, 52.1, 52.9)),
    "cosine": ((72.0, 73.0, 74.5), (52.0, 53.1, 53.9)),
    "label_smoothing": ((73.0, 74.0, 75.5), (53.0, 54.1, 54.9)),
    "distillation": ((74.0, 75.0, 76.5), (54.0, 55.1, 55.9)),
    "mixup": ((75.0, 76.0, 77.5), (53.1, 54.0, 55.0)),
    "mixup_distillation": ((76.0, 77.0, 78.5), (56.0, 57.1, 57.9)),
}
GAINS = (None, [1, 0], [2, 1], [3, 2], [4, 3], [5, 3], [6, 3])
TRICKS = tuple(LADDER)[1:]


def result(value, score="mAP", **more):
    """A record of that headline metric; what stands beside it is 1 point more."""
    told = {score: value, SCORES[score]: value + 1}
    made = record(value, correct="", **more) | {"score": score, "metrics": told, "gaps": [], "answers": ""}
    return made | {"epochs": [{"epoch": e["epoch"], "loss": 1.0, score: value, "lr": 0.1} for e in made["epochs"]]}


def backbone(name):
    return {"kind": "Spec", "name": f"backbone of {name}"}


def resolved(name):
    return {"kind": "Spec", "name": name, "model": {"kind": "Onto", "backbone": backbone(name)}}


def add(store, form, seed, made):
    with store.claim(spec_hash(form), seed) as claim:
        claim.begin({"spec": {}, "resolved": form})
        claim.finish(whole(made), {})


def fill(store, ladder=LADDER, score="mAP", **more):
    for name, (backbones, values) in ladder.items():
        for seed, (top1, value) in enumerate(zip(backbones, values, strict=True)):
            add(store, backbone(name), seed, record(top1))
            add(store, resolved(name), seed, result(value, score) | {"classes": 20} | more)


def plan(study="voc_detection", ladder=LADDER, seeds=(0, 1, 2), **more):
    rungs, upstream = [], []
    for i, (name, gain) in enumerate(zip(ladder, GAINS, strict=False)):
        on = [*rungs[gain[1]]["on"], i - 1] if gain else []
        own = rung(name, gain, on, seeds) | {"id": spec_hash(resolved(name))}
        rungs.append(own | {"title": f"+ {name}" if i else name, "changes": {"model.backbone": ["a", "b"]}})
        upstream.append({"of": name, "id": spec_hash(backbone(name)), "seeds": list(seeds)})
    named = [name for name in ladder if name != "baseline"]
    return (
        designed("ladder", rungs, named, upstream=upstream)
        | {"study": study, "label": study, "about": 'After "Bag of Tricks".'}
        | more
    )
