from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness import passes
from harness import train as loop
from harness.evidence import KEPT_BATCHES, Trace, Upstream
from harness.parts.data import Digits
from harness.passes import apart, obstacle
from harness.ranks import Alone
from harness.tasks.segment import Segment
from harness.tricks.distillation import BoundTeacher, distillation
from harness.tricks.dropblock import dropblock
from harness.tricks.dropout_on_fc import dropout_on_fc
from harness.tricks.ema import ema
from harness.tricks.fp16 import fp16
from harness.tricks.mixup import Mixup
from harness.tricks.progressive_resizing import progressive_resizing
from harness.tricks.sam import sam
from harness.tricks.stochastic_depth import stochastic_depth
from tests.kit.stops import CPU, Stops, trained, untimed
from tests.kit.tape import Tape
from tests.kit.tiny import TEACHER
from tests.mutants.breaking import edited

STEPS = 22  # of a run: 16 of them, and those that are audited, are watched


class Graphs(loop.Keeper):
    how = loop.How(cuda_graphs=True)


@pytest.fixture
def tapes(monkeypatch):
    """CPUs have graphs, which are tapes: those that were made."""
    made = []

    def recorder():
        made.append(Tape())
        return made[-1]

    monkeypatch.setitem(passes.RECORDERS, "cpu", lambda: recorder)
    return made


@pytest.fixture
def small(tiny):
    return tiny.but(data=Digits(limit=198, limit_test=100), batch_size=99, epochs=11)


def played(spec, keeper=None):
    return loop.train(spec, 0, CPU, None, keeper or Graphs())


def same(one, other):
    """But for what a record says of how passes were done."""
    rows = [
        row for row in other.result["evidence"] if not row["what"].startswith(("passes done otherwise", passes.READ))
    ]
    assert len(rows) == len(other.result["evidence"]) - 3
    result = {name: value for name, value in other.result.items() if name != "passes"} | {"evidence": rows}
    assert untimed(one.result) == untimed(result)
    return other.result["passes"]


@pytest.mark.parametrize(
    ("trick", "kinds", "per_step"),
    [
        (lambda spec: spec, 1, 1),
        (lambda spec: spec.but(mix=(Mixup(),)), 1, 1),
        (lambda spec: fp16(dropout_on_fc(spec)), 1, 1),  # which draws, and scales its loss
        (stochastic_depth, 1, 1),
        (sam, 2, 2),
        (lambda spec: ema(spec).but(microbatch=40), 2, 3),  # passes of 40, 40 and 19 images
        (progressive_resizing, None, 1),
    ],
)
def test_graphs_have_the_bits_of_passes_as_they_are_written(tapes, small, trick, kinds, per_step):
    spec = trick(small)
    told = same(trained(spec), played(spec))
    assert told["way"] == "CUDA graphs"
    assert told["gap"] == 0
    assert kinds in (None, len(tapes))
    assert per_step * (STEPS - KEPT_BATCHES - 6) <= told["played"] <= per_step * (STEPS - KEPT_BATCHES)
    assert told["played"] > told["compared"] >= len(tapes)
    assert sum(tape.replays for tape in tapes) == told["played"]


def test_a_teacher_within_a_graph_is_asked_each_time(tapes, small):
    teacher = trained(small.but(model=TEACHER, epochs=1))
    spec = distillation(small, model=TEACHER)
    inner = lambda spec: Upstream(teacher.model, spec.id, teacher.result, 0)  # noqa: E731
    plain, quick = (loop.train(spec, 0, CPU, inner, keeper) for keeper in (None, Graphs()))
    assert same(plain, quick)["played"] > 0
    due = next(row for row in quick.result["evidence"] if row["what"] == "batches the teacher answered")
    assert due["expected"] == due["seen"]


def test_a_run_that_is_stopped_among_graphs_goes_on_bit_for_bit(tapes, small):
    stopped = type("Kept", (Stops,), {"how": Graphs.how})([26])  # asked after each batch and each epoch
    with pytest.raises(KeyboardInterrupt):
        played(small, stopped)
    before = stopped.saved()["passes"]["played"]
    assert same(trained(small), played(small, stopped))["played"] > before > 0


class Stale(Tape):
    """A graph that is played on the images that it was recorded with."""

    def replay(self):
        pass


class Drifting(Tape):
    """A graph whose kernels add a little to the last gradient, from its fourth play on."""

    def replay(self):
        super().replay()
        if self.replays > 3:
            self.last.add_(1e-6)

    def record(self, work):
        answer = super().record(work)
        self.last = answer[1]
        return answer


@pytest.mark.parametrize("broken", [Stale, Drifting])
def test_a_graph_that_does_something_else_is_refused(monkeypatch, small, broken):
    monkeypatch.setitem(passes.RECORDERS, "cpu", lambda: broken)
    result = played(small).result
    assert result["status"] == "refused"
    assert any(row["what"].startswith("passes done otherwise") and not row["ok"] for row in result["evidence"])


def test_graphs_that_were_wrong_are_told_of_by_a_run_that_goes_on_without(monkeypatch, small):
    monkeypatch.setitem(passes.RECORDERS, "cpu", lambda: Drifting)
    stopped = type("Kept", (Stops,), {"how": Graphs.how})([32])
    with pytest.raises(KeyboardInterrupt):
        played(small, stopped)
    stopped.at, stopped.how = set(), loop.PLAIN
    result = played(small, stopped).result
    assert (result["status"], result["passes"]["way"]) == ("refused", "CUDA graphs")
    assert {row["what"][:12] for row in result["evidence"] if not row["ok"]} == {"passes done "}


class Cuda:
    """What `Graph` asks of torch.cuda, noted; a recording fails as CUDA's does, twice."""

    def __init__(self, fails):
        self.told, self.fails = [], fails

    def __getattr__(self, name):
        def note(*args, **named):
            self.told.append(name)
            if name == "capture_end" and self.fails:
                raise RuntimeError("operation failed due to a previous error during capture")
            return nullcontext() if name == "stream" else 0 if name == "current_device" else self

        return note


@pytest.mark.parametrize("fails", [False, True])
def test_a_graph_is_recorded_with_memory_at_hand_and_its_first_error_is_told(monkeypatch, fails):
    cuda = Cuda(fails)
    monkeypatch.setattr(torch, "cuda", cuda)
    passes.side.cache_clear()
    make = passes.Graph.makers()
    make(), make()
    assert cuda.told.count("Stream") == 1  # blocks of a pool serve one stream alone

    def work():
        cuda.told.append("work")
        if fails and "capture_begin" in cuda.told:
            raise RuntimeError("the first error")
        return "answer"

    with pytest.raises(RuntimeError, match="the first error") if fails else nullcontext():
        assert make().record(work) == "answer"
    passes.side.cache_clear()
    wanted = ["work", "synchronize", "empty_cache", "capture_begin", "work", "capture_end"]
    assert [name for name in cuda.told if name in wanted] == wanted


def test_gaps_of_what_is_but_noise_are_in_units_of_what_is_none():
    """The gradient of a bias before batch norm; the mean of what a batch norm and a convolution of one place gave."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    states = []
    for sign in (1, -1):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model[0].bias.grad = torch.full((2,), sign * 1e-8)
        model[1].running_mean.fill_(sign * 1e-8)
        states.append(passes.State(model, CPU))
    gaps = dict(zip(["weight", "bias", "gamma", "beta", *states[0].names], states[0].apart(states[1]), strict=True))
    assert gaps["bias"] == pytest.approx(2e-8 / (1e-3 * 0.8**0.5))  # of ten numbers eight are 1
    assert gaps["1.running_mean"] == pytest.approx(2e-8)
    assert gaps["weight"] == gaps["1.running_var"] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.recorder.replay()", "self.recorder.replay() if self.watched else None"),
        ("self.x.copy_(x)", "self.x.copy_(x) if self.watched else None"),
    ],
)
def test_a_graph_that_is_not_played_where_nobody_looks_is_refused(tapes, small, monkeypatch, old, new):
    edited(passes.Played, "__call__", old, new)(monkeypatch)
    watches = Trace.watches

    def noted(trace):
        passes.Played.watched = watches(trace) or not len(trace.passes.graphs)
        return watches(trace)

    monkeypatch.setattr(Trace, "watches", noted)
    monkeypatch.setattr(passes.Played, "watched", True, raising=False)
    result = played(small).result
    assert result["status"] == "refused"
    assert [row["what"] for row in result["evidence"] if not row["ok"]] == [passes.READ]


def test_graphs_are_let_go_with_the_last_step(tapes, small, monkeypatch):
    held = []
    monkeypatch.setattr(passes.Quick, "over", lambda self, over=passes.Quick.over: held.append((self, over(self))))
    played(small)
    ((quick, _),) = held
    assert quick.played
    assert not quick.graphs


def test_weights_that_lie_elsewhere_are_recorded_anew(tapes, small, monkeypatch):
    watches = Trace.watches

    def moving(trace):
        if not (watched := watches(trace)):
            moves.append(len(trace.lr))
            for parameter in trace.model.parameters():
                parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
        return watched

    moves = []
    monkeypatch.setattr(Trace, "watches", moving)
    assert played(small).result["status"] == "finished"
    assert len(tapes) == len(moves) > 1


def test_a_pass_that_asks_for_a_number_is_done_as_written_and_the_record_says_why(tapes, small, monkeypatch):
    forward = small.loss or loop.tasks.of(small).loss

    class Asking(type(forward)):
        def __call__(self, z, y):
            loss = super().__call__(z, y)
            return loss if loss.item() >= 0 else -loss

    spec = small.but(loss=Asking())
    found = played(spec).result
    assert (found["status"], found["passes"]["way"]) == ("finished", "as written")
    assert "waits for the device" in found["passes"]["why"]
    assert found["network"] == trained(spec).result["network"]


def test_a_pass_that_is_never_the_same_has_no_graph_and_the_record_says_why(tapes, small, monkeypatch):
    """As that of a network whose kernels add in no fixed order: a run of hours would be refused at its end."""
    calls, forward = [], nn.AdaptiveAvgPool2d.forward

    def unsteady(self, x):
        calls.append(self.training)
        return forward(self, x) * (1 + 1e-6 * (sum(calls) > KEPT_BATCHES and len(calls) % 2))

    monkeypatch.setattr(nn.AdaptiveAvgPool2d, "forward", unsteady)
    told = played(small).result["passes"]
    assert told["way"] == "as written"
    assert told["why"] == "a pass adds in no fixed order: done twice, it has other bits"
    assert not tapes


def test_why_there_can_be_no_graph(tiny, live, monkeypatch):
    trace, ranks = live(tiny)[1], Alone()
    cuda = torch.device("cuda")
    assert obstacle(tiny, trace, cuda, ranks) == ""
    assert obstacle(tiny, trace, CPU, ranks) == "there are none on cpu"
    monkeypatch.setattr(trace, "task", Segment())
    assert (
        obstacle(tiny, trace, cuda, ranks)
        == "a pass of Segment goes by what is on the images, or adds in no fixed order"
    )
    monkeypatch.undo()
    assert obstacle(dropblock(tiny), trace, cuda, ranks) == "its network is told which step it is"
    ranks.size = 2
    assert "ranks" in obstacle(tiny, trace, cuda, ranks)
    ranks.size = 1
    trace = replace(trace, teachers=(object(),))
    assert obstacle(tiny, trace, cuda, ranks) == "object has no `replayed`"
    assert hasattr(BoundTeacher, "replayed")


def test_without_cuda_a_record_says_that_there_were_none(tiny):
    result = played(tiny.but(epochs=1)).result
    assert result["passes"] == {"way": "as written", "why": "there are none on cpu"}
    assert result["network"] == trained(tiny.but(epochs=1)).result["network"]


def test_gaps():
    a = torch.tensor([1.0, -2.0, float("nan"), float("inf")])
    assert apart(None, None) == apart(a, a.clone()) == 0
    assert apart(a, None) == apart(None, a) == float("inf")
    assert apart(a, torch.tensor([1.0, -1.5, float("nan"), float("inf")])) == 0.25
    assert apart(a, torch.tensor([1.0, -2.0, 3.0, float("inf")])) == float("inf")
    assert apart(torch.zeros(2), torch.tensor([0.0, 1.0])) == float("inf")
