"""Optimizers and rates of a later time that do not do what they say."""

from typing import Any

import numpy as np

from harness.parts.optimizers import AdamW, Lamb, Lion
from harness.parts.schedules import Step
from harness.tricks.lamb import lamb
from harness.tricks.lion import lion
from harness.tricks.one_cycle import OneCycle, one_cycle
from harness.tricks.triangular import Triangular, triangular
from tests.mutants.breaking import DECAYED, LONG, RATE, Broken, Inject, edited, method, text
from tests.mutants.first import stepping

TRUSTED, SIGNED = lamb(DECAYED), lion(DECAYED)
UP, CYCLE = triangular(LONG), one_cycle(LONG)
CONSTANT = RATE.replace("spec.schedule.factor(step, steps, spec.epochs)", "1.0")


def timms(module: str, name: str, new: Any) -> Inject:
    """A function of a module of timm's optimizers, made of the right one."""
    import importlib

    owner = importlib.import_module(f"timm.optim.{module}")
    right = getattr(owner, name)
    return method(owner, name, lambda *args, **named: new(right, *args, **named))


BROKEN: Broken = {
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
