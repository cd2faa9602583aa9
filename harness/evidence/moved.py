"""What should have come of a step: each parameter moved by the optimizer's rule, in numpy; and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.evidence.numbers import array, distance, greatest, number
from harness.evidence.step import Gaps, Step
from harness.evidence.trace import Trace
from harness.spec import Spec, referenced


def moved(spec: Spec, trace: Trace, step: Step, slopes: Mapping[str, Tensor | None], first: bool = False) -> Gaps:
    """How far every parameter is from where the optimizer's rule takes it, relative to its step; and its state."""
    assert step.after is not None
    rules: Mapping[str, Any] = spec.optimizer.rules_again(trace.model)
    if not all(map(referenced, (spec.optimizer, spec.schedule, *rules.values()))):
        return {}
    schedule: Any = spec.schedule
    share = schedule.reference(step.number, trace.steps_per_epoch, spec.epochs)
    layers = dict(trace.model.named_modules())
    live = dict(trace.model.named_parameters())
    overflowed = step.gradients and spec.precision.scaled
    overflowed = overflowed and not all(g is None or bool(g.isfinite().all()) for g in step.gradients.values())
    # Nothing is held before the first step that is taken: of half precision the first few may be left out.
    first = spec.precision.scaled and first
    steps, state = 0.0, 0.0
    for name in live:
        slope, rule = slopes[name], rules.get(name, spec.optimizer)
        before, after = array(step.weights[name]), array(step.after[name])
        if slope is None or overflowed:
            steps = max(steps, float((before != after).any()))
            continue
        factor = rate_factor(spec, name, layers[name.rpartition(".")[0]])
        decay = spec.decay.reference(name, layers[name.rpartition(".")[0]]) if referenced(spec.decay) else 0.0
        held = {} if first and not step.kept[name] else rule.held
        kept = {key: number(step.kept[name].get(place)) for key, place in held.items()} if step.number else {}
        rate = rule.peak(spec.batch_size) * share * factor
        due = rule.reference(before, array(slope), rate, decay, kept)
        steps = max(steps, strayed(before, after, due))
        for key, place in rule.held.items():
            state = max(state, distance(number(step.left[name].get(place)), np.asarray(kept[key], dtype=np.float64)))
    return {"steps": steps, "state": state, "overflowed": float(bool(overflowed))}


def strayed(before: np.ndarray, after: np.ndarray, due: np.ndarray) -> float:
    """The greatest gap of where numbers are to where they are due, in units of the greatest step that was due.

    0 where one of them was no number before: of a run that diverged.
    """
    if not np.isfinite(before).all():
        return 0.0
    spare = 1e-6 * greatest(before)  # float32 cannot say it any closer
    return max(0.0, greatest(due - after) - spare) / max(greatest(due - before), 1e-30)


def rate_factor(spec: Spec, name: str, layer: nn.Module) -> float:
    rates: Any = spec.rates
    if rates is None:
        return 1.0
    factor: float = (rates.reference if referenced(rates) else rates.factor)(name, layer)
    return factor


def clipped(spec: Spec, step: Step, slopes: Mapping[str, Tensor | None]) -> Gaps:
    """How far the clipped gradients are from those due, relative to these; nothing of a step that overflowed."""
    (part,) = spec.clip
    raw = {n: array(g) for n, g in slopes.items() if g is not None}
    if not referenced(part) or not all(np.isfinite(g).all() for g in raw.values()):
        return {}
    due = part.reference(raw, {n: array(step.weights[n]) for n in slopes}) if part.weighs else part.reference(raw)
    if due.keys() != step.clipped.keys():
        return {"clipped": math.inf}
    live = {n: array(g) for n, g in step.clipped.items()}
    off, long, norm = (
        math.sqrt(sum(float((g**2).sum()) for g in gradients))
        for gradients in ((live[n] - g for n, g in due.items()), due.values(), live.values())
    )
    cut = sum(float((np.abs(live[n]) < (1 - 1e-3) * np.abs(g)).sum()) for n, g in raw.items())
    return {"clipped": off / max(long, 1e-30), "norm": norm, "cut": cut}


def averaged(spec: Spec, step: Step, steps_per_epoch: int) -> Gaps:
    """How far averages are from those due, relative to how far they moved; and what training goes on from."""
    assert step.after is not None
    due_back = step.after
    worst_of = 0.0
    parts: Any = spec.average
    if len(step.averages) != len(parts):
        return {"averaged": math.inf}
    due_of = {name for name, tensor in step.weights.items() if tensor.is_floating_point()}
    for part, before, after in zip(parts, step.averaged, step.averages, strict=True):
        if before.keys() != due_of:
            return {"averaged": math.inf}
        share = (part.reference if referenced(part) else part.share)(step.number, steps_per_epoch, spec.epochs)
        if part.returns and share > 0:
            due_back = {**due_back, **after}
        for name, old in before.items():
            was, now = array(old), array(step.after[name])
            copied = part.copies_buffers and name not in step.gradients and share > 0
            due = now if copied else was + share * (now - was)
            worst_of = max(worst_of, strayed(was, array(after[name]), due))
    if not parts:
        return {}
    back = sum(name not in step.returned or not same(step.returned[name], due) for name, due in due_back.items())
    return {"averaged": worst_of, "returned": float(back)}


def same(one: Tensor, other: Tensor) -> bool:
    """To the bit, or both no number: of a run that diverged."""
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
