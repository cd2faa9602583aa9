"""Evidence: what a run's live objects showed, held against what its specification says.

The loop fills a `Trace` while it trains; each part's `proof` reads it. Nothing here comes from the configuration: the
learning rates are those the optimizer had at each step, the targets those the loss was fed. A run with a failed check
is refused and enters no table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.spec import Spec, parts

KEPT_BATCHES = 16  # target batches kept: enough to see λ vary, small next to one batch of images
KEPT_IMAGES = 4  # of those batches, how many keep their images too
KEPT_PIXELS = 64  # a side: images are subsampled to about this, which mixing commutes with


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
    lr: list[float] = field(default_factory=list)
    model: nn.Module | None = None
    optimizer: torch.optim.Optimizer | None = None
    runner: Any = None
    teachers: tuple[Any, ...] = ()
    first_gammas: dict[str, tuple[float, float]] = field(default_factory=dict)
    fed: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # (labels, targets, mixed targets)
    images: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # (before, after mixing), subsampled
    outputs: dict[str, str] = field(default_factory=dict)  # what each conv and linear layer gave at step 1

    def saw_model(self, model: nn.Module) -> None:
        """Before the first step: every batch norm's γ as (least, greatest), and a look at each layer's first output."""
        self.model = model
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                low, high = module.weight.detach().aminmax()
                self.first_gammas[name] = (low.item(), high.item())
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(self._note_output(name))

    def _note_output(self, name: str) -> Callable[..., None]:
        """A hook that notes, once, whether a layer's output is float16 or holds only numbers that float16 can."""

        def note(module: nn.Module, args: Any, out: Tensor) -> None:
            if name not in self.outputs:
                exact = bool((out.detach() == out.detach().half().to(out.dtype)).all())
                self.outputs[name] = "float16" if exact else str(out.dtype).removeprefix("torch.")

        return note

    def saw_batch(self, labels: Tensor, targets: Tensor, fed: Tensor, images: Tensor, mixed: Tensor) -> None:
        """Keep the first few batches: labels N, targets N x K before and after mixing, images before and after."""
        if len(self.fed) >= KEPT_BATCHES:
            return
        self.fed.append((labels, targets, fed))
        if len(self.images) < KEPT_IMAGES:
            every = max(1, images.shape[-1] // KEPT_PIXELS)
            self.images.append((images[..., ::every, ::every].clone(), mixed[..., ::every, ::every].clone()))


def prove(spec: Spec, trace: Trace) -> list[dict[str, Any]]:
    """Every check of every part of `spec`, as rows `part, what, expected, seen, ok`."""
    return [{"part": type(part).__name__, **asdict(check)} for part in parts(spec) for check in part.proof(spec, trace)]
