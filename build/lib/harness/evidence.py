"""Evidence: what a run's live objects showed, held against what its specification says.

The loop fills a `Trace` while it trains; each part's `proof` reads it, and `prove` adds what holds for every run: the
loss of step 1 and its gradient are those of the logits and targets seen, the images those of the order and augmentation
drawn, every parameter is in the optimizer once, the weights moved. What is measured is what was used: the images that
reached the network, the rates that the optimizer had at each step. A run with a failed check is refused and enters no
table. `seen` digests the same objects, so that two runs can be told apart by what differed, not by what was asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.rng import Stream, streams
from harness.spec import Spec, parts

LEAST = 1e-6  # a rate below it may move no weight that float32 can tell
KEPT_BATCHES = 16  # target batches kept: enough to see λ vary, small next to one batch of images
KEPT_IMAGES = 4  # of those batches, how many keep their images too: a checkpoint carries them
KEPT_PIXELS = 32  # a side: images are subsampled to about this, which mixing commutes with
KEPT_WEIGHTS = 10_000  # at most, of the parameter whose first steps are kept; ResNet-50 has one of 4,096
TELLING = 16  # images: of fewer, a shift or a flip may by chance change none
RATES = 200  # at most, of a result
GATHERED = (  # what of a `Trace` a checkpoint holds, beside the rates
    *("first_gammas", "first_weights", "outputs", "gradients", "macs", "fed", "images", "moves"),
    *("first_logits", "first_gradient", "first_loss", "forwards", "awake", "stale", "aways"),
)


Away = tuple[float, float, int, int]  # length, cosine to the gradient; tensors that did not come back; gradients amiss


@dataclass(frozen=True)
class Check:
    """One measurement: `what` was `expected`, what was `seen`, and whether that will do."""

    what: str
    expected: str
    seen: str
    ok: bool


@dataclass(frozen=True)
class Upstream:
    """A trained inner run: its network, the id of its specification, and its result, as its record has them."""

    model: nn.Module
    id: str
    result: dict[str, Any]


@dataclass
class Trace:
    """What the loop saw. Lists grow as it trains; `model` and `optimizer` are the live objects."""

    steps_per_epoch: int
    classes: int
    model: nn.Module = field(default_factory=nn.Identity)
    optimizer: Any = None
    runner: Any = None
    rng: Stream = field(default_factory=lambda: streams(0))
    teachers: tuple[Any, ...] = ()
    lr: list[float] = field(default_factory=list)  # of each step; nan where the parameter groups differed
    first_gammas: dict[str, tuple[float, float]] = field(default_factory=dict)
    first_weights: dict[str, tuple[float, float]] = field(default_factory=dict)  # greatest |w| and |bias| of a layer
    outputs: dict[str, str] = field(default_factory=dict)  # what each conv and linear layer gave at step 1
    gradients: dict[str, str] = field(default_factory=dict)  # and what its weight got
    macs: dict[str, int] = field(default_factory=dict)  # multiply-adds of each for one image
    fed: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # (labels, targets, mixed targets)
    images: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # (before mixing, as the network got them)
    first_logits: Tensor | None = None
    first_gradient: Tensor | None = None  # of the loss as it went backward, by the logits
    first_loss: float = 0.0
    forwards: int = 0  # in training mode
    awake: int = 0  # modules that were in training mode in a forward that was not, over all of those
    moves: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # before a step; see `steps_of_witness`
    aways: list[Away] = field(default_factory=list)  # of gradients taken at other weights
    stale: int = 0  # parameters whose gradient of step 1 was still there at step 2
    diverged: bool = False  # the loss was no number, and the run ended with that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # the loop's report of each epoch
    kept: dict[str, float] = field(default_factory=dict)  # what was measured with the weights kept, at the end

    def __post_init__(self) -> None:
        self.initial = digest(self.model.named_parameters())
        self.before = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.ndim == 2}
        self._batch = 1  # images of this forward
        self._got: list[Tensor] = []  # images of this step's forwards
        self._logits: list[Tensor] = []  # of step 1
        self._slopes: list[Tensor] = []  # of step 1, by its logits
        self._stepped = False  # since the last forward in training
        self._away = False
        self._taken: list[tuple[nn.Parameter, Tensor]] = []  # parameters, and their gradients at other weights
        self.model.register_forward_pre_hook(self._note_input)
        self._of_step_1: list[Any] = [self.model.register_forward_hook(self._note_slope)]
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._note_output_of(name, module)
                self._note_gradient_of(name, module.weight)

    def _note_input(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        """At the first forward the layers' weights and every batch norm's γ; in training the images that came."""
        self._batch = len(args[0])
        if self.forwards == 0:
            for name, module in model.named_modules():
                if isinstance(module, nn.BatchNorm2d):
                    low, high = module.weight.detach().aminmax()
                    self.first_gammas[name] = (low.item(), high.item())
                elif isinstance(module, nn.Conv2d | nn.Linear):
                    bias = 0.0 if module.bias is None else module.bias.detach().abs().max().item()
                    self.first_weights[name] = (module.weight.detach().abs().max().item(), bias)
        if not model.training:
            self.awake += sum(module.training for module in model.modules())
            return
        self.forwards += 1
        if self._away:
            return
        if self._stepped and len(self.lr) == 1:
            self.stale = sum(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
        self._stepped = False
        if len(self.images) < KEPT_IMAGES:
            self._got.append(thinned(args[0]))

    def _note_slope(self, model: nn.Module, args: Any, z: Tensor) -> None:
        if z.requires_grad:
            z.register_hook(lambda slope: self._slopes.append(slope.detach().float().cpu()))

    def _note_gradient_of(self, name: str, weight: Tensor) -> None:
        """Note, at step 1, whether the gradient of every pass is one that float16 holds."""

        def note(gradient: Tensor) -> None:
            exact = self.gradients.get(name, "float16") == "float16" and held_by_half(gradient)
            self.gradients[name] = "float16" if exact else str(gradient.dtype).removeprefix("torch.")

        self._of_step_1.append(weight.register_hook(note))

    def _note_output_of(self, name: str, module: nn.Conv2d | nn.Linear) -> None:
        """Note, once, whether a layer's output is float16 or holds only numbers that float16 can."""

        def note(layer: nn.Module, args: Any, out: Tensor) -> None:
            if name not in self.outputs:  # else this is a resumed run's trace, and step 1 is over
                kind = "float16" if held_by_half(out) else str(out.dtype).removeprefix("torch.")
                self.outputs[name] = kind
                each = out.numel() // self._batch  # not out[0]: attention may fold windows into the batch
                self.macs[name] = each * module.weight[0].numel()  # each output is one filter's product
            handle.remove()  # also, a hook that stayed would tie the model to this trace for good

        handle = module.register_forward_hook(note)

    def saw_pass(self, z: Tensor, loss: Tensor) -> None:
        """After a forward: its logits, and its share of the step's loss."""
        if self.first_logits is None:
            self._logits.append(z.detach().float().cpu())
            self.first_loss += loss.item()

    def saw_step(self, labels: Tensor, targets: Tensor, fed: Tensor, images: Tensor) -> None:
        """After the passes of a step: labels N, targets N x K before and after mixing, images before it."""
        rates = {group["lr"] for group in self.optimizer.param_groups}
        self.lr.append(rates.pop() if len(rates) == 1 else float("nan"))
        self._stepped = True
        if self._logits:
            self.first_logits = torch.cat(self._logits)
            self.first_gradient = torch.cat(self._slopes) if self._slopes else None
            self._logits, self._slopes = [], []
            self._past_step_1()
        if len(self.fed) < KEPT_BATCHES:
            self.fed.append((labels, targets, fed))
        if self._got:
            self.images.append((thinned(images), torch.cat(self._got)))
            self._got = []

    def saw_gradient(self) -> None:
        """Before the optimizer's step, with the gradients that it goes by."""
        if self._taken:
            *away, amiss = self.aways[-1]
            amiss += sum(not torch.equal(g, p.grad) for p, g in self._taken if p.grad is not None)
            self.aways[-1], self._taken = (*away, amiss), []  # type: ignore[assignment]
        if len(self.moves) < KEPT_BATCHES and (witness := self.witness) is not None and witness.grad is not None:
            finite = torch.stack([p.grad.isfinite().all() for p in self.model.parameters() if p.grad is not None]).all()
            self.moves.append((witness.detach().clone(), witness.grad.detach().clone(), finite))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Around a gradient that is taken at other weights: of the first steps, where it was, and that all came back.

        On entering, the gradients are those by which the weights will move.
        """
        self._away = True
        if len(self.aways) >= KEPT_BATCHES:
            yield
            self._away = False
            return
        live = [*self.model.parameters(), *self.model.buffers()]
        before = [t.detach().clone() for t in live]
        slopes = [None if p.grad is None else p.grad.detach().clone() for p in self.model.parameters()]
        seen: list[Tensor] = []
        amiss = 0

        def look(model: nn.Module, args: Any) -> None:  # the weights as the first forward finds them
            nonlocal amiss
            if not seen:
                seen.extend(p.detach().clone() for p in model.parameters())
                amiss = sum(p.grad is not None and bool(p.grad.any()) for p in model.parameters())

        handle = self.model.register_forward_pre_hook(look)
        yield
        handle.remove()
        self._taken = [(p, p.grad.clone()) for p in self.model.parameters() if p.grad is not None]
        self._away = False
        pairs = [(w - b, g) for w, b, g in zip(seen, before, slopes, strict=False) if g is not None]
        if not pairs:  # no forward there
            self.aways.append((0.0, 0.0, 0, 1))
            return
        offset, slope = (torch.cat([t.flatten() for t in side]).double().cpu() for side in zip(*pairs, strict=True))
        length, steepness = float(offset.norm()), float(slope.norm())
        cosine = float(offset @ slope) / (length * steepness) if length and steepness else float("nan")
        left = sum(not torch.equal(a, b.detach()) for a, b in zip(before, live, strict=True))
        self.aways.append((length, cosine, left, amiss))

    def _past_step_1(self) -> None:
        for handle in self._of_step_1:
            handle.remove()
        self._of_step_1 = []

    @property
    def witness(self) -> nn.Parameter | None:
        return witness(self.model)

    def steps_of_witness(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Of `witness` at the first steps: before, its gradient, whether all gradients were finite, after."""
        after = [value for value, *_ in self.moves[1:]]
        last = len(self.moves) == len(self.lr) and not self.kept  # else the weights are those of an earlier epoch
        if (witness := self.witness) is not None and last:
            after.append(witness.detach())
        return [(*move, value) for move, value in zip(self.moves, after, strict=False)]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that a resumed run is judged by all it did.

        `before` and `initial` are made anew, from the same seed.
        """
        return {"lr": torch.tensor(self.lr, dtype=torch.float64), **{name: getattr(self, name) for name in GATHERED}}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.lr = state["lr"].tolist()
        if self.lr:
            self._past_step_1()
        for name in ("fed", "images", "moves"):
            setattr(self, name, [tuple(item.to(device) for item in kept) for kept in state[name]])


def witness(model: nn.Module) -> nn.Parameter | None:
    """The parameter whose steps are kept, whole: the smallest of two or more dimensions, for AdamP's projection.

    Where those have more than 10,000 numbers it is the smallest of all; None where that has too.
    """
    fit = [p for p in model.parameters() if p.numel() <= KEPT_WEIGHTS]
    return min(fit, key=lambda p: (p.ndim < 2, p.numel()), default=None)


def held_by_half(x: Tensor) -> bool:
    """Whether every number of `x` is one that float16 can hold; inf and nan are."""
    x = x.detach()
    return bool(((x == x.half().to(x.dtype)) | x.isnan()).all())


def thinned(images: Tensor) -> Tensor:
    every = max(1, images.shape[-1] // KEPT_PIXELS)
    return images[..., ::every, ::every].clone()


def cross_entropy(targets: Tensor, logits: Tensor) -> tuple[float, np.ndarray]:
    """The mean over N of -Σ targets · log softmax(logits), N x K, and its gradient by the logits.

    In numpy's float64: a second opinion on torch's.
    """
    y, z = (np.asarray(t.detach().cpu(), dtype=np.float64) for t in (targets, logits))
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return float(-(y * log_p).sum(1).mean()), (np.exp(log_p) * y.sum(1, keepdims=True) - y) / len(y)


def first_loss(spec: Spec, trace: Trace) -> tuple[float, np.ndarray]:
    """What the loss of step 1 must have been, and its gradient by the logits: of the targets, then of each teacher."""
    assert trace.first_logits is not None
    loss, slope = cross_entropy(trace.fed[0][2], trace.first_logits)
    for part, bound in zip(spec.teacher, trace.teachers, strict=False):
        pull, pull_slope = part.first_pull(trace, bound)
        loss, slope = loss + pull, slope + pull_slope
    return loss, slope


def carried(spec: Spec, trace: Trace) -> tuple[float, float]:
    """How many times `first_loss`'s gradient the one that went backward was, and how far it was from that multiple.

    The first is the loss scale; the second is relative, of directions alone. nan where no gradient went backward.
    """
    if trace.first_gradient is None or trace.first_logits is None or len(trace.first_logits) != len(trace.fed[0][2]):
        return float("nan"), float("nan")
    seen, wanted = trace.first_gradient.double().numpy(), first_loss(spec, trace)[1]
    if seen.shape != wanted.shape:
        return float("nan"), float("nan")
    finite = np.isfinite(seen) & np.isfinite(wanted)  # a scaled gradient may overflow, and the step is left out
    seen, wanted = seen[finite], wanted[finite]
    if not wanted.any():
        return float("nan"), float("nan")
    scale = float(seen @ wanted / (wanted @ wanted))
    norm = float(np.linalg.norm(seen))
    return scale, float(np.linalg.norm(seen - scale * wanted)) / norm if norm else float("nan")


def loop_checks(spec: Spec, trace: Trace) -> Iterable[Check]:
    """What must hold of every run, whatever its parts."""
    if trace.first_logits is None:
        yield Check("batches trained on", "some", "none", False)
        return
    seen, images = len(trace.first_logits), len(trace.fed[0][2])
    yield Check("images of step 1 that the network answered", f"{images}", f"{seen}", seen == images)
    if seen != images:
        return
    expected, _ = first_loss(spec, trace)
    close = abs(trace.first_loss - expected) <= 1e-5 * max(1.0, abs(expected))
    close |= trace.diverged and not math.isfinite(trace.first_loss) and not math.isfinite(expected)
    yield Check("loss of step 1, from its logits and targets", f"{expected:.5g}", f"{trace.first_loss:.5g}", close)
    _, off = carried(spec, trace)
    yield Check("direction of its gradient by the logits: gap", "0", f"{off:.1g}", off < 5e-3)
    yield from image_checks(spec, trace)
    ended = trace.diverged or spec.stop  # which has a proof of its own
    done = -(-len(trace.lr) // trace.steps_per_epoch) if ended else spec.epochs
    steps = done * trace.steps_per_epoch
    yield Check("steps", f"{steps}", f"{len(trace.lr)}", len(trace.lr) == steps)
    due = steps * spec.passes * spec.gradients
    yield Check("forward passes in training", f"{due}", f"{trace.forwards}", trace.forwards == due)
    yield Check("modules in training mode while evaluating", "0", f"{trace.awake}", trace.awake == 0)
    yield Check("parameters with a gradient of step 1 left at step 2", "0", f"{trace.stale}", trace.stale == 0)
    uneven = sum(rate != rate for rate in trace.lr)
    yield Check("steps whose parameter groups had different rates", "0", f"{uneven}", uneven == 0)
    held = [id(p) for group in trace.optimizer.param_groups for p in group["params"]]
    wanted = [id(p) for p in trace.model.parameters()]
    once = sorted(held) == sorted(wanted)
    yield Check("parameters in the optimizer, each once", f"{len(wanted)}", f"{len(set(held) & set(wanted))}", once)
    if not trace.diverged and max(trace.lr) >= LEAST:  # in half precision it may have left out every step
        after = dict(trace.model.named_parameters())
        moved = sum(not torch.equal(old, after[name].detach()) for name, old in trace.before.items())
        yield Check("linear layers whose weights moved", f"{len(trace.before)}", f"{moved}", moved == len(trace.before))


def image_checks(spec: Spec, trace: Trace) -> Iterable[Check]:
    """Images and labels of step 1 against those drawn anew from the same streams, with and without augmentation."""
    labels, (kept, _) = trace.fed[0][0], trace.images[0]

    def first(augment: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        served = spec.data.load().train(0, spec.batch_size, augment, trace.rng, kept.device)
        with closing(served), torch.no_grad():  # of photos one batch is decoded, and the decoders are sent home
            x, y = next(served)
        return thinned(x), y

    x, y = first(spec.augment)
    if x.shape != kept.shape:
        yield Check("shape of the images of step 1", f"{tuple(x.shape)}", f"{tuple(kept.shape)}", False)
        return
    off = float((kept - x).abs().max() / x.abs().max())
    yield Check("images of step 1: gap from those drawn and augmented anew", "0", f"{off:.1g}", off < 1e-4)
    same = int((labels == y).sum())
    yield Check("labels of step 1 that are those of the order drawn", f"{len(y)}", f"{same}", same == len(y))
    if not spec.targets:
        hot = int((trace.fed[0][1] == nn.functional.one_hot(y, trace.classes)).all(1).sum())
        yield Check("targets of step 1 that are 1 at the label and 0 elsewhere", f"{len(y)}", f"{hot}", hot == len(y))
    if spec.augment:
        plain, _ = first(())
        other = int(((kept - plain).abs().flatten(1).amax(1) > 1e-4 * x.abs().max()).sum())
        ok = other > 0 or len(kept) < TELLING
        yield Check(f"images of step 1 that augmentation changed, of {len(kept)}", "some", f"{other}", ok)


def prove(spec: Spec, trace: Trace) -> list[dict[str, Any]]:
    """Every check of the loop and of every part of `spec`, as rows `part, what, expected, seen, ok`."""
    rows = [("loop", check) for check in loop_checks(spec, trace)]
    rows += [(type(part).__name__, check) for part in parts(spec) for check in part.proof(spec, trace)]
    return [{"part": name, **asdict(check)} for name, check in rows]


def rates(trace: Trace) -> list[list[float]]:
    """The learning rates used, as [step from 0, rate]: all, or 200 evenly spaced with the first and the last."""
    steps = np.unique(np.linspace(0, len(trace.lr) - 1, min(len(trace.lr), RATES)).round().astype(int))
    return [[int(step), trace.lr[step]] for step in steps]


# --- what two runs showed, to compare -------------------------------------------------------------------------------

MAY: dict[str, tuple[str, ...]] = {  # slot -> the aspects of `seen` that a change of it may move
    "data": (*("weights", "order", "images", "targets", "mixing", "rates", "steps"), "structure", "decay", "teacher"),
    "model": ("weights", "structure", "decay"),
    "init": ("weights",),
    "decay": ("decay",),
    "optimizer": ("rates", "optimizer"),
    "schedule": ("rates",),
    "batch_size": ("order", "images", "targets", "mixing", "rates", "steps", "teacher"),
    "epochs": ("rates", "steps"),
    "augment": ("images", "mixing", "teacher"),  # a teacher answers the images that the student gets
    "targets": ("targets", "mixing"),
    "mix": ("mixing", "teacher"),
    "precision": ("precision", "teacher"),
    "teacher": ("teacher",),
    "ascent": ("steps", "teacher"),
    "stop": ("rates", "steps"),
    "microbatch": ("steps", "teacher"),  # a teacher answers a pass, and other sizes round otherwise
}
ASPECTS = tuple(dict.fromkeys(aspect for aspects in MAY.values() for aspect in aspects))


def may(paths: Iterable[str]) -> tuple[str, ...]:
    """The aspects that may move where only `paths` change, for example "schedule.warmup"."""
    moved = {aspect for path in paths for aspect in MAY[path.partition(".")[0]]}
    return tuple(aspect for aspect in ASPECTS if aspect in moved)


def seen(trace: Trace) -> dict[str, str]:
    """A digest of each aspect of a run, as its live objects showed it.

    Batches are those of the first epoch, up to 16, and 4 with images: no longer training shows in them.
    """
    fed, images = trace.fed[: trace.steps_per_epoch], trace.images[: trace.steps_per_epoch]
    names = {id(p): name for name, p in trace.model.named_parameters()}
    groups = trace.optimizer.param_groups
    elsewhere = ("params", "lr", "initial_lr", "weight_decay")  # the rate is of `rates`, and so on
    settings = {repr(sorted((k, v) for k, v in group.items() if k not in elsewhere)) for group in groups}
    half = [set(found.values()) == {"float16"} for found in (trace.outputs, trace.gradients)]
    shown: dict[str, list[Any]] = {
        "weights": [trace.initial],
        "order": [labels for labels, _, _ in fed],
        "images": [before for before, _ in images],
        "targets": [targets for _, targets, _ in fed],
        "mixing": [*(mixed for _, _, mixed in fed), *(after for _, after in images)],
        "rates": trace.lr,
        "steps": [len(trace.lr), trace.forwards, *(len(labels) for labels, _, _ in fed)],
        "structure": [str(trace.model)],
        "decay": sorted((names.get(id(p), ""), group["weight_decay"]) for group in groups for p in group["params"]),
        "optimizer": [type(trace.optimizer).__name__, *sorted(settings)],
        "precision": [type(trace.runner).__name__, *half],
        "teacher": [len(trace.teachers), *(answers for bound in trace.teachers for answers in bound.first_answers)],
    }
    return {aspect: digest(shown[aspect]) for aspect in ASPECTS}


def digest(items: Iterable[Any]) -> str:
    """16 hexadecimal digits of tensors' bytes, in order of their indices, and of other values' texts."""
    made = hashlib.sha256()
    for item in items:
        for value in item if isinstance(item, tuple) else (item,):
            if isinstance(value, Tensor):
                made.update(f"{value.dtype}{tuple(value.shape)}".encode())
                made.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            else:
                made.update(f"{value!r},".encode())
    return made.hexdigest()[:16]
