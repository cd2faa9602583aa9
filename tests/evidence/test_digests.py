import json
from functools import partial
from itertools import accumulate, pairwise

import pytest
import torch

from harness import train as loop
from harness.evidence import Trace, digest, rates
from harness.parts.augment import Shift
from harness.parts.data import Cached, Digits, in_memory
from harness.spec import ASPECTS, MAY, declared, may
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import Distill, distillation
from harness.tricks.fp16 import FP16, fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma
from tests import mutants


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (2, 2), (200, 200), (201, 200), (12345, 200)])
def test_rates_are_thinned(steps, kept):
    found = rates(Trace(1, 10, lr=[step / 7 for step in range(steps)]))
    assert len(found) == kept
    assert (found[0], found[-1]) == ([0, 0.0], [steps - 1, (steps - 1) / 7])
    assert all(rate == step / 7 for step, rate in found)
    gaps = {after - before for (before, _), (after, _) in pairwise(found)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert json.loads(json.dumps(found)) == found


def differing(one, other):
    return {aspect for aspect in ASPECTS if one.result["seen"][aspect] != other.result["seen"][aspect]}


def ladder(tiny):
    """Neighbours, each with the trick between them."""
    tricks = [partial(warmup, epochs=1), zero_gamma, no_bias_decay, fp16, resnet_d, cosine, label_smoothing, mixup]
    tricks.append(partial(distillation, model=tiny.model))
    rungs = list(accumulate(tricks, lambda spec, trick: trick(spec), initial=tiny))
    return list(zip(tricks, rungs, rungs[1:], strict=False))


@pytest.mark.parametrize("place", range(9))
def test_neighbours_differ_in_what_their_trick_may_move(place, tiny, live):
    trick, below, above = ladder(tiny)[place]
    moved = differing(live(below)[0], live(above)[0])
    assert moved
    assert moved <= set(may(declared(trick)))


CHANGES = {
    "data": lambda spec: {"data": Halved()},
    "model": lambda spec: {"model": spec.model.but(blocks=(1, 2))},
    "init": lambda spec: {"init": (*spec.init, ZeroGamma())},
    "decay": lambda spec: {"decay": spec.decay.but(weight=0.01)},
    "optimizer": lambda spec: {"optimizer": spec.optimizer.but(momentum=0.8, lr=0.05)},
    "schedule": lambda spec: {"schedule": spec.schedule.but(shape=Cosine())},
    "batch_size": lambda spec: {"batch_size": 199},
    "epochs": lambda spec: {"epochs": 5},
    "augment": lambda spec: {"augment": ()},
    "targets": lambda spec: {"targets": (Smoothing(),)},
    "mix": lambda spec: {"mix": (Mixup(),)},
    "precision": lambda spec: {"precision": FP16()},
    "microbatch": lambda spec: {"microbatch": 100},
    "teacher": lambda spec: {"teacher": ()},
}


class Halved(Digits):
    """Every second training image, twice as dark, in two classes."""

    def load(self):
        whole = super().load()
        arrays = {split: (x[::2] // 2, y[::2] % 2) for split, (x, y) in whole.arrays.items()}
        return in_memory(arrays, ("even", "odd"))


@pytest.mark.parametrize("slot", CHANGES)
def test_a_slot_moves_all_that_it_may_and_nothing_else(slot, tiny, live):
    """With a teacher on; one that answers passes of another size rounds otherwise, or not."""
    taught = tiny.but(epochs=4, batch_size=120, teacher=(Distill(spec=tiny),))
    changed = taught.but(**CHANGES[slot](taught))
    if slot == "data":
        taught, changed = taught.but(teacher=()), changed.but(teacher=())  # the stand-in knows ten classes
    moved = differing(live(taught)[0], live(changed)[0])
    assert set(MAY[slot]) - {"teacher"} <= moved | ({"decay"} if slot == "data" else set())
    assert moved <= set(MAY[slot])
    assert "teacher" in moved or "teacher" not in MAY[slot] or slot in ("data", "microbatch")


def test_a_trick_that_secretly_moves_something_else_is_seen(tiny, live, monkeypatch):
    """No bias decay that also shuffles otherwise; and one that draws a layer anew."""
    plain, _ = live(tiny)
    tricked = no_bias_decay(tiny)
    allowed = set(may(declared(no_bias_decay)))

    def trained():
        return loop.train(tricked, 0, torch.device("cpu"), mutants.stand_in)

    with monkeypatch.context() as patch:
        order = Cached.order
        patch.setattr(Cached, "order", lambda self, epoch, size, rng: order(self, epoch + 1, size, rng))
        assert differing(plain, trained()) - allowed == {"order", "images", "targets", "mixing"}
    with monkeypatch.context() as patch:
        build = loop.build

        def redrawn(*args):
            model = build(*args)
            model.get_submodule("fc").weight.data[0, 0] += 1e-3
            return model

        patch.setattr(loop, "build", redrawn)
        assert differing(plain, trained()) - allowed == {"weights"}
    with monkeypatch.context() as patch:
        shift = Shift.draws
        patch.setattr(Shift, "draws", lambda self, n, h, w, rng: shift(self, n, h, w, [rng, rng.random()][0]))
        assert differing(plain, trained()) - allowed == {"images", "mixing"}
    assert differing(plain, trained()) == allowed


def test_digests_are_of_values_in_order_whatever_the_layout():
    x = torch.arange(24.0).view(2, 3, 2, 2)
    same = x.contiguous(memory_format=torch.channels_last)
    assert digest([x]) == digest([same]) == digest([x.clone()])
    others = [[x.flip(0)], [x.double()], [x.view(2, 12)], [x, x], [("x", x)], []]
    assert len({digest(other) for other in [[x], *others]}) == 7
    assert len(digest([1, "a", None])) == 16
