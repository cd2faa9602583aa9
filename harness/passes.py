"""How the passes of a step are executed: as they are written, compiled, or played again as one CUDA graph.

A *pass* is forward, loss and backward of some images: `work(network, x, y)` does one, adds to the gradients, and
answers logits and loss. One that is done otherwise is no less watched: at the steps that evidence looks at, each pass
is done as it is written too, from the same weights, statistics and random state, and the two are compared. The quick
one trains.

A graph has the kernels of the pass as it is written, in their order, and so its bits. What a step draws, its rate and
its loss scale are not in it: images are mixed before it, the optimizer's one kernel comes after it, and the random
state and the scale are read by the kernels when they run. Graphs were never played on a GPU: their logic is tested with
a tape of the same rules on a CPU.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness import one_line
from harness.evidence import TURNED, Check, Trace, passing
from harness.ranks import Alone
from harness.spec import Spec

Answer = tuple[Tensor, Tensor]  # logits and loss of a pass, detached
Network = Callable[..., Tensor]
Work = Callable[[Network, Tensor, Tensor], Answer]
READ = "images that graphs read, all plays together, from those they were played on: gap of sums"
SHAPES = 8  # of passes that graphs are kept of, at most
NOISE = 1e-3  # of all gradients' root mean square: one whose greatest is less is in units of that
KEPT = ("played", "gap", "usual", "unread")  # of `Quick`, what a checkpoint holds


class Recorder(Protocol):
    """Records what a function does on a device, to do it again on the same memory."""

    def record(self, work: Callable[[], Answer]) -> Answer:
        """What `work` answers, in memory that `replay` fills anew. Whether it is done meanwhile does not matter."""
        ...

    def replay(self) -> None: ...


@cache
def side(device: int) -> Any:
    """The stream of a device that graphs are recorded on: cuBLAS keeps a workspace for each that it saw."""
    return torch.cuda.Stream(device)


class Graph:
    """A CUDA graph. Those of one `pool` share their memory for what lasts no longer than a pass."""

    def __init__(self, pool: Any, stream: Any) -> None:
        self.graph, self.pool, self.stream = torch.cuda.CUDAGraph(), pool, stream

    @classmethod
    def makers(cls) -> Callable[[], Recorder]:
        """Makes graphs of one run: on one stream, since blocks of a pool serve none but their own."""
        return partial(cls, torch.cuda.graph_pool_handle(), side(torch.cuda.current_device()))

    def record(self, work: Callable[[], Answer]) -> Answer:
        own, main = self.stream, torch.cuda.current_stream()
        own.wait_stream(main)
        with torch.cuda.stream(own):
            try:
                work()  # once before: what torch makes at the first time on a stream is not to be recorded
            finally:
                own.synchronize()  # before anything it wrote is put back
            torch.cuda.empty_cache()  # what that took: within a recording torch frees nothing, and says it is full
            self.graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")  # others may copy batches
            try:
                answer = work()
            except BaseException:
                with suppress(RuntimeError):  # whose words are that something failed before
                    self.graph.capture_end()
                raise
            self.graph.capture_end()
        main.wait_stream(own)
        return answer

    def replay(self) -> None:
        self.graph.replay()


class Played:
    """One pass of `model` on images and targets of one shape, recorded, and done again on others."""

    def __init__(self, recorder: Recorder, work: Callable[..., Answer], model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.recorder, self.x, self.y = recorder, x.clone(), y.clone()
        self.parameters, self.buffers = list(model.parameters()), list(model.buffers())
        self.read, self.due = torch.zeros(2, dtype=torch.float64, device=x.device)  # by the graph; by who plays it
        stood = State(model, x.device)

        def once() -> Answer:
            stood.clear()
            self.read.add_(tally(self.x))
            return work(self.x, self.y)

        try:
            self.answer = recorder.record(once)
            self.slopes = [p.grad for p in self.parameters]
        finally:
            stood.restore()
        self.read.zero_()
        self.places = self._places()

    def _places(self) -> list[int]:
        return [t.data_ptr() for t in (*self.parameters, *self.buffers)]

    @property
    def fits(self) -> bool:
        """Whether weights and statistics are where they were."""
        return self.places == self._places()

    def __call__(self, x: Tensor, y: Tensor) -> Answer:
        """What it answers is overwritten by the next."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.due.add_(tally(x))
        before = [None if p.grad is None else p.grad.clone() for p in self.parameters]  # of passes of this step
        self.recorder.replay()
        for parameter, slope, old in zip(self.parameters, self.slopes, before, strict=True):
            parameter.grad = slope if old is None else old if slope is None else old.add_(slope)
        return self.answer

    def unread(self) -> float:
        """How far what the graph read is from what it was played on, since this was asked last."""
        gap = (self.read - self.due).abs().item()
        self.read.zero_()
        self.due.zero_()
        return gap if math.isfinite(gap) else 0.0  # of images that are no numbers, as a run's that diverges


def tally(x: Tensor) -> Tensor:
    """Of a batch of images: a play that was left out, or of other images, makes another sum."""
    return x.sum(dtype=torch.float64) + 1


class State:
    """What a pass changes, but for what it answers: gradients, statistics, the random state."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device, self.parameters, self.buffers = device, list(model.parameters()), list(model.buffers())
        self.slopes = [None if p.grad is None else p.grad.clone() for p in self.parameters]
        self.names = [name for name, _ in model.named_buffers()]
        self.values = [b.clone() for b in self.buffers]
        cuda = device.type == "cuda"
        self.drawn = torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state()

    def clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def restore(self) -> None:
        for parameter, slope in zip(self.parameters, self.slopes, strict=True):
            parameter.grad = None if slope is None else slope.clone()
        for buffer, value in zip(self.buffers, self.values, strict=True):
            buffer.copy_(value)
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.drawn, self.device)
        else:
            torch.set_rng_state(self.drawn)

    def apart(self, other: "State") -> list[float]:
        """The gaps between the gradients and statistics of two; see `apart`.

        Of what is but the noise of sums that cancel, as the gradient of a bias before batch norm is, in units of what
        is no noise: all gradients' root mean square, and a running mean's deviation.
        """
        known = [slope.double().nan_to_num(0, 0, 0) for slope in self.slopes if slope is not None]
        size = max(1, sum(slope.numel() for slope in known))
        least = NOISE * math.sqrt(sum(float(slope.square().sum()) for slope in known) / size)
        gaps = [apart(a, b, least) for a, b in zip(self.slopes, other.slopes, strict=True)]
        spread = {
            n.removesuffix("var"): float(v.abs().max().sqrt()) for n, v in self.named() if n.endswith("running_var")
        }
        for (name, a), b in zip(self.named(), other.values, strict=True):
            mean = name.endswith("running_mean")
            gaps.append(apart(a, b, spread.get(name.removesuffix("mean"), 0.0) if mean else 0.0))
        return gaps

    def named(self) -> Iterator[tuple[str, Tensor]]:
        return zip(self.names, self.values, strict=True)


def apart(a: Tensor | None, b: Tensor | None, least: float = 0.0) -> float:
    """0 where they are the same to the bit, nan and all; else the greatest gap, relative to the greatest value.

    Or to `least`, where that is more. Numbers that are finite in both count; inf where only others differ.
    """
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    if torch.equal(a, b) or (torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())):
        return 0.0
    finite = a.isfinite() & b.isfinite()
    one, other = a[finite].double(), b[finite].double()
    if torch.equal(one, other):
        return math.inf
    return ((one - other).abs().max() / one.abs().max().clamp(min=least)).item()


@dataclass
class Plain:
    """Every pass is done as it is written. `why` they are, where another way was asked for.

    A run may go on so that had graphs before it was stopped: it is judged by these too.
    """

    model: nn.Module
    why: str = ""
    bound: float = 0.0  # of the usual gap
    played: int = 0  # passes by graphs
    gap: float = 0.0  # the greatest between two ways
    usual: list[float] = field(default_factory=list)  # of each pass that was done both ways, the median over tensors
    unread: float = 0.0  # of the images of all plays together, by their sums

    def __call__(self, work: Work, x: Tensor, y: Tensor) -> Answer:
        return work(self.model, x, y)

    def told(self) -> dict[str, Any]:
        """What a record says of it, where another way was asked for."""
        way = "CUDA graphs" if self.played else "as written"
        counted = {"played": self.played, "compared": len(self.usual), "gap": self.gap} if self.usual else {}
        why = {"why": self.why} if self.why else {}
        return {"passes": {"way": way, **counted, **why}} if counted or why else {}

    def checks(self) -> list[Check]:
        """That what was done otherwise is what is written: to the bit, or as nearly as other sums allow."""
        return self._checks(0.0) if self.usual else []

    def _checks(self, most: float, off: bool = False) -> list[Check]:
        what, common = f"passes done otherwise than written, {len(self.usual)} of them both ways: ", median(self.usual)
        return [
            Check(f"{what}greatest gap", f"at most {most:g}", f"{self.gap:.1g}", self.gap <= most or off),
            Check(f"{what}usual gap", f"at most {self.bound:g}", f"{common:.1g}", common <= self.bound or off),
            *([Check(READ, "0", f"{self.unread:.1g}", self.unread < 0.01)] if self.played else []),
        ]

    def over(self) -> None:
        """After the last step: what it held on the device is let go."""

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name in KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))


@dataclass(kw_only=True)
class Quick(Plain):
    """Passes that are done otherwise, and at watched steps twice: by `network`, compiled, or by graphs, or by both.

    A graph has the same kernels: no gap passes. Compiled, sums are made in another order, and now and then one turns a
    ReLU over, which may be a tenth of a small network's gradient: so the usual gap is held to what float32 leaves, and
    the greatest to `TURNED`.
    """

    network: Any  # the model, or what was compiled of it
    trace: Trace
    recorder: Callable[[], Recorder] | None = None
    graphs: dict[Any, Played] = field(default_factory=dict)  # by what may differ from pass to pass

    @property
    def compiled(self) -> bool:
        return self.network is not self.model

    def __call__(self, work: Work, x: Tensor, y: Tensor) -> Answer:
        watched = self.trace.watches()
        graph = self.graphs.get(kind(self.trace, x, y))
        if self.recorder and not watched and not (graph and graph.fits):
            graph, watched = self._recorded(work, x, y), True  # what is new is compared at once
        if graph is None and not self.compiled:
            return work(self.model, x, y)
        other = graph or partial(work, self.network)
        if watched:
            return self._both(work, other, x, y)
        self.trace.saw_forward(x, y)
        return self._otherwise(other, x, y)

    def _otherwise(self, other: Callable[[Tensor, Tensor], Answer], x: Tensor, y: Tensor) -> Answer:
        if isinstance(other, Played):  # which calls nobody, and does what they do
            self.played += 1
            for each in (*self.trace.teachers, *([self.network] if self.compiled else [])):
                each.replayed()
        return other(x, y)

    def _recorded(self, work: Work, x: Tensor, y: Tensor) -> Played | None:
        """A graph of a pass; None where there can be none, and there will be none from now on."""
        assert self.recorder
        counting = (*self.trace.teachers, *([self.network] if self.compiled else []))
        counted = [each.state() for each in counting]
        try:
            if len(self.graphs) >= SHAPES:
                raise RuntimeError(f"passes of more than {SHAPES} shapes")
            self._told_apart()
            with self.trace.unseen():
                if not self.compiled:  # where other bits are allowed
                    self._steady(work, x, y)
                graph = Played(self.recorder(), partial(work, self.network), self.model, x, y)
                self.graphs[kind(self.trace, x, y)] = graph
                return graph
        except RuntimeError as error:
            self.why, self.recorder = one_line(str(error), 200), None
            self.over()
            return None
        finally:
            for each, state in zip(counting, counted, strict=True):
                each.restore(state)

    def _steady(self, work: Work, x: Tensor, y: Tensor) -> None:
        """Raises RuntimeError where a pass, done as it is written and once more, has other bits: so would its graph."""
        before, done = State(self.model, x.device), list[tuple[list[Tensor], State]]()
        for _ in range(2):
            answer = [each.clone() for each in work(self.model, x, y)]
            done.append((answer, State(self.model, x.device)))
            before.restore()
        (one, after), (other, again) = done
        if any((*after.apart(again), *map(apart, one, other))):
            raise RuntimeError("a pass adds in no fixed order: done twice, it has other bits")

    def _both(self, work: Work, other: Callable[[Tensor, Tensor], Answer], x: Tensor, y: Tensor) -> Answer:
        """A pass as it is written, and then the other way, which counts."""
        before = State(self.model, x.device)
        answer = [each.clone() for each in work(self.model, x, y)]
        after = State(self.model, x.device)
        asked = [teacher.state() for teacher in self.trace.teachers]
        before.restore()
        with self.trace.unseen():
            again = self._otherwise(other, x, y)
        for teacher, state in zip(self.trace.teachers, asked, strict=True):
            teacher.restore(state)  # it was asked once
        gaps = [*after.apart(State(self.model, x.device)), *map(apart, answer, again)]
        self.gap = max(self.gap, *gaps)
        self.usual.append(median(gaps))
        return again

    def _told_apart(self) -> None:
        self.unread += sum(graph.unread() for graph in self.graphs.values())

    def over(self) -> None:
        self._told_apart()
        self.graphs.clear()

    def told(self) -> dict[str, Any]:
        way = ", ".join(["compiled"] * self.compiled + ["CUDA graphs"] * bool(self.played))
        counted = {"played": self.played, "compared": len(self.usual), "gap": self.gap}
        return {"passes": {"way": way or "as written", **counted, **({"why": self.why} if self.why else {})}}

    def checks(self) -> list[Check]:
        if not (self.usual and self.compiled):
            return super().checks()
        return self._checks(TURNED, self.trace.diverged)

    def state(self) -> dict[str, Any]:
        self._told_apart()
        return super().state() | ({"network": self.network.state()} if self.compiled else {})

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        if self.compiled:
            self.network.restore(state["network"])


def kind(trace: Trace, x: Tensor, y: Tensor) -> tuple[Any, ...]:
    """What a graph goes for: passes of one shape; at other weights batch norm leaves its statistics alone."""
    return trace.is_away, x.shape, x.stride(), y.shape, x.dtype


RECORDERS: dict[str, Callable[[], Callable[[], Recorder]]] = {"cuda": Graph.makers}  # by the kind of device


def executed(spec: Spec, model: nn.Module, trace: Trace, device: torch.device, ranks: Alone, graphs: bool) -> Plain:
    """How the passes of a run are executed: `graphs` are played where the run can have them."""
    network = spec.compiler.on(model) if spec.compiler else model
    why = obstacle(spec, trace, device, ranks) if graphs else ""
    recorder = RECORDERS[device.type]() if graphs and not why else None
    if network is model and recorder is None:
        return Plain(model, why)
    bound = passing(spec.but(compiler=None), trace)["gradients"] if spec.compiler else 0.0
    made = Quick(model=model, why=why, network=network, trace=trace, recorder=recorder, bound=bound)
    trace.passes = made
    return made


def obstacle(spec: Spec, trace: Trace, device: torch.device, ranks: Alone) -> str:
    """Why no graph of a pass can be played again; "" where one can, as far as is known beforehand."""
    if device.type not in RECORDERS:
        return f"there are none on {device.type}"
    if ranks.size > 1:
        return "ranks talk to each other within a pass"
    if not trace.task.steady:
        return f"a pass of {type(trace.task).__name__} goes by what is on the images, or adds in no fixed order"
    if spec.model.told(0, 1):
        return "its network is told which step it is"
    others = [type(teacher).__name__ for teacher in trace.teachers if not hasattr(teacher, "replayed")]
    return f"{others[0]} has no `replayed`" if others else ""
