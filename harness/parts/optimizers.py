"""Optimizers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from harness import installed
from harness.evidence import Check, Trace
from harness.spec import Optimizer, Spec

Beta = Annotated[float, Field(ge=0, lt=1)]


class Stepper(Optimizer, ABC):
    """Steps by a published rule, which is told twice: `build` leaves it to a library, `reference` says it in numpy.

    `lr` is the learning rate at a batch of `per` images, scaled linearly to the batch in use: 0.1 · b / 256.
    `per=None` takes `lr` as it is.
    """

    lr: float = Field(1e-3, gt=0)
    per: int | None = Field(None, ge=1)

    def rate(self, batch_size: int) -> float:
        return self.lr if self.per is None else self.lr * batch_size / self.per

    def peak(self, batch_size: int) -> float:
        """`rate`, said again for the references."""
        share = 1.0 if self.per is None else batch_size / self.per
        return self.lr * share

    @property
    @abstractmethod
    def held(self) -> dict[str, str]:
        """What the library's state calls the entries of `kept`."""

    @abstractmethod
    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        """The class that takes the steps, and the settings of its parameter groups."""

    @abstractmethod
    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        """Where weights of gradient `g` go. `kept` is what the steps before left, empty before the first."""

    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.Optimizer:
        kind, settings = self.form()
        if kind.__module__.startswith("torch."):  # one kernel for all parameters
            settings["fused"] = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        return kind(groups, lr=self.rate(batch_size), **settings)  # type: ignore[call-arg]

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        wanted = self.peak(spec.batch_size)
        peak = max(trace.lr)
        reached = abs(peak - wanted) <= 1e-9 * wanted or (trace.diverged and peak < wanted)  # as in a warmup
        yield Check("highest rate used", f"{wanted:.5g}", f"{peak:.5g}", reached)
        kind, settings = self.form()
        expected = told(kind, settings)
        groups = [{name: group.get(name) for name in settings} for group in trace.optimizer.param_groups]
        seen = {told(type(trace.optimizer), group) for group in groups}
        plain = kind([torch.zeros(1)], lr=1.0, **settings).defaults  # type: ignore[call-arg]
        own = {"lr", "initial_lr", "factor", "weight_decay", "decoupled_weight_decay", "fused", "foreach", "params"}
        others = (
            {n for group in trace.optimizer.param_groups for n in group if group[n] != plain.get(n)} - own - {*settings}
        )
        told_of = ", ".join(sorted(others)) or "none"
        yield Check("settings of the optimizer that are not the library's own", "none", told_of, not others)
        yield Check("optimizer and its settings", expected, "; ".join(sorted(seen)), seen == {expected})


def told(kind: type, settings: dict[str, Any]) -> str:
    return " ".join([kind.__name__, *(f"{name}={value}" for name, value in settings.items())])


class Momentum(Stepper, ABC):
    lr: float = Field(0.1, gt=0)
    momentum: Beta = 0.9
    per: int | None = Field(256, ge=1)

    @property
    @abstractmethod
    def nesterov(self) -> bool: ...

    @property
    def held(self) -> dict[str, str]:
        return {"v": "momentum_buffer"} if self.momentum > 0 else {}

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return torch.optim.SGD, {"momentum": self.momentum, "nesterov": self.nesterov and self.momentum > 0}

    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.Optimizer:
        optimizer = super().build(groups, batch_size)
        if self.momentum > 0:  # else fused SGD fills it with raw memory, and keeps that where step 1 overflows in FP16
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        g = g + decay * w
        v: np.ndarray = self.momentum * kept.get("v", 0.0) + g
        kept.update(v=v)
        return w - rate * (g + self.momentum * v if self.nesterov else v)


class SGD(Momentum):
    """SGD with heavy-ball momentum v ← μv + g, w ← w - ηv (Sutskever et al. 2013); plain at μ = 0. Slot: `optimizer`.

    Weight decay adds to the gradient.
    """

    @property
    def nesterov(self) -> bool:
        return False


class NAG(Momentum):
    """SGD with Nesterov momentum (He et al. 2019, section 2.1). Slot: `optimizer`.

    Weight decay adds to the gradient.
    """

    @property
    def nesterov(self) -> bool:
        return True


class Moments(Stepper, ABC):
    """Divides the gradient's running mean by the root of its running square, both corrected for their start at 0."""

    buffers: ClassVar[int] = 2
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)

    @property
    def held(self) -> dict[str, str]:
        return {"t": "step", "m": "exp_avg", "v": "exp_avg_sq"}

    def direction(self, g: np.ndarray, kept: dict[str, Any], nesterov: bool = False) -> np.ndarray:
        (b1, b2), t = self.betas, kept.get("t", 0) + 1
        m = b1 * kept.get("m", 0.0) + (1 - b1) * g
        v = b2 * kept.get("v", 0.0) + (1 - b2) * g * g
        kept.update(t=t, m=m, v=v)
        mean = b1 * m + (1 - b1) * g if nesterov else m
        direction: np.ndarray = mean / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + self.eps)
        return direction


class Adam(Moments):
    """Adam (Kingma and Ba 2015, algorithm 1 and its defaults), torch's. Slot: `optimizer`.

    Weight decay is L2: it adds to the gradient, and is divided by the root with it.
    """

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return torch.optim.Adam, {"betas": self.betas, "eps": self.eps}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        return w - rate * self.direction(g + decay * w, kept)


class AdamW(Moments):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), torch's. Slot: `optimizer`.

    A step shrinks weights by η·λ, whatever their gradients. λ is `decay.weight`, 1e-4 where nothing is said: torch's
    own default is 1e-2.
    """

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return torch.optim.AdamW, {"betas": self.betas, "eps": self.eps}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        return w * (1 - rate * decay) - rate * self.direction(g, kept)


class AdamP(Moments):
    """Adam that does not lengthen scale-invariant weights (Heo et al. 2021), timm's. Slot: `optimizer`.

    A weight of two or more dimensions is scale-invariant where |cos(w, ∇f)| < `delta` / √dim in every channel, else in
    the whole layer: there the step loses its part along w, and decoupled weight decay is `wd_ratio` of itself. All
    others, biases with them, go as AdamW's. Moments have Adam's correction of their bias, as in the authors' program;
    their algorithm 2 leaves it out. Defaults are those of the paper, whose decay counts as AdamW's.
    """

    delta: float = Field(0.1, gt=0)
    wd_ratio: float = Field(0.1, ge=0)
    nesterov: bool = False

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        import timm.optim.adamp  # seconds

        return timm.optim.adamp.AdamP, {name: value for name, value in self if name not in ("lr", "per")}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        direction, ratio = self.direction(g, kept, self.nesterov), 1.0
        for rows in (len(w), 1) if w.ndim > 1 else ():
            weights, slopes, steps = (a.reshape(rows, -1) for a in (w, g, direction))
            norms = np.linalg.norm(weights, axis=1, keepdims=True)
            lengths = np.maximum(norms, self.eps)[:, 0] * np.maximum(np.linalg.norm(slopes, axis=1), self.eps)
            if (np.abs((weights * slopes).sum(1)) / lengths).max() < self.delta / np.sqrt(weights.shape[1]):
                along = weights / (norms + self.eps)
                direction = (steps - along * (along * steps).sum(1, keepdims=True)).reshape(w.shape)
                ratio = self.wd_ratio
                break
        return w * (1 - rate * decay * ratio) - rate * direction


class Expectigrad(Stepper):
    """Divides by the root of the mean of all squared gradients so far (Daley and Amato 2020, algorithm 1), theirs.

    Slot: `optimizer`. The mean is over the steps at which a weight's gradient was not 0; the quotient, 0/0 = 0, gets
    momentum `beta`. It knows no weight decay: `decay.weight` must be 0.
    """

    buffers: ClassVar[int] = 3
    beta: Beta = 0.9
    eps: float = Field(1e-8, gt=0)

    def check(self, spec: Spec) -> None:
        installed("expectigrad", extra="expectigrad")
        if spec.decay.weight:
            raise ValueError(f"Expectigrad has no weight decay: set decay.weight to 0, not {spec.decay.weight:g}")

    @property
    def held(self) -> dict[str, str]:
        momentum = {"m": "momentum"} if self.beta > 0 else {}
        return {"t": "step", "s": "sum", "n": "counter", **momentum}

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        installed("expectigrad", extra="expectigrad")
        import expectigrad.pytorch  # type: ignore[import-untyped]

        return expectigrad.pytorch.Expectigrad, {"beta": self.beta, "eps": self.eps, "sparse_counter": True}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        t: int = kept.get("t", 0) + 1
        s, n = kept.get("s", 0.0) + g * g, kept.get("n", 0) + (g != 0)
        quotient = g / (self.eps + np.sqrt(s / np.maximum(n, 1)))
        m: np.ndarray = self.beta * kept.get("m", 0.0) + (1 - self.beta) * quotient
        kept.update(t=t, s=s, n=n, m=m)
        return w - rate / (1 - self.beta**t) * m
