"""A step done once more, by references that share no code with what they check.

The images and targets are made anew from the data and the draws, the network is run on a copy of its weights, forward
and backward, and every parameter is moved by the optimizer's rule in numpy. A part says its `reference`, and one that
has none is done anew by its own code: it is *self-checked*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.evidence.moved import averaged, clipped, moved
from harness.evidence.numbers import Named, array, distance, is_layer, of_statistics, rounded, same, weighed, worst
from harness.evidence.served import Served, served
from harness.evidence.step import ROWS, Gaps, Step
from harness.evidence.trace import Trace
from harness.spec import Spec, referenced

NARROW = "float16", "bfloat16"
Given = tuple[Tensor, ...]  # images, and what else a network is called with
Opinion = Callable[[Named, Given, bool, str], Tensor]  # (weights and buffers, images, training, rounded to) -> logits


class Replay:
    """What it takes to do a step of a run once more."""

    def __init__(self, spec: Spec, trace: Trace) -> None:
        self.spec, self.trace = spec, trace
        self.images = spec.data.load()
        self.device = next(trace.model.parameters(), torch.zeros(0)).device
        self.taught = [weighed(bound.model) for bound in trace.teachers]

    @cached_property
    def network(self) -> Opinion:
        return opinion(self.spec.model, self.images.channels, self.trace.classes, self.device)

    @cached_property
    def teachers(self) -> list[Opinion]:
        size = self.images.channels, self.trace.classes, self.device
        return [opinion(part.spec.model, *size) for part in self.spec.teacher]


def states(trace: Trace, named: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """What the optimizer holds of each parameter."""
    kept = trace.optimizer.state
    copied = {n: kept.get(p, {}) for n, p in named.items()}
    return {
        n: {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in held.items()}
        for n, held in copied.items()
    }


def opinion(model: Any, channels: int, classes: int, device: torch.device) -> Opinion:
    """The network as a function: by its part's `reference`, else built anew and called on the weights given."""
    if referenced(model):

        def written(weights: Named, given: Given, training: bool, kind: str) -> Tensor:
            conv, linear = (rounding(f, kind) if kind else f for f in (nn.functional.conv2d, nn.functional.linear))
            z: Tensor = model.reference(weights, *given, training, conv, linear)
            return z

        return written
    net: nn.Module = model.fresh(channels, classes).to(device)
    layers = {f"{name}.weight".removeprefix(".") for name, m in net.named_modules() if is_layer(m)}

    def called(weights: Named, given: Given, training: bool, kind: str) -> Tensor:
        handles = []
        if kind:
            weights = {n: rounded(w, kind) if n in layers else w for n, w in weights.items()}
            stored = lambda layer, args, out: rounded(out, kind)  # noqa: E731
            handles = [m.register_forward_hook(stored) for m in net.modules() if is_layer(m)]
        try:
            z: Tensor = torch.func.functional_call(net.train(training), weights, given)
        finally:
            for handle in handles:
                handle.remove()
        return z

    return called


def rounding(function: Callable[..., Tensor], kind: str) -> Callable[..., Tensor]:
    """A layer whose weights and outputs are rounded to a float; autograd's casts round their gradients too."""

    def layer(x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> Tensor:
        return rounded(function(x, rounded(weight, kind), *rest, **named), kind)

    return layer


class Shared(TorchFunctionMode):
    """Within it conv and linear layers take a pass by shares, as ranks do, and batch norm takes it whole.

    Layers round otherwise at other sizes, and batch norm in float32, which may be 2 % of a gradient where a channel
    hardly varies; so that is in float64 here, on CPUs.
    """

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self.ranks = ranks

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.batch_norm and kwargs["training"]:
            return whole_norm(*args, **kwargs)
        if func not in (nn.functional.conv2d, nn.functional.linear):
            return func(*args, **(kwargs or {}))
        x, *rest = args
        return torch.cat([func(share, *rest, **(kwargs or {})) for share in x.chunk(self.ranks)])


class Multiplied(TorchFunctionMode):
    """Within it conv and linear layers multiply numbers rounded to TF32: input, weight, and the output's gradient.

    As a device does that has it: sums are float32's, and so are biases and what is stored.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func not in (nn.functional.conv2d, nn.functional.linear):
            return func(*args, **named)
        x, weight, *rest = args
        bias = rest.pop(0) if rest else named.pop("bias", None)
        near = [t + (rounded(t, "tf32") - t).detach() for t in (x, weight)]
        out = func(*near, None, *rest, **named)
        if out.requires_grad:
            out.register_hook(lambda slope: rounded(slope, "tf32"))
        if bias is None:
            return out
        return out + (bias if func is nn.functional.linear else bias[:, None, None])


@contextmanager
def tensor_cores(replay: Replay) -> Iterator[None]:
    """Within it cuDNN and cuBLAS may multiply in TF32, where the precision is that and the device CUDA."""
    native = replay.spec.precision.kind == "tf32" and replay.device.type == "cuda"
    flags: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul) if native else ()
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = True
        yield
    finally:
        for flag, was in zip(flags, before, strict=True):
            flag.allow_tf32 = was


def whole_norm(
    x: Tensor, mean: Any, variance: Any, weight: Tensor, bias: Tensor, training: bool, momentum: float, eps: float
) -> Tensor:
    """Batch norm in training, by its definition; running statistics move in place, the variance unbiased."""
    wide = x.double() if x.device.type == "cpu" else x.float()
    own = wide.mean((0, 2, 3), keepdim=True)
    square = ((wide - own) ** 2).mean((0, 2, 3), keepdim=True)
    if mean is not None:
        count = x.numel() // x.shape[1]
        for kept, new in ((mean, own), (variance, square * (count / (count - 1)))):
            kept.mul_(1 - momentum).add_(momentum * new.detach().flatten().to(kept.dtype))
    normal = (wide - own) / (square + eps).sqrt()
    return (normal * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)).to(x.dtype)


def criterion(replay: Replay) -> Any:
    """The loss of the specification, or of its task."""
    return replay.spec.loss or replay.trace.task.loss


def valued(loss: Any, y: np.ndarray, z: np.ndarray, device: torch.device | str = "cpu") -> tuple[float, np.ndarray]:
    """A loss of targets and logits N x K, and its gradient by these, by its reference; else by itself, as it is run."""
    if referenced(loss):
        found: tuple[float, np.ndarray] = loss.reference(y, z)
        return found
    logits = torch.from_numpy(z).float().to(device).requires_grad_()
    value = loss(logits, torch.from_numpy(y).float().to(device))
    value.backward()
    assert logits.grad is not None
    return value.item(), array(logits.grad)


def judged(replay: Replay, step: Step, first: bool = False) -> Gaps:
    """How far a step was from its reference, each gap relative; counts of what must not be.

    `first`: no step before it is known to have been taken.
    """
    spec, trace = replay.spec, replay.trace
    with torch.no_grad():
        due = served(
            spec, trace.task, replay.images, trace.classes, trace.rng, *divmod(step.number, trace.steps_per_epoch)
        )
    assert step.labels is not None
    assert step.fed is not None
    assert step.after is not None
    gaps: Gaps = {"asleep": step.asleep, "frozen": step.frozen, "handed": float(not step.handed), "apart": step.apart}
    gaps["taught"] = float(sum(not same(a, b) for a, b in zip(step.taught, replay.taught, strict=True)))
    if referenced(spec.decay):
        layers = dict(trace.model.named_modules())
        due_decay = {n: spec.decay.reference(n, layers[n.rpartition(".")[0]]) for n in step.gradients}
        gaps["decayed"] = float(sum(step.decays.get(n) != decay for n, decay in due_decay.items()))
    gaps["labels"] = unlike(array(step.labels), np.asarray(due.labels, dtype=np.float64))
    if spec.augment:
        gaps["augmented"] = due.changed
    gaps["targets"] = distance(array(step.fed), due.mixed_y)
    gaps["images"] = distance(array(torch.cat(step.inputs)), due.mixed_x)
    gaps["unrounded"] = step.unrounded / max(1, step.outputs)
    gaps |= {name: float(count) for name, count in step.products.items()}
    size = spec.microbatch or spec.batch_size
    sizes = [len(x) for x in step.inputs]
    passes = np.split(due.mixed_y, range(size, len(due.mixed_y), size))
    gaps["passes"] = float(sizes != [len(share) for y in passes for share in np.split(y, spec.places)])
    if gaps["passes"] or len(step.logits) != len(sizes) or len(step.slopes) != len(sizes):
        return gaps | {"passes": 1.0}
    gaps |= losses(replay, step, due)
    start = 0
    for x, z in zip(step.inputs, step.logits, strict=True):
        other = spec.model.amiss(x, due.mixed_y[start : start + len(z)], array(z))
        start += len(z)
        if other is not None:
            gaps["samples"] = gaps.get("samples", 0.0) + other
    gradients, buffers = replayed(replay, step, gaps)
    scale = gaps["scale"]
    slopes = {n: None if g is None else g.float() / scale for n, g in step.gradients.items()}
    gaps["missing"] = float(sum(g is None and not spec.frozen(n) for n, g in slopes.items()))
    gaps["gradients"] = worst(gradients, {n: g for n, g in slopes.items() if g is not None})
    gaps["statistics"] = of_statistics(*({n: array(of[n]) for n in buffers} for of in (step.after, buffers)))
    if spec.clip:
        gaps |= clipped(spec, step, slopes)
        slopes = {n: step.clipped.get(n) for n in slopes}
    gaps |= moved(spec, trace, step, slopes, first)
    gaps |= averaged(spec, step, trace.steps_per_epoch)
    return gaps


def unlike(seen: np.ndarray, due: np.ndarray) -> float:
    """How many labels are others: of boxes their numbers, to 1/1000 px."""
    return float((np.abs(seen - due) > 1e-3).sum()) if seen.shape == due.shape else float(due.size)


def losses(replay: Replay, step: Step, due: Served) -> Gaps:
    """The loss, and its gradient by the logits, from the logits that were seen and the targets that were due.

    Of images that the network is all but sure of, that gradient is p - 1, of which float32 keeps the digits that the
    logits' own size leaves: what it cannot tell is no gap.
    """
    spec, trace = replay.spec, replay.trace
    total, start = 0.0, 0
    wanted, unsure = [], []
    for x, z in zip(step.inputs, step.logits, strict=True):
        y, share = due.mixed_y[start : start + len(z)], len(z) / len(due.mixed_y)
        start += len(z)
        loss, slope = valued(criterion(replay), y, array(z), replay.device)
        for part, bound, network in zip(spec.teacher, trace.teachers, replay.teachers, strict=True):
            pull, pull_slope = part.reference(array(z), answered(replay, bound, network, x))
            loss, slope = loss + pull, slope + pull_slope
        total += loss * share
        wanted.append(slope * share)
        greatest = np.abs(array(z)).reshape(len(z), -1).max(1)
        unsure.append(2.0**-23 * np.maximum(1.0, greatest) * share / len(z))  # of the gradient by an image's logits
    seen, expected = array(torch.cat(step.slopes)), np.concatenate(wanted)
    finite = np.isfinite(seen) & np.isfinite(expected)  # a scaled gradient may overflow, and the step is left out
    a, b = seen[finite], expected[finite]
    scale = float(a @ b / (b @ b)) if (b @ b) > 0 else math.nan
    near = 2 ** round(math.log2(scale)) if scale > 0 and math.isfinite(scale) else math.nan  # a loss scale is a power
    norm, lost = float(np.linalg.norm(b)), float(np.linalg.norm(np.nan_to_num(np.concatenate(unsure), posinf=0.0)))
    gap = float(np.linalg.norm(a / (near if spec.precision.scaled else 1.0) - b))
    return {
        "loss": abs(step.loss - total) / max(1.0, abs(total)) if math.isfinite(total) else 0.0,
        "scale": near if spec.precision.scaled else 1.0,  # by which gradients are multiplied
        "slopes": (gap - min(gap, lost)) / norm if norm else math.inf,
    }


def answered(replay: Replay, bound: Any, network: Opinion, x: Tensor) -> np.ndarray:
    """What the teacher says of the images that the student got."""
    with torch.no_grad(), precisely(replay):
        weights = dict((*bound.model.named_parameters(), *bound.model.named_buffers()))
        return array(network(weights, (x,), False, emulated(replay)).float())


def emulated(replay: Replay) -> str:
    """The float that layers are rounded to here, where the device's own is not used; "" where none is."""
    kind = replay.spec.precision.kind
    return kind if kind in NARROW and replay.device.type != "cuda" else ""


def precisely(replay: Replay) -> AbstractContextManager[Any]:
    """The precision of a forward: torch's own narrow float on CUDA; of a precision that is a user's, the run's.

    TF32 is CUDA's own there, in the backward too: `tensor_cores`.
    """
    kind = replay.spec.precision.kind
    if kind == "tf32":
        return tensor_cores(replay) if replay.device.type == "cuda" else Multiplied()
    if kind is None:
        context: AbstractContextManager[Any] = replay.trace.runner.forward()
        return context
    native = kind in NARROW and replay.device.type == "cuda"
    return torch.autocast("cuda", getattr(torch, kind)) if native else nullcontext()


def replayed(replay: Replay, step: Step, gaps: Gaps) -> tuple[Named, Named]:
    """The gradient of every parameter and the running statistics after it, by a forward and a backward of our own."""
    spec = replay.spec
    if spec.sync_norms:  # a pass is then one, whoever has which share
        n = spec.places
        each = {name: getattr(step, name) for name in ROWS}
        joint: dict[str, Any] = {k: [torch.cat(x[i : i + n]) for i in range(0, len(x), n)] for k, x in each.items()}
        step = replace(step, **joint)
    gradients, buffers, answers = backward(replay, step, step.weights, step.slopes)
    gaps["logits"] = max(distance(array(z), array(a)) for z, a in zip(step.logits, answers, strict=True))
    scale = gaps["scale"] if math.isfinite(gaps["scale"]) else 1.0
    gradients = {n: g / scale for n, g in gradients.items()}
    if len(step.aways) != len(spec.ascent):
        gaps["climb"] = math.inf
        return gradients, buffers
    for part, away in zip(spec.ascent, step.aways, strict=True):
        if referenced(part):
            gaps["climb"] = max(gaps.get("climb", 0.0), strayed(step.weights, away, part.reference, gradients))
        gradients, _, _ = backward(replay, step, away, [], scale)
        gradients = {n: g / scale for n, g in gradients.items()}
    return gradients, buffers


def strayed(weights: Named, away: Named, rule: Callable[..., dict[str, np.ndarray]], gradients: Named) -> float:
    """How far from where they were due weights went elsewhere, in units of the way; 0 where a gradient overflowed."""
    due = rule({n: array(g) for n, g in gradients.items()})
    if not all(np.isfinite(offset).all() for offset in due.values()):
        return 0.0
    gone = {n: array(away[n]) - array(weights[n]) for n in gradients}
    off = sum(float(((gone[n] - due.get(n, 0.0)) ** 2).sum()) for n in gone)
    return math.sqrt(off / max(sum(float((offset**2).sum()) for offset in due.values()), 1e-60))


def backward(
    replay: Replay, step: Step, weights: Named, slopes: list[Tensor], scale: float = 1.0
) -> tuple[Named, Named, list[Tensor]]:
    """(Gradients, statistics after it, logits of each pass) of the images that came, at `weights`.

    By the `slopes` that were seen, which are judged by themselves: float16 makes much of the least gap between two.
    Elsewhere there are none: by the targets that the loss got, judged too, at the `scale` that the run's loss had.
    Ranks whose batch norm is their own are gone through one by one: the draws and the statistics of each begin anew,
    and statistics end as the mean.
    """
    spec, trace = replay.spec, replay.trace
    learned = {n for n, _ in trace.model.named_parameters()}
    shared = {n: t.clone().requires_grad_(not spec.frozen(n)) for n, t in weights.items() if n in learned}
    epoch, batch = divmod(step.number, trace.steps_per_epoch)
    network = replay.network  # built here, if it is the first time: that draws numbers too
    assert step.fed is not None
    targets = step.fed.split([len(x) for x in step.inputs])
    told = spec.model.told(step.number, trace.steps_per_epoch * spec.epochs)
    ranks = 1 if spec.sync_norms else spec.places
    answers, after = dict[int, Tensor](), list[Named]()
    for place in sorted(range(len(targets)), key=lambda place: place % ranks):
        rank = place % ranks
        if place == rank:
            torch.manual_seed(int(trace.rng("torch", epoch, batch, *((rank,) if rank else ())).integers(2**63)))
            after.append({n: t.clone() for n, t in weights.items() if n not in learned})
        live = shared | after[rank] | told
        x, y = step.inputs[place], targets[place]
        with precisely(replay), Shared(spec.places) if spec.sync_norms else nullcontext():
            z = network(live, trace.task.given(x, y), True, emulated(replay)).float()
        answers[place] = z.detach()
        if slopes:
            with tensor_cores(replay):
                z.backward(slopes[place])
            continue
        own_slope = valued(criterion(replay), array(y), array(z), replay.device)[1]
        loss = (z * torch.from_numpy(own_slope).to(z)).sum()  # its value is another, its gradient is the loss's
        for part, bound, own in zip(spec.teacher, trace.teachers, replay.teachers, strict=True):
            slope = torch.from_numpy(part.reference(array(z), answered(replay, bound, own, x))[1]).to(z)
            loss = loss + (z * slope).sum()
        with tensor_cores(replay):
            (loss * (len(x) / len(step.fed)) * scale).backward()
    found = {n: t.grad for n, t in shared.items() if t.grad is not None}
    kept = {n: torch.stack([of[n] for of in after]).mean(0) for n, t in after[0].items() if t.is_floating_point()}
    return found, kept, [answers[place] for place in range(len(targets))]
