"""Evidence: what a run's live objects showed, held against what its specification says.

The loop fills a `Trace` while it trains; each part's `proof` reads it, and `prove` adds what holds for every run: the
loss of step 1 is that of the logits and targets seen, every parameter is in the optimizer once, the weights moved.
What is measured is what was used: the images that reached the network, the rates that the optimizer had at each step.
A run with a failed check is refused and enters no table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.rng import Stream, streams
from harness.spec import Spec, parts

KEPT_BATCHES = 16  # target batches kept: enough to see λ vary, small next to one batch of images
KEPT_IMAGES = 4  # of those batches, how many keep their images too: a checkpoint carries them
KEPT_PIXELS = 32  # a side: images are subsampled to about this, which mixing commutes with


@dataclass(frozen=True)
class Check:
    """One measurement: `what` was `expected`, what was `seen`, and whether that will do."""

    what: str
    expected: str
    seen: str
    ok: bool


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
    outputs: dict[str, str] = field(default_factory=dict)  # what each conv and linear layer gave at step 1
    fed: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # (labels, targets, mixed targets)
    images: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # (before mixing, as the network got them)
    first_logits: Tensor | None = None
    first_loss: float = 0.0
    forwards: int = 0  # in training mode

    def __post_init__(self) -> None:
        self.before = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.ndim == 2}
        self._got: list[Tensor] = []  # images of this step's forwards
        self._logits: list[Tensor] = []  # of step 1
        self.model.register_forward_pre_hook(self._note_input)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._note_output_of(name, module)

    def _note_input(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        """At the first forward every batch norm's γ, as (least, greatest); in training the images that came."""
        if not self.first_gammas:
            for name, module in model.named_modules():
                if isinstance(module, nn.BatchNorm2d):
                    low, high = module.weight.detach().aminmax()
                    self.first_gammas[name] = (low.item(), high.item())
        self.forwards += model.training
        if model.training and len(self.images) < KEPT_IMAGES:
            self._got.append(thinned(args[0]))

    def _note_output_of(self, name: str, module: nn.Module) -> None:
        """Note, once, whether a layer's output is float16 or holds only numbers that float16 can."""

        def note(module: nn.Module, args: Any, out: Tensor) -> None:
            if name not in self.outputs:  # else this is a resumed run's trace, and step 1 is over
                exact = bool((out.detach() == out.detach().half().to(out.dtype)).all())
                self.outputs[name] = "float16" if exact else str(out.dtype).removeprefix("torch.")
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
        if self._logits:
            self.first_logits = torch.cat(self._logits)
            self._logits = []
        if len(self.fed) < KEPT_BATCHES:
            self.fed.append((labels, targets, fed))
        if self._got:
            self.images.append((thinned(images), torch.cat(self._got)))
            self._got = []

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that a resumed run is judged by all it did; `before` is made anew."""
        kept = ("first_gammas", "outputs", "fed", "images", "first_logits", "first_loss", "forwards")
        return {"lr": torch.tensor(self.lr, dtype=torch.float64), **{name: getattr(self, name) for name in kept}}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.lr = state["lr"].tolist()
        for name in ("fed", "images"):
            setattr(self, name, [tuple(item.to(device) for item in kept) for kept in state[name]])


def thinned(images: Tensor) -> Tensor:
    every = max(1, images.shape[-1] // KEPT_PIXELS)
    return images[..., ::every, ::every].clone()


def cross_entropy(targets: Tensor, logits: Tensor) -> float:
    """The mean over N of -Σ targets · log softmax(logits), N x K, in numpy's float64: a second opinion on torch's."""
    y, z = (np.asarray(t.detach().cpu(), dtype=np.float64) for t in (targets, logits))
    z = z - z.max(1, keepdims=True)
    return float(-(y * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum(1).mean())


def loop_checks(spec: Spec, trace: Trace) -> Iterable[Check]:
    """What must hold of every run, whatever its parts."""
    if trace.first_logits is None:
        yield Check("batches trained on", "some", "none", False)
        return
    seen, images = len(trace.first_logits), len(trace.fed[0][2])
    yield Check("images of step 1 that the network answered", f"{images}", f"{seen}", seen == images)
    if seen != images:
        return
    expected = cross_entropy(trace.fed[0][2], trace.first_logits)
    expected += sum(part.first_pull(trace, bound) for part, bound in zip(spec.teacher, trace.teachers, strict=False))
    close = abs(trace.first_loss - expected) <= 1e-5 * max(1.0, abs(expected))
    yield Check("loss of step 1, from its logits and targets", f"{expected:.5g}", f"{trace.first_loss:.5g}", close)
    steps = spec.epochs * trace.steps_per_epoch
    yield Check("steps", f"{steps}", f"{len(trace.lr)}", len(trace.lr) == steps)
    due = steps * spec.passes
    yield Check("forward passes in training", f"{due}", f"{trace.forwards}", trace.forwards == due)
    uneven = sum(rate != rate for rate in trace.lr)
    yield Check("steps whose parameter groups had different rates", "0", f"{uneven}", uneven == 0)
    held = [id(p) for group in trace.optimizer.param_groups for p in group["params"]]
    wanted = [id(p) for p in trace.model.parameters()]
    once = sorted(held) == sorted(wanted)
    yield Check("parameters in the optimizer, each once", f"{len(wanted)}", f"{len(set(held) & set(wanted))}", once)
    after = dict(trace.model.named_parameters())
    moved = sum(not torch.equal(old, after[name].detach()) for name, old in trace.before.items())
    yield Check("linear layers whose weights moved", f"{len(trace.before)}", f"{moved}", moved == len(trace.before))


def prove(spec: Spec, trace: Trace) -> list[dict[str, Any]]:
    """Every check of the loop and of every part of `spec`, as rows `part, what, expected, seen, ok`."""
    rows = [("loop", check) for check in loop_checks(spec, trace)]
    rows += [(type(part).__name__, check) for part in parts(spec) for check in part.proof(spec, trace)]
    return [{"part": name, **asdict(check)} for name, check in rows]
