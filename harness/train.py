"""The only training loop. It calls slots, and names no trick."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import Problem, tasks
from harness.evidence import Trace, Upstream, confirm, digest, opinions, prove, rates, rehearse, seen, watch
from harness.parts.averaging import Averaging
from harness.parts.data import Batch, Images, digests
from harness.parts.draws import Drawing, ahead
from harness.parts.grouping import groups, set_rate
from harness.parts.models import cost, sides
from harness.parts.norms import synchronise
from harness.parts.precision import Runner
from harness.passes import Plain, executed
from harness.ranks import Alone
from harness.rng import Stream, streams
from harness.spec import Spec

HEARTBEAT = 2.0  # seconds between reports of the loss within an epoch

Event = dict[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class How:
    """How a run is watched and executed, which its record tells and its id does not: no bit depends on it."""

    curve_every: int = 1  # epochs from one measurement of the test set to the next
    curve_images: int | None = None  # test images that are measured before the last epoch; None: all
    cuda_graphs: bool = False  # passes are played again as CUDA graphs, where they can be
    sharing: int = 1  # runs that share its card

    def measures(self, epoch: int) -> bool:
        """Whether the test set is measured after this epoch, from 0; after the last, and to stop by, it always is."""
        return (epoch + 1) % self.curve_every == 0

    def few(self, counts: Mapping[str, int]) -> int | None:
        """The test images that are measured before the last epoch, of a data set with so many; None where all are."""
        most = self.curve_images
        return most if most and most < counts["test"] and "val" not in counts else None


PLAIN = How()


class Keeper:
    """What the loop asks of whoever keeps its run. This one keeps nothing."""

    how = PLAIN

    def saved(self) -> State | None:
        """The state to go on from; None to begin."""
        return None

    def due(self, epoch_done: bool) -> bool:
        """Whether to `keep` the state now, after a batch or an epoch."""
        return False

    def keep(self, state: State) -> None: ...

    def report(self, event: Event) -> None:
        """A dict an epoch, `{"epoch": 0, "loss": …, the scores, …}`, and every 2 seconds one with `"batch"`."""


LAYOUT = 12  # of `Live.state`, traces and teachers included: a checkpoint of another is not gone on from
KEPT = ("epoch", "batch", "in_epoch", "history", "best", "answered")  # plain values of a `Live` in a checkpoint


@dataclass
class Trained:
    """What a run leaves: its result as JSON-ready values, its weights, and what its evidence was read from.

    `arrays` are what it keeps of single test images in a file of their own: of classification `labels` and `logits`.
    """

    result: dict[str, Any]
    model: nn.Module
    trace: Trace
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Live:
    """A run in progress. `state` is all that it takes to go on as if it had never stopped.

    No random state is in it: every draw is a function of the seed, its purpose, the epoch and the batch.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    runner: Runner
    teachers: tuple[Any, ...]
    trace: Trace
    passes: Plain
    total: Tensor  # of this epoch's losses, on the device
    hits: Tensor  # training images of this epoch answered with their own label, as they were trained on
    averages: tuple[Averaging, ...] = ()
    ranks: Alone = field(default_factory=Alone)
    epoch: int = 0
    batch: int = 0  # the next one
    in_epoch: float = 0.0  # seconds of training in this epoch
    seconds: float = 0.0  # of all, before `since`
    since: float = field(default_factory=time.monotonic)
    history: list[Event] = field(default_factory=list)
    best: State | None = None  # the weights kept so far, where the specification says which
    answered: dict[str, Any] = field(default_factory=dict)  # of the last evaluation, what a record has of each image

    def next_epoch(self) -> None:
        self.epoch, self.batch, self.in_epoch = self.epoch + 1, 0, 0.0
        self.total, self.hits = torch.zeros(2, device=self.total.device)

    def state(self) -> State:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "runner": self.runner.state(),
            "teachers": [teacher.state() for teacher in self.teachers],
            "averages": [average.state() for average in self.averages],
            "trace": self.trace.state(),
            "passes": self.passes.state(),
            "total": self.total,
            "hits": self.hits,
            "seconds": self.seconds + time.monotonic() - self.since,
            **{name: getattr(self, name) for name in KEPT},
        }

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the network has the weights that are tested and kept."""
        with ExitStack() as stack:
            for average in self.averages:
                stack.enter_context(average.on())
            yield

    def restore(self, state: State) -> None:
        device = self.total.device
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.runner.restore(state["runner"])
        for teacher, kept in zip(self.teachers, state["teachers"], strict=True):
            teacher.restore(kept)
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.restore(kept)
        self.trace.restore(state["trace"], device)
        self.passes.restore(state["passes"])
        self.total, self.hits = state["total"].to(device), state["hits"].to(device)
        for name in ("seconds", *KEPT):
            setattr(self, name, state[name])


def build(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """The network with its initial weights, but for those of its upstream run."""
    seed_torch(streams(seed)("torch"))
    model = spec.model.build(spec.data.channels, len(spec.data.load().classes))
    for part in spec.init:
        part.knowing(spec.data.load())(model, streams(seed))
    for name, parameter in model.named_parameters():
        if spec.frozen(name):
            parameter.requires_grad_(False)
    return placed(model, device)


def seed_torch(rng: np.random.Generator) -> None:
    """For what a model draws by itself, as dropout does: `torch.manual_seed`, in a hundredth of its time on a CPU."""
    seed = int(rng.integers(2**63))
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # else nothing was drawn there, and torch would keep the call, with its traceback
        torch.cuda.manual_seed_all(seed)


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).to(memory_format=torch.channels_last)  # 1.3 to 1.4 times contiguous, on CPUs too


def begin(
    spec: Spec,
    seed: int,
    device: torch.device,
    steps: int,
    classes: int,
    inner: Callable[[Spec], Upstream],
    ranks: Alone | None = None,
    how: How = PLAIN,
) -> Live:
    ranks = ranks or Alone()
    model = build(spec, seed, device)
    below = next((inner(value) for _, value in spec.model if isinstance(value, Spec)), None)
    if below:
        spec.model.adopt(model, below.model)
    if spec.sync_norms:
        synchronise(model, ranks)
    optimizer = spec.optimizer.build(groups(spec, model), spec.batch_size)
    runner = spec.precision.on(device)
    found = [(part, inner(part.spec)) for part in spec.teacher]
    teachers = tuple(part.bind(replace(run, model=placed(run.model, device)), spec.passes) for part, run in found)
    averages = tuple(Averaging(part, model) for part in spec.average)
    own = streams(seed), teachers, averages, tasks.of(spec), below, seed, ranks
    trace = Trace(steps, classes, model, optimizer, runner, *own)
    trace.curve = how.few(spec.data.load().counts)
    watch(spec, trace)
    passes = executed(spec, model, trace, device, ranks, how.cuda_graphs)
    total, hits = torch.zeros(2, device=device)
    return Live(model, optimizer, runner, teachers, trace, passes, total, hits, averages, ranks)


def train(
    spec: Spec,
    seed: int,
    device: torch.device,
    inner: Callable[[Spec], Upstream],
    keeper: Keeper | None = None,
    ranks: Alone | None = None,
) -> Trained:
    """Train `spec` from `seed`; `inner` gives the trained run of an upstream specification.

    The test set is measured after each epoch that `keeper` says; or, where images are held out to stop by, these are,
    after each, and it once, at the end, with the weights that are kept. Of several `ranks` each calls this; rank 0
    keeps the run, and has what it leaves.
    """
    keeper, ranks = keeper or Keeper(), ranks or Alone()
    if ranks.size != spec.places:
        raise Problem(f"ranks={spec.places}, and it is trained by {ranks.size}")
    how = ranks.agree(keeper.how)
    rng = streams(seed)
    images: Images = replace(spec.data.load(), sampler=spec.sampler) if spec.sampler else spec.data.load()
    classes = len(images.classes)
    steps = images.counts["train"] // spec.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    run = begin(spec, seed, device, steps, classes, inner, ranks, how)
    state = ranks.agree(keeper.saved())
    if state:
        run.restore(state)
        del state

    watched = "val" if "val" in images.counts else "test"
    few = how.few(images.counts)
    shown = images.shortened(few) if few else images
    served = images.train(run.epoch, spec.batch_size, spec.augment, rng, device, run.batch, spec.epochs)
    batches = zip(served, mixers(spec, run, images, rng), strict=False)
    while run.epoch < spec.epochs and not any(stop.over(run.history) for stop in spec.stop):
        train_epoch(spec, run, images, batches, rng, keeper)
        event = {"epoch": run.epoch, "loss": run.total.item() / steps, "lr": run.trace.lr[-1], "seconds": run.in_epoch}
        event[tasks.of(spec).learned] = 100 * run.hits.item() / (steps * spec.batch_size)
        diverged, last = not math.isfinite(event["loss"]), run.epoch == spec.epochs - 1
        due = last or diverged or bool(spec.stop) or how.measures(run.epoch)
        asked = (images, watched) if last or diverged or not few else (shown, "curve")
        with run.averaged():
            if due:
                renew(spec, run, images, rng)
            scores = test(spec, run, *asked) if due else {}
            run.history.append(event | scores | {"time": time.time()})
            if any(stop.best(run.history) == run.epoch for stop in spec.stop):
                run.best = {name: value.clone() for name, value in run.model.state_dict().items()}
        keeper.report(run.history[-1])
        if run.epoch == 0:
            rehearse(spec, run.trace)
        run.next_epoch()
        run.trace.diverged = diverged
        if diverged:
            break
        if ranks.agree(keeper.due(epoch_done=True)):
            keeper.keep(run.state())
    served.close()
    run.passes.over()
    metrics = {name: value for name, value in run.history[-1].items() if name in tasks.of(spec).scores}
    run.trace.history = run.history
    for average in run.averages:
        average.keep()
    if run.best and not run.trace.diverged:
        run.model.load_state_dict(run.best)
        metrics = run.trace.kept = test(spec, run, images, watched)
    if watched == "val":
        metrics = metrics | test(spec, run, images, "test")
    run.trace.over()
    ranks.over()
    made = result(spec, run, shown, device, metrics)
    arrays = {name: value.numpy() for name, value in run.answered.items() if isinstance(value, Tensor)}
    return confirmed(spec, run.trace, Trained(made, run.model, run.trace, arrays))


def mixers(spec: Spec, run: Live, images: Images, rng: Stream) -> Iterator[Drawing]:
    """Of each batch that is left the parts that mix it, with their draws."""
    steps = images.counts["train"] // spec.batch_size
    left = ((*divmod(step, steps), None) for step in range(run.epoch * steps + run.batch, spec.epochs * steps))
    shape = spec.batch_size, images.size, images.size
    return (parts for _, parts in ahead(left, steps, lambda *_: spec.mix, rng, shape, run.total.device, "mix"))


def train_epoch(
    spec: Spec, run: Live, images: Images, batches: Iterator[tuple[Batch, Drawing]], rng: Stream, keeper: Keeper
) -> None:
    """What is left of the epoch that `run` stands in: `batches` and mixers of its own, and of the epochs after it."""
    task = tasks.of(spec)
    steps = images.counts["train"] // spec.batch_size
    peak = spec.optimizer.rate(spec.batch_size)
    clock = time.monotonic
    began = spoke = clock()
    before = run.in_epoch
    run.model.train()
    for (x, labels), mixing in islice(batches, steps - run.batch):
        step = run.epoch * steps + run.batch
        seed_torch(rng("torch", run.epoch, run.batch, *run.ranks.own))
        set_rate(run.optimizer, peak * spec.schedule.factor(step, steps, spec.epochs))
        spec.model.tell(run.model, step, steps * spec.epochs)
        for resize in spec.resolution:
            x = resize(x, run.epoch, spec.epochs)
        y = task.targets(labels, len(images.classes))
        for target in spec.targets:
            y = target(y)
        stages = [run.trace.stage(x, y)]
        for mix, draw in mixing:
            x, y = mix(x, y, draw)
            stages.append(run.trace.stage(x, y))
        x = x.contiguous(memory_format=torch.channels_last)
        for z, loss, own in gradient(spec, run, x, y, labels):
            loss, hits = run.ranks.sum(loss, task.hits(z, own))
            run.total += loss
            run.hits += hits
            run.trace.saw_pass(z, loss)
        run.trace.saw_step(labels, stages)
        for part in spec.ascent:
            seed_torch(rng("torch", run.epoch, run.batch, *run.ranks.own))  # the same dropout: else it is another loss
            with run.trace.away(), part.away(run.model):  # which clears the gradient that took it there
                deque(gradient(spec, run, x, y, labels), maxlen=0)
        run.trace.saw_gradient()
        for clip in spec.clip:
            run.runner.unscale(run.optimizer)
            clip(list(run.model.parameters()))
        run.trace.saw_clipped()
        run.runner.step(run.optimizer)
        for average in run.averages:
            average.update(step, steps, spec.epochs)
        run.trace.saw_averaged()
        for average in run.averages:
            average.hand_back()
        run.trace.saw_returned()
        run.batch += 1
        run.in_epoch = before + clock() - began
        if clock() - spoke > HEARTBEAT:
            spoke = clock()
            loss_so_far = run.total.item() / run.batch
            keeper.report({"epoch": run.epoch, "batch": run.batch, "batches": steps, "loss": loss_so_far})
        if run.ranks.agree(keeper.due(epoch_done=False)):
            keeper.keep(run.state())
    run.total.item()  # waits for the device
    run.in_epoch = before + clock() - began


def gradient(spec: Spec, run: Live, x: Tensor, y: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Add the gradient of a batch's loss, a pass at a time: yields its logits, its share of the loss, its labels.

    Each of several ranks has its share of every pass, and, after the last, the gradient of all.
    """
    size = spec.microbatch or len(x)
    for passed in zip(x.split(size), y.split(size), labels.split(size), strict=True):
        some_x, some_y, own = run.ranks.share(*passed)
        yield *run.passes(partial(forward_backward, spec, run, len(x)), some_x, some_y), own
    run.ranks.reduce(run.model)


def forward_backward(
    spec: Spec, run: Live, images: int, network: Callable[..., Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """A pass, of a batch of so many `images`: its logits, and its share of the loss. It adds to the gradient."""
    task = tasks.of(spec)
    criterion = spec.loss or task.loss
    with run.runner.forward():
        z = network(*task.given(x, y))
        loss = criterion(z.float(), y)
        for teacher in run.teachers:
            loss = loss + teacher(x, z)
    loss = loss * (len(z) / images)
    run.runner.backward(loss)
    return z.detach(), loss.detach()


@torch.no_grad()
def renew(spec: Spec, run: Live, images: Images, rng: Stream) -> None:
    """Work batch norm's statistics out anew, where the average that the network has asks for it.

    By batches of the epoch that is over, augmented as they were and not mixed, a pass at a time.
    """

    def forward(number: int, x: Tensor) -> None:
        seed_torch(rng("torch", "renewed", run.epoch, number))
        for resize in spec.resolution:
            x = resize(x, run.epoch, spec.epochs)
        with run.runner.forward():
            run.model(x.contiguous(memory_format=torch.channels_last))

    def forwards(batches: int) -> Iterator[Callable[[], None]]:
        how: dict[str, Any] = {
            "batch_size": spec.batch_size,
            "rng": rng,
            "augment": spec.augment,
            "device": run.total.device,
        }
        served = images.train(run.epoch, **how)
        passes = (some for x, _ in islice(served, batches) for some in x.split(spec.microbatch or spec.batch_size))
        yield from (partial(forward, number, x) for number, x in enumerate(passes))

    for average in run.averages:
        batches = average.part.renewing(run.epoch, spec.epochs)
        if batches:
            steps = images.counts["train"] // spec.batch_size
            spec.model.tell(run.model, (run.epoch + 1) * steps - 1, steps * spec.epochs)
            with run.trace.renewing(run.epoch):
                average.renew(forwards(batches))


def result(spec: Spec, run: Live, images: Images, device: torch.device, metrics: dict[str, float]) -> dict[str, Any]:
    """The result of a run that came to its end, JSON-ready."""
    history, runner = run.history, run.runner
    peak = peak_memory(device)  # before the evidence, which asks teachers again
    evidence = prove(spec, run.trace, metrics, run.answered)
    evidence += [{"part": "loop", **asdict(check)} for check in run.passes.checks()]
    size = sides(spec) if spec.resolution else run.trace.canvas
    params, macs = cost(spec.model, images.channels, len(images.classes), size)
    later = [e["seconds"] for e in history[1:]] or [history[0]["seconds"]]  # the first epoch warms caches up
    status, kept = "diverged" if run.trace.diverged else "finished", len(history) - 1
    if spec.stop and not run.trace.diverged:
        kept = spec.stop[0].best(history)
    if not all(check["ok"] for check in evidence):
        status = "refused"
    return {
        "status": status,
        "metrics": metrics,
        "kept": kept,  # the epoch whose weights are
        "epochs": history,
        "evidence": evidence,
        "rates": rates(run.trace),
        "opinions": opinions(spec, evidence),
        "seen": seen(run.trace),
        "network": digest(run.model.state_dict().items()),
        **stood_on(run.trace.below),
        "answers": run.trace.exams.answers if run.trace.exams else "",
        "params": params,
        "macs": macs,
        "classes": len(images.classes),
        "names": list(images.classes),
        "images": {**images.counts, "digest": images.digest, "splits": digests(spec.data.load())},
        "precision": {"name": runner.name, "emulated": runner.emulated},
        "seconds": run.seconds + time.monotonic() - run.since,
        "seconds_per_epoch": float(np.median(later)),
        "peak_memory": peak,
        **{name: value for name, value in run.answered.items() if not isinstance(value, Tensor)},
        **run.passes.told(),
        **tasks.scored(spec),
    }


def stood_on(below: Upstream | None) -> dict[str, Any]:
    """Which run the network began with, and the digests of its network and of the file of its weights."""
    if below is None:
        return {}
    told = {name: below.result.get(name) for name in ("seed", "network", "weights")}
    return {"stands_on": {"spec_id": below.id, **told}}


def test(spec: Spec, run: Live, images: Images, split: str) -> dict[str, float]:
    """The scores of the network on a split, which the trace is told of too."""
    shown = spec.evaluation.view(images) if spec.evaluation else images
    told = run.ranks, run.trace.saw_answers
    scores, run.answered = evaluate(tasks.of(spec), run.model, shown, run.runner, run.total.device, split, *told)
    run.trace.saw_test(split, scores, run.answered)
    return scores


def confirmed(spec: Spec, trace: Trace, trained: Trained) -> Trained:
    """What a run leaves, with the evidence of that: whatever was done to it after it was measured would show."""
    checks = list(confirm(spec, trace, trained.result, trained.model, trained.arrays))
    trained.result["evidence"] += [{"part": "test", **asdict(check)} for check in checks]
    if not all(check.ok for check in checks):
        trained.result["status"] = "refused"
    return trained


@torch.no_grad()
def evaluate(
    task: Any,
    model: nn.Module,
    images: Images,
    runner: Runner,
    device: torch.device,
    split: str = "test",
    ranks: Alone | None = None,
    after: Callable[[], None] = lambda: None,
) -> tuple[dict[str, float], dict[str, Any]]:
    """The task's scores of a split, by name, and what a record keeps of its images.

    Ranks take turns at batches of one process's size: the arithmetic is the same. `after` each turn it is said.
    """
    marking, size = task.marking(images, split), task.at_once(device.type, images.tested)
    model.eval()

    def answer(x: Tensor, labels: Tensor) -> Any:
        x = x.contiguous(memory_format=torch.channels_last)
        with runner.forward():
            z = model(*task.given(x, labels)).float()
        return z

    def answered(x: Tensor, labels: Tensor) -> Any:
        return images.answered(lambda view: answer(view, labels), x)

    for z, labels in (ranks or Alone()).in_turn(answered, images.test(size, device, split), after):
        marking.add(z, labels)
    scores: tuple[dict[str, float], dict[str, Any]] = marking.scores(split)
    return scores


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the device's allocator on CUDA, of this process and all it ran before elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
