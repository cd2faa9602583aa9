"""Optimizers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from harness import Problem, installed
from harness.evidence import Check, Trace
from harness.spec import Optimizer, Spec

Beta = Annotated[float, Field(ge=0, lt=1)]


class Stepper(Optimizer, ABC):
    """Steps by a published rule, which is told twice: `build` leaves it to a library, `reference` says it in numpy.

    `lr` is the learning rate at a batch of `per` images, scaled linearly to the batch in use: 0.1 · b / 256.
    `per=None` takes `lr` as it is.
    """

    of_trick: ClassVar[bool] = False  # a trick takes it in the place of a baseline's
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
        if self == getattr(spec.optimizer, "inner", None):  # of Muon, which proves it
            return
        yield self.reached(spec, trace)
        yield from self.settled(type(trace.optimizer), trace.optimizer.param_groups)

    def reached(self, spec: Spec, trace: Trace) -> Check:
        """Whether the highest rate was the peak."""
        wanted = self.peak(spec.batch_size)
        peak = max(trace.lr)
        reached = abs(peak - wanted) <= 1e-9 * wanted or (trace.diverged and peak < wanted)  # as in a warmup
        return Check("highest rate used", f"{wanted:.5g}", f"{peak:.5g}", reached)

    def settled(self, live: type, groups: list[dict[str, Any]]) -> Iterable[Check]:
        """Whether the optimizer that steps is of the due class, and its parameter groups have the due settings."""
        kind, settings = self.form()
        expected = told(kind, settings)
        seen = {told(live, {name: group.get(name) for name in settings}) for group in groups}
        plain = kind([torch.zeros(1)], lr=1.0, **settings).defaults  # type: ignore[call-arg]
        own = {
            "lr",
            "initial_lr",
            "factor",
            "weight_decay",
            "decoupled_weight_decay",
            "fused",
            "foreach",
            "params",
            "rule",
        }
        others = {n for group in groups for n in group if group[n] != plain.get(n)} - own - {*settings}
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

    of_trick = True
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


class Lamb(Moments):
    """LAMB: Adam whose step of each tensor is as long as the tensor, times the rate (You et al. 2020), timm's.

    Slot: `optimizer`. Adam's quotient and λ·w are added, and the sum gets the length of w: that is the trust ratio.
    Where `decay` is 0, as on biases and norms that are spared it, the quotient goes as it is, as timm has it; and where
    w or the sum is 0. timm's own bound of 1 on the norm of all gradients, which its LAMB has by default, is off: here
    that is the slot `clip`, `ClipNorm(most=1.0)`.
    """

    of_trick = True
    lr: float = Field(5e-3, gt=0)
    eps: float = Field(1e-6, gt=0)

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return _lamb(), {"betas": self.betas, "eps": self.eps}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        update = self.direction(g, kept) + decay * w
        lengths = np.linalg.norm(w), np.linalg.norm(update)
        trusted = lengths[0] / lengths[1] if decay and all(lengths) else 1.0
        moved: np.ndarray = w - rate * trusted * update
        return moved


@cache
def _lamb() -> type[torch.optim.Optimizer]:
    import timm.optim.lamb  # seconds

    class Lamb(timm.optim.lamb.Lamb):
        """timm's, with the count of steps held for each parameter, where others have it, and no bound on gradients."""

        def __init__(self, params: Any, **settings: Any) -> None:
            super().__init__(params, max_grad_norm=None, **settings)
            forget_rate(self)

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                counts = [self.state[p]["step"] for p in group["params"] if "step" in self.state.get(p, {})]
                if counts:
                    group["step"] = counts[0]
            loss = super().step(closure)
            for group in self.param_groups:
                count = group.pop("step")
                for state in (self.state[p] for p in group["params"] if p in self.state):
                    state["step"] = count.clone()
            return loss

    return Lamb


def forget_rate(optimizer: torch.optim.Optimizer) -> None:
    """Let go of the rate that timm's optimizers remember for a kind of decay that is none of ours."""
    for held in (optimizer.defaults, *optimizer.param_groups):
        held["max_lr_snapshot"] = None


class Lion(Stepper):
    """Lion: the sign of an average of gradient and momentum (Chen et al. 2023, algorithm 2), timm's. Slot: `optimizer`.

    u = β₁m + (1 - β₁)g; w ← w - η(sign u + λw); m ← β₂m + (1 - β₂)g. Every number moves by η: rates are three to ten
    times lower than AdamW's, and decays as much higher. A number whose u float32 cannot tell from 0 is not audited.
    """

    of_trick = True
    lr: float = Field(1e-4, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.99)

    @property
    def held(self) -> dict[str, str]:
        return {"m": "exp_avg"}

    def form(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        return _lion(), {"betas": self.betas}

    def reference(self, w: np.ndarray, g: np.ndarray, rate: float, decay: float, kept: dict[str, Any]) -> np.ndarray:
        b1, b2 = self.betas
        m = kept.get("m", 0.0)
        old, new = b1 * m, (1 - b1) * g
        kept.update(m=b2 * m + (1 - b2) * g)
        u = old + new
        signs = np.where(np.abs(u) < 1e-6 * (np.abs(old) + np.abs(new)), np.nan, np.sign(u))
        moved: np.ndarray = w * (1 - rate * decay) - rate * signs
        return moved


@cache
def _lion() -> type[torch.optim.Optimizer]:
    import timm.optim.lion  # seconds

    class Lion(timm.optim.lion.Lion):
        def __init__(self, params: Any, **settings: Any) -> None:
            super().__init__(params, **settings)
            forget_rate(self)

    return Lion


def replaced(spec: Spec, optimizer: Stepper) -> Spec:
    """`spec` with that optimizer, which keeps `per`. Raises Problem where another trick's optimizer is there."""
    name, old = type(optimizer).__name__, spec.optimizer
    if isinstance(old, Stepper) and old.of_trick and type(old) is not type(optimizer):
        raise Problem(
            f"{name.lower()}: optimizer={type(old).__name__} is there already: leave one of the two tricks out"
        )
    per = old.per if isinstance(old, Stepper) and old.per is not None else optimizer.per
    return spec.but(optimizer=optimizer.but(per=per))


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
