"""A run of several ranks is the run of one process, but for how sums are rounded."""

import copy
from dataclasses import replace

import pytest
import torch

from harness import Problem
from harness import train as loop
from harness.ranks import Alone, Over
from harness.spec import Spec
from harness.tasks.classify import Classify
from harness.tricks.clip_norm import clip_norm
from harness.tricks.distillation import Distill
from harness.tricks.ema import ema
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.sam import sam
from tests.kit.ranks import together
from tests.kit.stops import CPU, Plain, untimed
from tests.mutants.breaking import TINY, result_of, stand_in

ONE = TINY.but(batch_size=120, epochs=1)
TWO = ONE.but(ranks=2)


def everything(spec: Spec) -> Spec:
    """All that stands between a batch and a step; a pass of 80 images, the last of 40."""
    taught = label_smoothing(mixup(spec, epochs=1)).but(microbatch=80, teacher=(Distill(spec=ONE),))
    return clip_norm(ema(sam(taught)))


def in_float64(spec, monkeypatch):
    """The weights that a run ends with, of each rank, where every number is of float64."""
    double = torch.Tensor.double
    taught = stand_in(ONE)
    teacher = ONE.model.build(1, 10)  # without what watched that one
    teacher.load_state_dict(taught.model.state_dict())
    with monkeypatch.context() as patch:
        placed = loop.placed
        patch.setattr(torch.Tensor, "float", double)
        patch.setattr(loop, "placed", lambda model, device: placed(model.double(), device))
        patch.setattr(loop, "watch", lambda spec, trace: None)  # audits are of float32
        patch.setattr(loop, "test", lambda *args: {"top1": 0.0, "test_loss": 0.0})
        patch.setattr(loop, "confirmed", lambda spec, trace, trained: trained)
        patch.setattr(loop, "result", lambda *args: {})

        def work(own):
            patch.setattr(own, "over", lambda: None)
            model = loop.train(spec, 0, CPU, lambda up: replace(taught, model=copy.deepcopy(teacher)), None, own).model
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            assert all(value.dtype == torch.float64 for value in kept.values() if value.is_floating_point())
            return kept

        return together(spec.ranks, work) if spec.ranks else [work(Alone())]


@pytest.mark.parametrize("trick", [lambda spec: spec, everything], ids=["plain", "everything"])
def test_ranks_with_synchronised_norms_are_one_process_in_float64(trick, monkeypatch):
    (one,) = in_float64(trick(ONE), monkeypatch)
    for ranks in (2, 4) if trick(ONE) == ONE else (2,):
        for each in in_float64(trick(ONE.but(ranks=ranks, sync_norms=True)), monkeypatch):
            assert not isinstance(each, Exception), each
            assert max(float((each[name] - one[name]).abs().max()) for name in one) < 1e-12


def test_a_run_of_two_ranks_shows_what_one_process_shows_and_is_the_same_twice():
    one, two, again = (result_of(spec, 0) for spec in (ONE, TWO, TWO))
    assert [row for row in two["evidence"] if not row["ok"]] == []
    assert two["status"] == "finished"
    assert two["seen"] == one["seen"]
    assert two["network"] == again["network"] != one["network"]
    assert untimed(two) == untimed(again)


def test_half_precision_and_all_tricks_hold_on_two_ranks():
    spec = fp16(everything(TWO)).but(epochs=2)
    result = result_of(spec, 0)
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "finished"


def test_ranks_in_turn_answer_as_one_process_to_the_last_bit():
    images, model = ONE.data.load(), ONE.model.build(1, 10)
    runner = ONE.precision.on(CPU)

    def scored(own):
        turns = []
        scores, kept = loop.evaluate(Classify(), model, images, runner, CPU, "test", own, lambda: turns.append(0))
        kept |= {name: kept[name].tolist() for name in ("labels", "logits")}
        return (scores, kept), len(turns)

    one, batches = scored(Alone())
    found = together(3, scored)
    assert [each[0] for each in found] == [one] * 3
    assert found[0][1] == -(-batches // 3)


def test_one_rank_is_none_and_what_cannot_be_shared_is_said():
    assert ONE.but(ranks=1, sync_norms=False) == ONE
    assert ONE.but(ranks=1).id == ONE.id
    assert len({ONE.id, TWO.id, TWO.but(sync_norms=True).id, ONE.but(ranks=4).id}) == 4
    with pytest.raises(Problem, match="batch_size=120 cannot be shared evenly by ranks=7"):
        ONE.but(ranks=7).agree()
    with pytest.raises(Problem, match="microbatch=33 cannot be shared evenly by ranks=2"):
        TWO.but(microbatch=33).agree()
    with pytest.raises(Problem, match="sync_norms is for several processes"):
        ONE.but(sync_norms=True).agree()
    with pytest.raises(Problem, match="ranks=2, and it is trained by 1"):
        loop.train(TWO, 0, CPU, stand_in)


class Uneven(Plain):
    """A network of which one layer learns on rank 0 alone."""

    def build(self, channels, classes):
        return Branch(super().build(channels, classes))


class Branch(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.more = net, torch.nn.Linear(64, 10)

    def forward(self, x):
        first = torch.distributed.get_rank() == 0
        return self.net(x) + (self.more(x.flatten(1)) if first else 0)


def test_gradients_that_only_some_ranks_have_are_said():
    found = together(2, lambda own: loop.train(TWO.but(model=Uneven()), 0, CPU, stand_in, None, own))
    assert all("ranks have gradients of other parameters" in str(each) for each in found)


class Glance(loop.Keeper):
    how = loop.How(curve_images=50)


def test_rank_0_says_on_how_many_images_a_run_is_watched():
    spec = TWO.but(epochs=2)

    def work(own):
        keeper = Glance() if own.rank == 0 else None
        try:
            return loop.train(spec, 0, CPU, lambda up: stand_in(up), keeper, own).result
        except Over:
            return "over"

    result, other = together(2, work)
    assert other == "over"
    assert result["status"] == "finished"
    assert result["images"]["curve"] == 50
