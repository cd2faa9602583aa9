"""The only training loop. It calls slots, and names no trick."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence import Trace, Upstream, confirm, digest, opinions, packed, prove, rates, rehearse, seen, watch
from harness.parts.data import Images
from harness.parts.models import cost
from harness.parts.precision import Runner
from harness.rng import Stream, streams
from harness.spec import Spec

EVAL_BATCH = {"cpu": 64}  # images; on a CPU 64 stay in its cache, up to 4 times the speed of 512
GAPS = 201  # quantiles, from 0 to 100 %
SCORES = ("test_loss", "top1", "top5", "val_loss", "val_top1", "val_top5")
HEARTBEAT = 2.0  # seconds between reports of the loss within an epoch

Event = dict[str, Any]
State = dict[str, Any]


class Keeper:
    """What the loop asks of whoever keeps its run. This one keeps nothing."""

    def saved(self) -> State | None:
        """The state to go on from; None to begin."""
        return None

    def due(self, epoch_done: bool) -> bool:
        """Whether to `keep` the state now, after a batch or an epoch."""
        return False

    def keep(self, state: State) -> None: ...

    def report(self, event: Event) -> None:
        """A dict an epoch, `{"epoch": 0, "loss": …, "top1": …, …}`, and every 2 seconds one with `"batch"`."""


LAYOUT = 6  # of `Live.state`, traces and teachers included: a checkpoint of another is not gone on from
KEPT = ("epoch", "batch", "in_epoch", "history", "best", "correct", "gaps")  # plain values of a `Live` in a checkpoint


@dataclass
class Trained:
    """What a run leaves: its result as JSON-ready values, and its weights."""

    result: dict[str, Any]
    model: nn.Module


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
    total: Tensor  # of this epoch's losses, on the device
    hits: Tensor  # training images of this epoch answered with their own label, as they were trained on
    epoch: int = 0
    batch: int = 0  # the next one
    in_epoch: float = 0.0  # seconds of training in this epoch
    seconds: float = 0.0  # of all, before `since`
    since: float = field(default_factory=time.monotonic)
    history: list[Event] = field(default_factory=list)
    best: State | None = None  # the weights kept so far, where the specification says which
    correct: str = ""  # bits of the last evaluation, packed, in hexadecimal
    gaps: list[float] = field(default_factory=list)  # of the last evaluation

    def state(self) -> State:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "runner": self.runner.state(),
            "teachers": [teacher.state() for teacher in self.teachers],
            "trace": self.trace.state(),
            "total": self.total,
            "hits": self.hits,
            "seconds": self.seconds + time.monotonic() - self.since,
            **{name: getattr(self, name) for name in KEPT},
        }

    def restore(self, state: State) -> None:
        device = self.total.device
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.runner.restore(state["runner"])
        for teacher, kept in zip(self.teachers, state["teachers"], strict=True):
            teacher.restore(kept)
        self.trace.restore(state["trace"], device)
        self.total, self.hits = state["total"].to(device), state["hits"].to(device)
        for name in ("seconds", *KEPT):
            setattr(self, name, state[name])


def build(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """The network with its initial weights."""
    seed_torch(streams(seed)("torch"))
    model = spec.model.build(spec.data.channels, len(spec.data.load().classes))
    for part in spec.init:
        part(model, streams(seed))
    return placed(model, device)


def seed_torch(rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(2**63)))  # for what a model draws by itself, as dropout does


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).to(memory_format=torch.channels_last)  # 1.3 to 1.4 times contiguous, on CPUs too


def begin(
    spec: Spec, seed: int, device: torch.device, steps: int, classes: int, inner: Callable[[Spec], Upstream]
) -> Live:
    model = build(spec, seed, device)
    optimizer = spec.optimizer.build(spec.decay.groups(model), spec.batch_size)
    runner = spec.precision.on(device)
    found = [(part, inner(part.spec)) for part in spec.teacher]
    teachers = tuple(part.bind(replace(run, model=placed(run.model, device)), spec.passes) for part, run in found)
    trace = Trace(steps, classes, model, optimizer, runner, streams(seed), teachers)
    watch(spec, trace)
    return Live(model, optimizer, runner, teachers, trace, *torch.zeros(2, device=device))


def train(
    spec: Spec, seed: int, device: torch.device, inner: Callable[[Spec], Upstream], keeper: Keeper | None = None
) -> Trained:
    """Train `spec` from `seed`; `inner` gives the trained run of an upstream specification.

    Top-1 and top-5 are percentages of the test set. It is measured each epoch or, where images are held out to stop
    by, these are, and it once, at the end, with the weights that are kept.
    """
    keeper = keeper or Keeper()
    rng = streams(seed)
    images: Images = spec.data.load()
    classes = len(images.classes)
    steps = images.counts["train"] // spec.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    run = begin(spec, seed, device, steps, classes, inner)
    state = keeper.saved()
    if state:
        run.restore(state)
        del state

    watched = "val" if "val" in images.counts else "test"
    while run.epoch < spec.epochs and not any(stop.over(run.history) for stop in spec.stop):
        train_epoch(spec, run, images, rng, keeper)
        event = {"epoch": run.epoch, "loss": run.total.item() / steps, "lr": run.trace.lr[-1], "seconds": run.in_epoch}
        event["train_top1"] = 100 * run.hits.item() / (steps * spec.batch_size)
        scores = test(run, images, device, watched)
        run.history.append(event | scores | {"time": time.time()})
        if any(stop.best(run.history) == run.epoch for stop in spec.stop):
            run.best = {name: value.clone() for name, value in run.model.state_dict().items()}
        keeper.report(run.history[-1])
        if run.epoch == 0:
            rehearse(spec, run.trace)
        run.epoch += 1
        run.batch, run.in_epoch, run.total, run.hits = 0, 0.0, *torch.zeros(2, device=device)
        run.trace.diverged = not math.isfinite(event["loss"])
        if run.trace.diverged:
            break
        if keeper.due(epoch_done=True):
            keeper.keep(run.state())
    metrics = {name: value for name, value in run.history[-1].items() if name in SCORES}
    run.trace.history = run.history
    if run.best and not run.trace.diverged:
        run.model.load_state_dict(run.best)
        metrics = run.trace.kept = test(run, images, device, watched)
    if watched == "val":
        metrics = metrics | test(run, images, device, "test")
    made = result(spec, run, images, device, metrics)
    return confirmed(spec, run.trace, Trained(made, run.model))


def train_epoch(spec: Spec, run: Live, images: Images, rng: Stream, keeper: Keeper) -> None:
    """What is left of the epoch that `run` stands in."""
    device = run.total.device
    steps = images.counts["train"] // spec.batch_size
    peak = spec.optimizer.rate(spec.batch_size)
    clock = time.monotonic
    began = spoke = clock()
    before = run.in_epoch
    run.model.train()
    for x, labels in images.train(run.epoch, spec.batch_size, spec.augment, rng, device, start=run.batch):
        step = run.epoch * steps + run.batch
        seed_torch(rng("torch", run.epoch, run.batch))
        for group in run.optimizer.param_groups:
            group["lr"] = peak * spec.schedule.factor(step, steps, spec.epochs)
        y = nn.functional.one_hot(labels, len(images.classes)).float()
        for target in spec.targets:
            y = target(y)
        plain_x, plain_y = x, y
        for mix in spec.mix:
            x, y = mix(x, y, rng("mix", type(mix).__name__, run.epoch, run.batch))
        x = x.contiguous(memory_format=torch.channels_last)
        for z, loss, own in gradient(spec, run, x, y, labels):
            run.total += loss.detach()
            run.hits += (z.argmax(1) == own).sum()
            run.trace.saw_pass(z, loss)
        run.trace.saw_step(labels, plain_y, y, plain_x)
        for part in spec.ascent:
            seed_torch(rng("torch", run.epoch, run.batch))  # the same dropout: under another it is another loss
            with run.trace.away(), part.away(run.model):
                deque(gradient(spec, run, x, y, labels), maxlen=0)
        run.trace.saw_gradient()
        run.runner.step(run.optimizer)
        run.batch += 1
        run.in_epoch = before + clock() - began
        if clock() - spoke > HEARTBEAT:
            spoke = clock()
            loss_so_far = run.total.item() / run.batch
            keeper.report({"epoch": run.epoch, "batch": run.batch, "batches": steps, "loss": loss_so_far})
        if keeper.due(epoch_done=False):
            keeper.keep(run.state())
    run.total.item()  # waits for the device
    run.in_epoch = before + clock() - began


def gradient(spec: Spec, run: Live, x: Tensor, y: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Add the gradient of a batch's loss, a pass at a time: yields its logits, its share of the loss, its labels."""
    size = spec.microbatch or len(x)
    for some_x, some_y, own in zip(x.split(size), y.split(size), labels.split(size), strict=True):
        with run.runner.forward():
            z = run.model(some_x)
            loss = nn.functional.cross_entropy(z.float(), some_y)
            for teacher in run.teachers:
                loss = loss + teacher(some_x, z)
        loss = loss * (len(z) / len(x))
        run.runner.backward(loss)
        yield z.detach(), loss.detach(), own


def result(spec: Spec, run: Live, images: Images, device: torch.device, metrics: dict[str, float]) -> dict[str, Any]:
    """The result of a run that came to its end, JSON-ready."""
    history, runner = run.history, run.runner
    peak = peak_memory(device)  # before the evidence, which asks teachers again
    evidence = prove(spec, run.trace, metrics, run.correct)
    params, macs = cost(spec.model, images.channels, len(images.classes), images.size)
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
        "answers": packed(run.trace.exams.answers) if run.trace.exams else "",
        "params": params,
        "macs": macs,
        "classes": len(images.classes),
        "images": {**images.counts, "digest": images.digest},
        "precision": {"name": runner.name, "emulated": runner.emulated},
        "seconds": run.seconds + time.monotonic() - run.since,
        "seconds_per_epoch": float(np.median(later)),
        "peak_memory": peak,
        "correct": run.correct,
        "gaps": run.gaps,
    }


def test(run: Live, images: Images, device: torch.device, split: str) -> dict[str, float]:
    """The scores of the network on a split, which the trace is told of too."""
    scores, run.correct, run.gaps = evaluate(run.model, images, run.runner, device, split)
    run.trace.saw_test(split, scores, run.correct)
    return scores


def confirmed(spec: Spec, trace: Trace, trained: Trained) -> Trained:
    """What a run leaves, with the evidence of that: whatever was done to it after it was measured would show."""
    checks = list(confirm(spec, trace, trained.result, trained.model))
    trained.result["evidence"] += [{"part": "test", **asdict(check)} for check in checks]
    if not all(check.ok for check in checks):
        trained.result["status"] = "refused"
    return trained


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Images, runner: Runner, device: torch.device, split: str = "test"
) -> tuple[dict[str, float], str, list[float]]:
    """Test loss, top-1 and (above five classes) top-5 in percent, by the names in `SCORES`; which images were right, in
    order, as bits, packed, in hexadecimal; and `GAPS` quantiles of the gap between an image's greatest logit and the
    mean of its others (He et al. 2019, section 5.2)."""
    model.eval()
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    gaps: list[Tensor] = []
    k = min(5, len(images.classes))
    for x, labels in images.test(EVAL_BATCH.get(device.type, 512), device, split):
        with runner.forward():
            z = model(x.contiguous(memory_format=torch.channels_last)).float()
        losses.append(nn.functional.cross_entropy(z, labels, reduction="sum"))
        hits.append(z.topk(k, dim=1).indices == labels[:, None])
        top = z.amax(1)
        gaps.append(top - (z.sum(1) - top) / (z.shape[1] - 1))
    correct = torch.cat(hits).cpu().numpy()
    names = SCORES[:3] if split == "test" else SCORES[3:]
    scores = [float(torch.stack(losses).sum()) / len(correct), 100 * float(correct[:, 0].mean())]
    if len(images.classes) > 5:
        scores.append(100 * float(correct.any(1).mean()))
    with np.errstate(all="ignore"):  # of a run that diverges
        spread = np.quantile(torch.cat(gaps).double().cpu().numpy(), np.linspace(0, 1, GAPS))
    right = np.packbits(correct[:, 0]).tobytes().hex()
    return dict(zip(names, scores, strict=False)), right, [float(f"{gap:.5g}") for gap in spread]


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the device's allocator on CUDA, of this process and all it ran before elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
