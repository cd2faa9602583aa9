"""Optimizers and rates of a later time that do not do what they say."""

from typing import Any

import numpy as np

from harness import train as loop
from harness.parts.optimizers import NAG, AdamW, Lamb, Lion, Stepper
from harness.parts.schedules import Step
from harness.tricks.lamb import lamb
from harness.tricks.lion import lion
from harness.tricks.muon import Muon, Orthogonal, muon
from harness.tricks.one_cycle import OneCycle, one_cycle
from harness.tricks.triangular import Triangular, triangular
from tests.mutants.breaking import COLOUR, DECAYED, LONG, RATE, Broken, Inject, edited, method, room, text
from tests.mutants.first import stepping

TRUSTED, SIGNED = lamb(DECAYED), lion(DECAYED)
TURNED, BESIDE = muon(DECAYED), muon(DECAYED.but(optimizer=AdamW()))
UP, CYCLE = triangular(LONG), one_cycle(LONG)
CONSTANT = RATE.replace("spec.schedule.factor(step, steps, spec.epochs)", "1.0")


def timms(module: str, name: str, new: Any) -> Inject:
    """A function of a module of timm's optimizers, made of the right one."""
    import importlib

    owner = importlib.import_module(f"timm.optim.{module}")
    right = getattr(owner, name)
    return method(owner, name, lambda *args, **named: new(right, *args, **named))


def muons(*pairs: str) -> Inject:
    """Its step of one weight, edited."""
    return edited(Orthogonal, "_step", *pairs)


def turning(*pairs: str) -> Inject:
    """What makes a matrix orthogonal, edited."""
    return edited(room(Muon), "orthogonalised", *pairs)


def beside(other: Stepper) -> Inject:
    """Muon with another second rule, in the groups and at the rate of the right one."""
    right = Muon.build
    return method(Muon, "build", lambda self, *args: right(self.but(inner=other), *args))


TALL = "turned: Tensor = x.T if"
SCALE = "max(1.0, rows / columns) ** 0.5"
SHRUNK = '1 - group["lr"] * group["weight_decay"]'
BROKEN: Broken = {
    "muon": [
        ("does nothing", TURNED, stepping(Muon, lambda part: part.other)),
        ("the first layer too", muon(COLOUR), edited(Muon, "rules", "layers[1:-1]", "layers[:-1]")),
        ("the last layer too", TURNED, edited(Muon, "rules", "layers[1:-1]", "layers[1:]")),
        ("not in the first block", TURNED, edited(Muon, "rules", "layers[1:-1]", "layers[4:-1]")),
        ("not orthogonal", TURNED, turning("range(steps)", "()")),
        (
            "filters as matrices of inputs",
            TURNED,
            muons(
                "u.reshape(len(u), -1)",
                "u.transpose(0, 1).flatten(1)",
                "way.reshape(weight.shape)",
                "way.reshape(u.transpose(0, 1).shape).transpose(0, 1)",
            ),
        ),
        ("four steps", TURNED, turning("range(steps)", "range(steps - 1)")),
        ("another coefficient", TURNED, method(room(Muon), "QUINTIC", (3.4445, -4.7750, 2.0))),
        (
            "in bfloat16",
            TURNED,
            turning("x / x.norm()", "x.bfloat16() / x.norm().bfloat16()", TALL, f"x = x.float(); {TALL}"),
        ),
        ("no Nesterov", TURNED, muons('if group["nesterov"] else v', "if False else v")),
        ("a momentum of .9", TURNED, muons('mul_(group["momentum"])', "mul_(0.9)")),
        ("no scale", TURNED, muons(SCALE, "1.0")),
        ("the scale that Adam's steps have", TURNED, muons(SCALE, "0.2 * max(rows, columns) ** 0.5")),
        ("no decay", TURNED, muons(SHRUNK, "1")),
        (
            "decay by the gradient",
            TURNED,
            muons("add_(slope)", 'add_(slope + group["weight_decay"] * weight)', SHRUNK, "1"),
        ),
        ("upwards", TURNED, muons('alpha=-group["lr"]', 'alpha=group["lr"]')),
        ("inside another momentum", TURNED, beside(NAG(momentum=0.8, per=None))),
        ("inside other betas", BESIDE, beside(AdamW(betas=(0.9, 0.99)))),
        ("inside nothing steps", BESIDE, edited(Orthogonal, "step", "if self.inner:", "if False:")),
        ("inside at the rate of the rest", BESIDE, edited(loop, "groups", "if name in rules:", "if False:")),
    ],
    "lamb": [
        ("does nothing", TRUSTED, stepping(Lamb, lambda part: AdamW(lr=part.lr, eps=part.eps))),
        (
            "no trust ratio",
            TRUSTED,
            timms("lamb", "lamb", lambda right, *a, **n: right(*a, **{**n, "foreach": False, "weight_decay": 0.0})),
        ),
        (
            "a trust ratio of at most 1, and a rate 1 % higher",
            TRUSTED,
            timms("lamb", "lamb", lambda right, *a, **n: right(*a, **{**n, "trust_clip": True, "lr": n["lr"] * 1.01})),
        ),
        (
            "gradients bounded by 1",
            TRUSTED,
            timms(
                "lamb",
                "lamb",
                lambda right, *a, clip_grad_norm, **n: right(*a, clip_grad_norm=a[1][0].new_tensor(2.0), **n),
            ),
        ),
        (
            "no correction of the start",
            TRUSTED,
            timms("lamb", "lamb", lambda right, *a, **n: right(*a, **{**n, "bias_correction1": 1.0})),
        ),
        (
            "decoupled decay",
            TRUSTED,
            timms("lamb", "lamb", lambda right, *a, **n: right(*a, **{**n, "decoupled_decay": True})),
        ),
        ("other betas", TRUSTED, stepping(Lamb, lambda part: part.but(betas=(0.9, 0.99)))),
    ],
    "lion": [
        ("does nothing", SIGNED, stepping(Lion, lambda part: AdamW(lr=part.lr))),
        (
            "one beta for both",
            SIGNED,
            timms("lion", "lion", lambda right, *a, **n: right(*a, **{**n, "beta1": n["beta2"]})),
        ),
        ("betas the other way round", SIGNED, stepping(Lion, lambda part: part.but(betas=part.betas[::-1]))),
        ("no decay", SIGNED, timms("lion", "lion", lambda right, *a, **n: right(*a, **{**n, "weight_decay": 0.0}))),
        ("cautious", SIGNED, timms("lion", "lion", lambda right, *a, **n: right(*a, **{**n, "caution": True}))),
        ("upwards", SIGNED, timms("lion", "lion", lambda right, *a, **n: right(*a, **{**n, "maximize": True}))),
    ],
    "triangular": [
        ("does nothing", UP, method(Triangular, "factor", lambda self, *args: Step().factor(*args))),
        ("from 0", UP, edited(Triangular, "factor", "self.start + (1 - self.start)", "0 + 1")),
        ("down to 0", UP, edited(Triangular, "factor", "(1 - self.end)", "1")),
        (
            "its top a batch later",
            UP,
            edited(Triangular, "factor", "round(self.peak * total)", "round(self.peak * total) + 1"),
        ),
        ("constant", UP, text(RATE, CONSTANT)),
    ],
    "one_cycle": [
        ("does nothing", CYCLE, method(OneCycle, "factor", lambda self, *args: Step().factor(*args))),
        (
            "in lines",
            CYCLE,
            method(
                OneCycle,
                "factor",
                lambda self, step, warmup, total: float(
                    np.interp(step, [0, self.top(total), total - 1], [0.04, 1, 4e-6])
                ),
            ),
        ),
        ("starts at 0", CYCLE, edited(OneCycle, "factor", "1 / self.divide", "0.0")),
        ("ends at a tenth", CYCLE, edited(OneCycle, "factor", "low / self.last", "0.1")),
        ("constant", CYCLE, text(RATE, CONSTANT)),
    ],
}


BY_KIND = {
    each: {
        part: [m for m in mutants if ("0" if m[0] == "does nothing" else "B") == each]
        for part, mutants in BROKEN.items()
    }
    for each in "0B"
}
