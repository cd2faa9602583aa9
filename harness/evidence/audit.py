"""Audits: whole steps done once more, at random, by references that share no code with what they check.

Which steps is drawn from a stream of its own: known from the seed, and to no part. Of such a step the images and
targets are made anew from the data and the draws, the network is run on a copy of its weights, forward and backward,
and every parameter is moved by the optimizer's rule in numpy. What is kept is how far the live objects were from that.
A part says its `reference`, and one that has none is done anew by its own code: it is *self-checked*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.rng import Stream
from harness.spec import Spec, referenced

if TYPE_CHECKING:
    from harness.evidence.trace import Trace

FIRST = 2  # steps that are audited whatever is drawn: of the second, whether the first's gradients were cleared
LEAST, SHARE = 8, 0.01  # audits drawn: at least so many, and about so much of all steps
SHORT = 64  # epochs: up to so many each has one at least
SURE = 0.95

Named = dict[str, Tensor]
Gaps = dict[str, float]
Opinion = Callable[[Named, Tensor, bool, bool], Tensor]  # (weights and buffers, images, training, half) -> logits


def audited(rng: Stream, steps: int, per_epoch: int) -> frozenset[int]:
    """The steps to audit: the first two, and one drawn in each of k even shares of all, at least 8 and 1 %.

    In a run of up to 64 epochs no epoch is without one. A deviation at a share q of the steps, wherever they lie, is
    met with chance 1 - (1 - q)ᵏ or more; up to .01 less where k does not divide the steps, and shares are uneven.
    """
    epochs = steps // per_epoch
    k = max(LEAST, math.ceil(SHARE * steps))
    if epochs <= SHORT:
        k = epochs * -(-k // epochs)
    if k >= steps:
        return frozenset(range(steps))
    edges = [steps * i // k for i in range(k + 1)]
    draw = rng("audit")
    drawn = {int(draw.integers(max(a, FIRST), b)) for a, b in pairwise(edges) if b > FIRST}
    return frozenset(range(FIRST)) | drawn


def caught(audits: int) -> float:
    """The least share of steps at which a deviation is met by so many audits with a chance of .95."""
    return 1 - (1 - SURE) ** (1 / audits) if audits else 1.0


@dataclass
class Step:
    """What the live objects showed at one step."""

    number: int
    weights: Named  # before it, with the buffers
    asleep: int  # modules that were not in training mode
    frozen: int  # parameters that ask for no gradient
    inputs: list[Tensor] = field(default_factory=list)  # of each pass
    logits: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)  # by the logits
    loss: float = 0.0
    labels: Tensor | None = None
    fed: Tensor | None = None  # the targets, mixed
    aways: list[Named] = field(default_factory=list)  # where the weights were for each further gradient
    unrounded: int = 0  # outputs of conv and linear layers that float16 cannot hold
    outputs: int = 0
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    handed: bool = True  # weights and the optimizer's state came as the step before left them
    decays: dict[str, float] = field(default_factory=dict)  # of each parameter, as the optimizer has them
    taught: list[float] = field(default_factory=list)  # `weighed` of each teacher
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # the optimizer's state of each, before
    after: Named | None = None
    left: dict[str, dict[str, Any]] = field(default_factory=dict)  # its state after


class Auditor:
    """Watches the steps that are drawn, and keeps of each how far it was from its reference."""

    def __init__(self, spec: Spec, trace: Trace) -> None:
        self.spec, self.trace = spec, trace
        self.images = spec.data.load()
        self.due = audited(trace.rng, spec.epochs * trace.steps_per_epoch, trace.steps_per_epoch)
        self.found: list[Gaps] = []  # one an audit
        self.errors: list[str] = []
        self.step: Step | None = None  # the one that is watched
        self.waiting: list[Step] = []  # for their end, or to be judged
        self.left: tuple[float, float] | None = None  # weights and the optimizer's state, after the step before
        self.taught = [weighed(bound.model) for bound in trace.teachers]
        self.arriving = False  # at other weights, of which no forward was seen yet
        self.device = next(trace.model.parameters(), torch.zeros(0)).device
        trace.model.register_forward_pre_hook(self._before)
        trace.model.register_forward_hook(self._answered)
        if trace.optimizer is not None:
            trace.optimizer.register_step_post_hook(self._stepped)

    # --- what is seen -----------------------------------------------------------------------------------------------

    def _before(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.ended()
        if self.trace.is_away and self.step and self.arriving:
            self.step.aways.append(copies(model))
            self.arriving = False
        number = len(self.trace.lr)
        if not model.training or self.trace.is_away or number not in self.due:
            return
        if self.step is None:
            asleep = sum(not module.training for module in model.modules())
            frozen = sum(not p.requires_grad for p in model.parameters())
            self.step = Step(number, copies(model), asleep, frozen)
            self.step.handed = self.left is None or same(self.left[0], weighed(model))
            self._handles = [m.register_forward_hook(self._rounds) for m in model.modules() if is_layer(m)]
        self.step.inputs.append(args[0].detach().clone())

    def _rounds(self, layer: nn.Module, args: Any, out: Tensor) -> None:
        if self.step and not self.trace.is_away:
            self.step.outputs += 1
            self.step.unrounded += not held_by_half(some(out))

    def _answered(self, model: nn.Module, args: Any, z: Tensor) -> None:
        step = self.step
        if step and model.training and not self.trace.is_away and len(step.logits) < len(step.inputs):
            step.logits.append(z.detach().float().clone())
            if z.requires_grad:
                z.register_hook(lambda slope: step.slopes.append(slope.detach().float()))

    def saw_pass(self, loss: Tensor) -> None:
        self.judged()
        if self.step:
            self.step.loss += loss.item()

    def saw_step(self, labels: Tensor, fed: Tensor) -> None:
        if self.step:
            self.step.labels, self.step.fed = labels, fed

    def saw_leaving(self) -> None:
        """Before weights go elsewhere."""
        self.arriving = True

    def saw_gradient(self) -> None:
        """Before the optimizer's step."""
        if self.step:
            for handle in self._handles:
                handle.remove()
            named = dict(self.trace.model.named_parameters())
            self.step.gradients = {n: None if p.grad is None else p.grad.detach().clone() for n, p in named.items()}
            self.step.kept = states(self.trace, named)
            self.step.handed &= self.left is None or same(self.left[1], held(self.trace.optimizer))
            names = {id(p): n for n, p in named.items()}
            for group in self.trace.optimizer.param_groups:
                self.step.decays |= {names.get(id(p), "?"): group.get("weight_decay", 0.0) for p in group["params"]}
            self.step.taught = [weighed(bound.model) for bound in self.trace.teachers]
            self.waiting.append(self.step)
            self.step = None
        self.left = None  # a step that is left out tells nothing

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """After a step: where the next one is audited, what it should find."""
        self.left = None
        if len(self.trace.lr) in self.due:
            self.left = weighed(self.trace.model), held(optimizer)

    def ended(self) -> None:
        """The step is over: at the next forward, whatever it is of, or where the run is kept or ends."""
        for step in self.waiting:
            if step.after is None:
                step.after = copies(self.trace.model)
                step.left = states(self.trace, dict(self.trace.model.named_parameters()))

    # --- what is made of it -----------------------------------------------------------------------------------------

    def judged(self) -> None:
        """Judge the steps that are over. Never within a forward: its precision would be the reference's."""
        for step in [step for step in self.waiting if step.after is not None]:
            self.waiting.remove(step)
            with own_numbers(self.device), np.errstate(all="ignore"):
                try:
                    self.found.append({"step": step.number, **judged(self, step)})
                except Exception as error:  # a network of another make, say: of what it would raise any is possible
                    self.errors.append(f"step {step.number + 1}: {type(error).__name__}: {error}")

    @cached_property
    def network(self) -> Opinion:
        return opinion(self.spec.model, self.images.channels, self.trace.classes, self.device)

    @cached_property
    def teachers(self) -> list[Opinion]:
        size = self.images.channels, self.trace.classes, self.device
        return [opinion(part.spec.model, *size) for part in self.spec.teacher]

    def state(self) -> dict[str, Any]:
        self.ended()
        self.judged()
        return {"found": self.found, "errors": self.errors}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.found, self.errors = state["found"], state["errors"]


def weighed(model: nn.Module) -> float:
    """One number of all weights and buffers: another where any of them is another."""
    return told([t.detach() for t in (*model.parameters(), *model.buffers())])


def held(optimizer: Any) -> float:
    """One number of what an optimizer holds of all its parameters."""
    every = [p for group in optimizer.param_groups for p in group["params"]]
    return told([torch.as_tensor(value).detach() for p in every for value in optimizer.state.get(p, {}).values()])


def told(tensors: list[Tensor]) -> float:
    """Norms and sums of tensors, each by its place."""
    if not tensors:
        return 0.0
    floats = [t.float() for t in tensors]
    device = max((t.device for t in floats), key=lambda device: device.type == "cuda")
    norms = torch.stack([n.to(device) for n in torch._foreach_norm(floats)]).double()
    sums = torch.stack([t.sum().to(device) for t in floats]).double()
    places = torch.linspace(1, 2, len(floats), dtype=torch.float64, device=device)
    return float(norms @ places + 1e-3 * (sums @ places.flip(0)))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * abs(b)


def is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def held_by_half(x: Tensor) -> bool:
    """Whether every number of `x` is one that float16 can hold; inf and nan are."""
    x = x.detach()
    return bool(((x == x.half().to(x.dtype)) | x.isnan()).all())


def some(x: Tensor) -> Tensor:
    """Eight of a batch, from all over it."""
    return x[:: max(1, len(x) // 8)]


def copies(model: nn.Module) -> Named:
    live = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in live}


def states(trace: Trace, named: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """What the optimizer holds of each parameter."""
    kept = trace.optimizer.state
    copied = {n: kept.get(p, {}) for n, p in named.items()}
    return {
        n: {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in held.items()}
        for n, held in copied.items()
    }


@contextmanager
def own_numbers(device: torch.device) -> Iterator[None]:
    """Within it gradients are recorded, in float32, and the random numbers of others stay as they were."""
    with torch.random.fork_rng(), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def opinion(model: Any, channels: int, classes: int, device: torch.device) -> Opinion:
    """The network as a function: by its part's `reference`, else built anew and called on the weights given."""
    if referenced(model):

        def written(weights: Named, x: Tensor, training: bool, half: bool) -> Tensor:
            conv, linear = (rounding(f) if half else f for f in (nn.functional.conv2d, nn.functional.linear))
            z: Tensor = model.reference(weights, x, training, conv, linear)
            return z

        return written
    net: nn.Module = model.fresh(channels, classes).to(device)
    layers = {f"{name}.weight".removeprefix(".") for name, m in net.named_modules() if is_layer(m)}

    def called(weights: Named, x: Tensor, training: bool, half: bool) -> Tensor:
        handles = []
        if half:
            weights = {n: w.half().float() if n in layers else w for n, w in weights.items()}
            rounded = lambda layer, args, out: out.half().float()  # noqa: E731
            handles = [m.register_forward_hook(rounded) for m in net.modules() if is_layer(m)]
        try:
            z: Tensor = torch.func.functional_call(net.train(training), weights, (x,))
        finally:
            for handle in handles:
                handle.remove()
        return z

    return called


def rounding(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer whose weights and outputs are rounded through float16; autograd's casts round their gradients too."""

    def rounded(x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> Tensor:
        return function(x, weight.half().float(), *rest, **named).half().float()

    return rounded


@dataclass(frozen=True)
class Served:
    """A batch, made anew: float64 images N x C x H x W, labels N, targets N x K."""

    x: np.ndarray
    labels: np.ndarray
    y: np.ndarray
    mixed_x: np.ndarray
    mixed_y: np.ndarray
    changed: float  # images that augmentation changed


def served(spec: Spec, images: Any, classes: int, rng: Stream, epoch: int, batch: int) -> Served:
    """What the network should get, from the data as it is stored and the streams of the seed."""
    size = spec.batch_size
    places = rng("order", epoch).permutation(images.counts["train"])[batch * size : (batch + 1) * size]
    draws = [(part, rng("augment", *names)) for part, names in named(spec.augment, epoch, batch)]
    x = images.reference("train", places, draws)
    plain = images.reference("train", places, []) if draws else x
    changed = float((np.abs(x - plain).reshape(len(x), -1).max(1) > 1e-2).sum())
    mean, std = (np.asarray(values, dtype=np.float64).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    x = (x - mean) / std
    labels = np.asarray(images.labels("train"))[places]
    y = np.zeros((len(labels), classes))
    y[np.arange(len(labels)), labels] = 1
    for part in spec.targets:
        y = part.reference(y) if referenced(part) else part(torch.from_numpy(y).float()).double().numpy()
    mixed_x, mixed_y = x, y
    for mix in spec.mix:
        draw = rng("mix", type(mix).__name__, epoch, batch)
        if referenced(mix):
            mixed_x, mixed_y = mix.reference(mixed_x, mixed_y, draw)
        else:
            pair = mix(torch.from_numpy(mixed_x).float(), torch.from_numpy(mixed_y).float(), draw)
            mixed_x, mixed_y = (tensor.double().numpy() for tensor in pair)
    return Served(x, labels, y, mixed_x, mixed_y, changed)


def named(parts: tuple[Any, ...], epoch: int, batch: int) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """Each part of an augmentation, and the name of its stream: by its kind, and from the second of a kind numbered."""
    met: dict[str, int] = {}
    for part in parts:
        kind = type(part).__name__
        again = met.get(kind, 0)
        met[kind] = again + 1
        yield part, (kind, epoch, batch, *((again,) if again else ()))


def cross_entropy(targets: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over N of -Σ targets · log softmax(logits), N x K, and its gradient by the logits, in float64."""
    y, z = (np.asarray(t, dtype=np.float64) for t in (targets, logits))
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return float(-(y * log_p).sum(1).mean()), (np.exp(log_p) * y.sum(1, keepdims=True) - y) / len(y)


def judged(auditor: Auditor, step: Step) -> Gaps:
    """How far a step was from its reference, each gap relative; counts of what must not be."""
    spec, trace = auditor.spec, auditor.trace
    with torch.no_grad():
        due = served(spec, auditor.images, trace.classes, trace.rng, *divmod(step.number, trace.steps_per_epoch))
    assert step.labels is not None
    assert step.fed is not None
    assert step.after is not None
    gaps: Gaps = {"asleep": step.asleep, "frozen": step.frozen, "handed": float(not step.handed)}
    gaps["taught"] = float(sum(not same(a, b) for a, b in zip(step.taught, auditor.taught, strict=True)))
    if referenced(spec.decay):
        layers = dict(trace.model.named_modules())
        due_decay = {n: spec.decay.reference(n, layers[n.rpartition(".")[0]]) for n in step.gradients}
        gaps["decayed"] = float(sum(step.decays.get(n) != decay for n, decay in due_decay.items()))
    gaps["labels"] = float((step.labels.cpu().numpy() != due.labels).sum())
    if spec.augment:
        gaps["augmented"] = due.changed
    gaps["targets"] = distance(array(step.fed), due.mixed_y)
    gaps["images"] = distance(array(torch.cat(step.inputs)), due.mixed_x)
    gaps["unrounded"] = step.unrounded / max(1, step.outputs)
    size = spec.microbatch or spec.batch_size
    sizes = [len(x) for x in step.inputs]
    gaps["passes"] = float(sizes != [len(y) for y in np.split(due.mixed_y, range(size, len(due.mixed_y), size))])
    if gaps["passes"] or len(step.logits) != len(sizes) or len(step.slopes) != len(sizes):
        return gaps | {"passes": 1.0}
    gaps |= losses(auditor, step, due)
    gradients, buffers = replayed(auditor, step, gaps)
    scale = gaps["scale"]
    slopes = {n: None if g is None else g.float() / scale for n, g in step.gradients.items()}
    gaps["missing"] = float(sum(g is None for g in slopes.values()))
    gaps["gradients"] = worst(gradients, {n: g for n, g in slopes.items() if g is not None})
    gaps["statistics"] = max((distance(array(step.after[n]), array(b)) for n, b in buffers.items()), default=0.0)
    gaps |= moved(auditor, step, slopes)
    return gaps


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def number(value: Any) -> np.ndarray:
    """What an optimizer holds, as numpy's; nan of what it has not."""
    held = value.detach().cpu() if isinstance(value, Tensor) else math.nan if value is None else value
    return np.asarray(held, dtype=np.float64)


def distance(seen: np.ndarray, due: np.ndarray) -> float:
    """The greatest gap, in units of the greatest number due; inf where shapes differ or one side alone is no number."""
    if seen.shape != due.shape or (np.isfinite(seen) != np.isfinite(due)).any():
        return math.inf
    finite = np.isfinite(due)
    return float(np.abs(seen - due)[finite].max(initial=0) / max(np.abs(due[finite]).max(initial=0), 1e-12))


def losses(auditor: Auditor, step: Step, due: Served) -> Gaps:
    """The loss, and its gradient by the logits, from the logits that were seen and the targets that were due."""
    spec, trace = auditor.spec, auditor.trace
    total, start = 0.0, 0
    wanted = []
    for x, z in zip(step.inputs, step.logits, strict=True):
        y, share = due.mixed_y[start : start + len(z)], len(z) / len(due.mixed_y)
        start += len(z)
        loss, slope = cross_entropy(y, array(z))
        for part, bound, network in zip(spec.teacher, trace.teachers, auditor.teachers, strict=True):
            pull, pull_slope = part.reference(array(z), answered(auditor, bound, network, x))
            loss, slope = loss + pull, slope + pull_slope
        total += loss * share
        wanted.append(slope * share)
    seen, expected = array(torch.cat(step.slopes)), np.concatenate(wanted)
    finite = np.isfinite(seen) & np.isfinite(expected)  # a scaled gradient may overflow, and the step is left out
    a, b = seen[finite], expected[finite]
    scale = float(a @ b / (b @ b)) if (b @ b) > 0 else math.nan
    near = 2 ** round(math.log2(scale)) if scale > 0 and math.isfinite(scale) else math.nan  # a loss scale is a power
    norm = float(np.linalg.norm(b))
    return {
        "loss": abs(step.loss - total) / max(1.0, abs(total)) if math.isfinite(total) else 0.0,
        "scale": near if spec.precision.scaled else 1.0,  # by which gradients are multiplied
        "slopes": float(np.linalg.norm(a / (near if spec.precision.scaled else 1.0) - b)) / norm if norm else math.inf,
    }


def answered(auditor: Auditor, bound: Any, network: Opinion, x: Tensor) -> np.ndarray:
    """What the teacher says of the images that the student got."""
    with torch.no_grad(), precisely(auditor):
        weights = dict((*bound.model.named_parameters(), *bound.model.named_buffers()))
        return array(network(weights, x, False, halved(auditor)).float())


def halved(auditor: Auditor) -> bool:
    """Whether layers are rounded through float16 here, where the device has no arithmetic of that size."""
    return auditor.spec.precision.half is True and auditor.device.type != "cuda"


def precisely(auditor: Auditor) -> AbstractContextManager[Any]:
    """The precision of a forward: torch's own float16 on CUDA; of a precision that is a user's, the run's."""
    half = auditor.spec.precision.half
    if half is None:
        context: AbstractContextManager[Any] = auditor.trace.runner.forward()
        return context
    return torch.autocast("cuda", torch.float16) if half and auditor.device.type == "cuda" else nullcontext()


def replayed(auditor: Auditor, step: Step, gaps: Gaps) -> tuple[Named, Named]:
    """The gradient of every parameter and the running statistics after it, by a forward and a backward of our own."""
    spec = auditor.spec
    gradients, buffers, answers = backward(auditor, step, step.weights, step.slopes)
    gaps["logits"] = max(distance(array(z), array(a)) for z, a in zip(step.logits, answers, strict=True))
    scale = gaps["scale"] if math.isfinite(gaps["scale"]) else 1.0
    gradients = {n: g / scale for n, g in gradients.items()}
    if len(step.aways) != len(spec.ascent):
        gaps["climb"] = math.inf
        return gradients, buffers
    for part, away in zip(spec.ascent, step.aways, strict=True):
        if referenced(part):
            gaps["climb"] = max(gaps.get("climb", 0.0), strayed(step.weights, away, part.reference, gradients))
        gradients, _, _ = backward(auditor, step, away, [], scale)
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
    auditor: Auditor, step: Step, weights: Named, slopes: list[Tensor], scale: float = 1.0
) -> tuple[Named, Named, list[Tensor]]:
    """(Gradients, statistics after it, logits of each pass) of the images that came, at `weights`.

    By the `slopes` that were seen, which are judged by themselves: float16 makes much of the least gap between two.
    Elsewhere there are none: by the targets that the loss got, judged too, at the `scale` that the run's loss had.
    """
    spec, trace = auditor.spec, auditor.trace
    learned = {n for n, _ in trace.model.named_parameters()}
    live = {n: t.clone().requires_grad_(n in learned) for n, t in weights.items()}
    epoch, batch = divmod(step.number, trace.steps_per_epoch)
    network = auditor.network  # built here, if it is the first time: that draws numbers too
    torch.manual_seed(int(trace.rng("torch", epoch, batch).integers(2**63)))
    assert step.fed is not None
    start, answers = 0, []
    for place, x in enumerate(step.inputs):
        y = step.fed[start : start + len(x)]
        start += len(x)
        with precisely(auditor):
            z = network(live, x, True, halved(auditor)).float()
        answers.append(z.detach())
        if slopes:
            z.backward(slopes[place])
            continue
        loss = -(y * z.log_softmax(1)).sum(1).mean()
        for part, bound, own in zip(spec.teacher, trace.teachers, auditor.teachers, strict=True):
            slope = torch.from_numpy(part.reference(array(z), answered(auditor, bound, own, x))[1]).to(z)
            loss = loss + (z * slope).sum()  # its value is another, its gradient is the teacher's
        (loss * (len(x) / len(step.fed)) * scale).backward()
    found = {n: t.grad for n, t in live.items() if t.grad is not None}
    return found, {n: t for n, t in live.items() if n not in learned and t.is_floating_point()}, answers


def worst(due: Named, seen: Named) -> float:
    """The greatest relative gap of a parameter's gradient; of one that is but noise, relative to all the others."""
    if due.keys() - seen.keys():
        return math.inf
    square = sum(float(g.double().square().nan_to_num(0, 0, 0).sum()) for g in due.values())
    each = math.sqrt(square / max(1, sum(g.numel() for g in due.values())))
    gaps = [0.0]
    for name, gradient in due.items():
        a, b = seen[name].double(), gradient.double()
        finite = a.isfinite() & b.isfinite()
        a, b = a[finite], b[finite]
        gaps.append(float((a - b).norm()) / max(float(b.norm()), 1e-3 * each * math.sqrt(max(1, b.numel())), 1e-30))
    return max(gaps)


def moved(auditor: Auditor, step: Step, slopes: Mapping[str, Tensor | None]) -> Gaps:
    """How far every parameter is from where the optimizer's rule takes it, relative to its step; and its state."""
    spec, trace = auditor.spec, auditor.trace
    assert step.after is not None
    rule: Any = spec.optimizer
    if not referenced(rule) or not referenced(spec.schedule):
        return {}
    rate = rule.peak(spec.batch_size) * spec.schedule.reference(step.number, trace.steps_per_epoch, spec.epochs)
    layers = dict(trace.model.named_modules())
    live = dict(trace.model.named_parameters())
    overflowed = step.gradients and spec.precision.scaled
    overflowed = overflowed and not all(g is None or bool(g.isfinite().all()) for g in step.gradients.values())
    # Nothing is held before the first step that is taken: of half precision the first few may be left out.
    first = spec.precision.scaled and all(gaps.get("overflowed", 0.0) for gaps in auditor.found)
    steps, state = 0.0, 0.0
    for name in live:
        slope = slopes[name]
        before, after = array(step.weights[name]), array(step.after[name])
        if slope is None or overflowed:
            steps = max(steps, float((before != after).any()))
            continue
        decay = spec.decay.reference(name, layers[name.rpartition(".")[0]]) if referenced(spec.decay) else 0.0
        held = {} if first and not step.kept[name] else rule.held
        kept = {key: number(step.kept[name].get(place)) for key, place in held.items()} if step.number else {}
        due = rule.reference(before, array(slope), rate, decay, kept)
        size = max(float(np.abs(due - before)[np.isfinite(due)].max(initial=0)), 1e-30)
        off = np.abs(due - after) - 1e-6 * np.abs(before).max(initial=0)  # float32 cannot say it any closer
        steps = max(steps, float(off[np.isfinite(off)].max(initial=0)) / size)
        for key, place in rule.held.items():
            state = max(state, distance(number(step.left[name].get(place)), np.asarray(kept[key], dtype=np.float64)))
    return {"steps": steps, "state": state, "overflowed": float(bool(overflowed))}
