import numpy as np
import pytest
import torch

from harness import Problem
from harness.evidence import Trace
from harness.evidence.trace import KEPT_IMAGES
from harness.spec import Mix, parse, plain
from harness.tricks.cutmix import CutMix, cutmix
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.one_of import OneOf, one_of

rng = np.random.default_rng
BOTH = (Mixup(alpha=1.0), CutMix(alpha=1.0))


class Marked(Mix):
    """Leaves its mark on the images."""

    by: float

    def __call__(self, x, y, rng):
        return x + self.by, y


@pytest.mark.parametrize(("probabilities", "shares"), [((), (1 / 3,) * 3), ((0.6, 0.1, 0.0), (0.6, 0.1, 0.0))])
def test_each_part_is_drawn_as_often_as_it_is_said(probabilities, shares):
    part = OneOf(parts=tuple(Marked(by=n) for n in (1, 2, 3)), probabilities=probabilities)
    x, y = torch.zeros(1, 1, 1, 1), torch.ones(1, 1)
    seen = [int(part(x, y, rng(seed))[0]) for seed in range(3000)]
    assert np.bincount(seen, minlength=4)[1:] / 3000 == pytest.approx(shares, abs=0.04)
    again = [int(part.reference(x.numpy(), y.numpy(), rng(seed))[0].item()) for seed in range(3000)]
    assert seen == again


def test_a_batch_is_as_one_of_its_parts_leaves_it():
    x, y = torch.from_numpy(rng(0).normal(size=(6, 1, 8, 8))), torch.eye(6, dtype=torch.float64)
    met = set()
    for seed in range(12):
        draw, mixed = rng(seed), OneOf(parts=BOTH)(x, y, rng(seed))
        chosen = BOTH[int(draw.random() >= 0.5)]
        met.add(type(chosen))
        assert all(map(torch.equal, mixed, chosen(x, y, draw)))
    assert met == {Mixup, CutMix}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"parts": BOTH, "probabilities": (1.0,)}, "OneOf has 2 parts and 1 probabilities"),
        ({"parts": BOTH, "probabilities": (0.8, 0.3)}, "no more than 1 together"),
        ({"parts": BOTH, "probabilities": (-0.1, 0.3)}, "must be 0 or more"),
        ({"parts": ()}, "parts"),
    ],
)
def test_what_does_not_fit_is_said(fields, said):
    with pytest.raises(ValueError, match=said):
        OneOf(**fields)


def test_it_takes_the_place_of_its_parts(tiny):
    ladder = one_of(cutmix(mixup(tiny, epochs=1)))
    assert [type(part) for part in ladder.mix] == [OneOf]
    assert one_of(tiny).id == ladder.id
    assert parse(plain(ladder)) == ladder
    assert one_of(tiny, probabilities=(0.5, 0.25)).id != ladder.id
    with pytest.raises(Problem, match="OneOf has"):
        parse({"kind": "OneOf", "parts": [{"kind": "Mixup"}], "probabilities": [0.5, 0.5]})


def test_a_part_that_does_nothing_is_caught_by_the_proof_alone(tiny, live):
    class Deaf(OneOf):
        def __call__(self, x, y, rng):
            return super().__call__(x, y, rng) if rng.random() < 0.5 else (x, y)

    trained, _ = live(one_of(tiny).but(mix=(Deaf(parts=BOTH),)))
    assert any(row["part"] == "Deaf" and not row["ok"] for row in trained.result["evidence"])
    trained, _ = live(tiny.but(mix=(OneOf(parts=BOTH, probabilities=(0.3, 0.3)),)))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    row = next(row for row in trained.result["evidence"] if row["part"] == "OneOf")
    assert all(name in row["what"] for name in ("Mixup", "CutMix", "none"))


def test_images_that_are_kept_thinned_are_told_too(tiny):
    """Of 70 px every second pixel is kept."""
    spec, classes = tiny.but(mix=(OneOf(parts=BOTH), CutMix())), 4
    trace = Trace(2, classes, canvas=(70, 70))
    for batch in range(6):
        x, labels = torch.from_numpy(rng(batch).normal(size=(4, 1, 70, 70))), torch.tensor([0, 1, 2, 3])
        stages = [(x, torch.eye(4, dtype=torch.float64))]
        for place, part in enumerate(spec.mix):
            stages.append(part(*stages[-1], trace.drew(spec, place, batch)))
        kept = [trace.stage(*stage) for stage in stages]
        trace.fed.append((labels, *(y for _, y in kept)))
        if batch < KEPT_IMAGES:
            trace.images.append(tuple(x for x, _ in kept))
        trace.lr.append(0.1)
    assert [row for part in spec.mix for row in part.proof(spec, trace) if not row.ok] == []
    trace.images[1][1][2, 0, 3, 3] += 1
    assert [part for part in spec.mix if not all(row.ok for row in part.proof(spec, trace))] == list(spec.mix)
