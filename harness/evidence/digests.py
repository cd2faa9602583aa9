"""What two runs showed, to be told apart: a digest of each aspect of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.evidence.numbers import digest
from harness.evidence.trace import Trace
from harness.spec import ASPECTS, Check

RATES = 200  # at most, of a result


def rates(trace: Trace) -> list[list[float]]:
    """The learning rates used, as [step from 0, rate]: all, or 200 evenly spaced with the first and the last."""
    steps = np.unique(np.linspace(0, len(trace.lr) - 1, min(len(trace.lr), RATES)).round().astype(int))
    return [[int(step), trace.lr[step]] for step in steps]


def seen(trace: Trace) -> dict[str, str]:
    """A digest of each aspect of a run, as its live objects showed it.

    Batches are those of the first epoch, up to 16, and 4 with images: no longer training shows in them.
    """
    fed, images = trace.fed[: trace.steps_per_epoch], trace.images[: trace.steps_per_epoch]
    names = {id(p): name for name, p in trace.model.named_parameters()}
    groups = trace.optimizer.param_groups
    elsewhere = ("params", "lr", "initial_lr", "weight_decay")  # the rate is of `rates`, and so on
    settings = {repr(sorted((k, v) for k, v in group.items() if k not in elsewhere)) for group in groups}
    half = [set(found.values()) == {trace.narrow} for found in (trace.outputs, trace.gradients)]
    shown: dict[str, list[Any]] = {
        "weights": [trace.initial],
        "order": [labels for labels, *_ in fed],
        "images": [before for before, *_ in images],
        "targets": [targets for _, targets, *_ in fed],
        "mixing": [*(mixed for *_, mixed in fed), *(after for *_, after in images)],
        "rates": trace.lr,
        "steps": [len(trace.lr), trace.forwards, *(len(labels) for labels, *_ in fed)],
        "structure": [str(trace.model)],
        "decay": sorted((names.get(id(p), ""), group["weight_decay"]) for group in groups for p in group["params"]),
        "optimizer": [type(trace.optimizer).__name__, *sorted(settings)],
        "precision": [type(trace.runner).__name__, *half],
        "teacher": [len(trace.teachers), *(answers for bound in trace.teachers for answers in bound.first_answers)],
    }
    return {aspect: digest(shown[aspect]) for aspect in ASPECTS}


def apart(seen: Mapping[str, str], others: Mapping[int, Mapping[str, str]]) -> Check:
    """Whether a run began, and was served, otherwise than those of the same specification at other seeds.

    `others` is what these showed, by seed.
    """
    alike = {seed: told for seed, told in others.items() if told.get("weights") == seen["weights"]}
    alike |= {s: t for s, t in others.items() if all(t.get(what) == seen[what] for what in ("order", "images"))}
    told = f"{len(alike)}: that of seed {min(alike)}" if alike else "0"
    what = "runs of other seeds with the same initial weights, or the same batches"
    return Check(what, "0", told, not alike)
