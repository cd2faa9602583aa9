"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers", kellerjordan.github.io/posts/muon)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.optimizers import NAG, Beta, Stepper, replaced
from harness.spec import Optimizer, Spec, declares

QUINTIC = 3.4445, -4.7750, 2.0315  # s ← as + bs³ + cs⁵ of each singular value: small ones grow by 3.4 a step
LEAST = 1e-7  # the norm of a matrix counts as so much at least


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """About UVᵀ of `matrix` = USVᵀ, R x C: its singular values go to between .68 and 1.13, those near 0 not so far.

    `steps` of Newton and Schulz, in the precision of the matrix: the authors' program, and torch's and timm's after it,
    take bfloat16, which rounds otherwise on every device.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=LEAST)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    turned: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return turned


class Orthogonal(torch.optim.Optimizer):
    """Muon's steps of the groups without a `rule`, and those of an optimizer `inner` of the others.

    Groups and state are held here, as if it were one; `inner` is given its own at each step.
    """

    def __init__(self, groups: Any, inner: torch.optim.Optimizer | None = None, **settings: Any) -> None:
        super().__init__(groups, settings)
        self.inner = inner
        if inner:
            self.param_groups += inner.param_groups
            self.state.update(inner.state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"] if "rule" not in group else ():
                if weight.grad is not None:
                    self._step(weight, weight.grad, group)
        if self.inner:
            self.inner.state = self.state
            self.inner.param_groups = [group for group in self.param_groups if "rule" in group]
            self.inner.step()

    def _step(self, weight: Tensor, slope: Tensor, group: Mapping[str, Any]) -> None:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        v = state["momentum_buffer"].mul_(group["momentum"]).add_(slope)
        u = slope + group["momentum"] * v if group["nesterov"] else v
        way = orthogonalised(u.reshape(len(u), -1), group["steps"])
        rows, columns = way.shape
        scale: float = max(1.0, rows / columns) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(way.reshape(weight.shape), alpha=-group["lr"] * scale)


class Muon(Stepper):
    """Momentum, made orthogonal, for hidden matrices; `inner` for all others. Slot: `optimizer`.

    v ← μv + g; u = g + μv, or v without `nesterov`; w ← w(1 - ηλ) - η √max(1, R/C) O(u), where O are five steps of
    Newton and Schulz, in float32. A convolution is a matrix of R filters by C = inputs · height · width. The weights of
    the first and the last layer go by `inner`, and so do depthwise convolutions, biases, norms, and whatever is no
    weight of a convolution or linear layer. `inner` has a rate of its own, on the same schedule, and decays by its own
    rule. `per` is for both.
    """

    of_trick = True
    lr: float = Field(0.02, gt=0)
    momentum: Beta = 0.95
    nesterov: bool = True
    steps: int = Field(5, ge=1)
    inner: Optimizer = NAG(per=None)

    def check(self, spec: Spec) -> None:
        if not isinstance(self.inner, Stepper) or isinstance(self.inner, Muon):
            raise ValueError(f"optimizer.inner={type(self.inner).__name__}: take SGD, NAG, Adam, AdamW, …")
        if self.inner.per is not None:
            raise ValueError(f"optimizer.inner.per={self.inner.per}: leave it out, optimizer.per is for both")
        self.inner.check(spec)

    @property
    def other(self) -> Stepper:
        """`inner`, at its rate for a batch."""
        assert isinstance(self.inner, Stepper)
        return self.inner.but(per=self.per)

    @property
    def held(self) -> dict[str, str]:
        return {"v": "momentum_buffer"}

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return Orthogonal, {"momentum": self.momentum, "nesterov": self.nesterov, "steps": self.steps}

    def rules(self, model: nn.Module) -> Mapping[str, Optimizer]:
        layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        hidden = {f"{name}.weight" for name, layer in layers[1:-1] if layer.weight.shape[1] > 1}
        other = self.other
        return {name: other for name, _ in model.named_parameters() if name not in hidden}

    def rules_again(self, model: nn.Module) -> Mapping[str, Optimizer]:
        """By shapes, from the first parameter to the last: of matrices and filters all but the outermost."""
        kinds = {name: [kind.__name__ for kind in type(layer).__mro__] for name, layer in model.named_modules()}
        found, matrices = dict[str, Optimizer](), list[tuple[str, tuple[int, ...]]]()
        for name, parameter in model.named_parameters():
            layer, _, own = name.rpartition(".")
            if own == "weight" and {"Conv2d", "Linear"} & {*kinds[layer]}:
                matrices.append((name, tuple(parameter.shape)))
            else:
                found[name] = self.other
        depthwise = [name for name, (_, inputs, *_) in matrices if inputs == 1]
        return found | dict.fromkeys([*depthwise, *(name for name, _ in matrices[:1] + matrices[-1:])], self.other)

    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.Optimizer:
        own, others = ([group for group in groups if ("rule" in group) == inner] for inner in (False, True))
        if not own:
            raise Problem("muon: the network has no weights between its first and its last layer: leave muon out")
        inner = self.other.build(others, batch_size) if others else None
        return Orthogonal(own, inner, lr=self.rate(batch_size), **self.form()[1])

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        """By the eigenvectors of u's Gram matrix: each eigenvalue λ = s² goes by λ ← λ(a + bλ + cλ²)²."""
        v = g + self.momentum * kept.get("v", 0.0)
        kept.update(v=v)
        u = (g + self.momentum * v if self.nesterov else v).reshape(len(w), -1)
        rows, columns = u.shape
        tall = rows > columns
        u = (u.T if tall else u) / max(float(np.sqrt((u * u).sum())), 1e-7)
        squares, vectors = np.linalg.eigh(u @ u.T)
        grown = np.ones_like(squares)
        for _ in range(self.steps):
            by = 3.4445 - 4.7750 * squares + 2.0315 * squares**2
            grown, squares = grown * by, squares * by**2
        way = vectors @ (grown[:, None] * (vectors.T @ u))
        far = rate * (float(np.sqrt(rows / columns)) if tall else 1.0)
        moved: np.ndarray = w - rate * decay * w - far * (way.T if tall else way).reshape(w.shape)
        return moved

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield self.reached(spec, trace)
        names = {id(p): name for name, p in trace.model.named_parameters()}
        others = self.rules_again(trace.model)
        groups = trace.optimizer.param_groups
        seen = {names[id(p)] for group in groups if "rule" not in group for p in group["params"]}
        due = {*names.values()} - others.keys()
        yield Check("weights that are made orthogonal", f"{len(due)}", f"{len(seen & due)} of {len(seen)}", seen == due)
        yield from self.settled(type(trace.optimizer), [group for group in groups if "rule" not in group])
        inner = type(getattr(trace.optimizer, "inner", None))
        for check in self.other.settled(inner, [group for group in groups if "rule" in group]):
            yield Check(f"inner {check.what}", check.expected, check.seen, check.ok)


@declares("optimizer")
def muon(spec: Spec, lr: float = 0.02, momentum: float = 0.95) -> Spec:
    """Muon: steps of hidden matrices are made orthogonal; all else goes as before.

    Slot: `optimizer`; what was there becomes its `inner`, at its own rate. Its evidence is the part's. Weight decay of
    hidden matrices is decoupled: it counts 1/η as much as NAG's. Raises Problem where another trick's optimizer is
    there.

    Hurts: at small batches, whose noise it makes as long as the rest; at the rate of another optimizer.

    Cost: fifteen products of matrices for each hidden one a step, of R² · C multiply-adds or less, whatever the batch;
    the state of momentum.
    """
    held = spec.optimizer
    if isinstance(held, Muon):
        return spec.but(optimizer=held.but(lr=lr, momentum=momentum))
    if not isinstance(held, Stepper):
        raise Problem(f"muon: {type(held).__name__} is no optimizer that it knows: give the baseline NAG() or AdamW()")
    return replaced(spec, Muon(lr=lr, momentum=momentum, inner=held.but(per=None)))
