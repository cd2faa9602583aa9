"""Audits: whole steps done once more, at random.

Which steps is drawn from a stream of its own: known from the seed, and to no part. What is kept of one is how far the
live objects were from its replay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.evidence.numbers import (
    cloned,
    copies,
    held,
    held_by,
    is_layer,
    narrow,
    own_numbers,
    same,
    some,
    told,
    weighed,
)
from harness.evidence.products import Products, multiplies
from harness.evidence.renewed import Renewal
from harness.evidence.replay import Replay, judged, states
from harness.evidence.step import Gaps, Step, whole
from harness.evidence.tested import Exams, handed_back
from harness.evidence.trace import Trace
from harness.rng import Stream
from harness.spec import Spec

FIRST = 2  # steps that are audited whatever is drawn: of the second, whether the first's gradients were cleared
LEAST, SHARE = 8, 0.01  # audits drawn: at least so many, and about so much of all steps
SHORT = 64  # epochs: up to so many each has one at least
SURE = 0.95


def audited(rng: Stream, steps: int, per_epoch: int) -> frozenset[int]:
    """The steps to audit: the first two, and one drawn in each of k even shares of all, at least 8 and 1 %.

    In a run of up to 64 epochs no epoch is without one. A deviation at a share q of the steps, wherever they lie, is
    met with chance 1 - (1 - q)ᵏ or more; up to .01 less where k does not divide the steps, and shares are uneven.
    """
    epochs = steps // per_epoch
    k = max(LEAST, math.ceil(SHARE * steps))
    if epochs <= SHORT:
        k = epochs * -(-k // epochs)
    if k >= steps:
        return frozenset(range(steps))
    edges = [steps * i // k for i in range(k + 1)]
    draw = rng("audit")
    drawn = {int(draw.integers(max(a, FIRST), b)) for a, b in pairwise(edges) if b > FIRST}
    return frozenset(range(FIRST)) | drawn


def caught(audits: int) -> float:
    """The least share of steps at which a deviation is met by so many audits with a chance of .95."""
    return 1 - (1 - SURE) ** (1 / audits) if audits else 1.0


class Auditor:
    """Watches the steps that are drawn, and keeps of each how far it was from its reference."""

    def __init__(self, spec: Spec, trace: Trace) -> None:
        self.spec, self.trace = spec, trace
        self.replay = Replay(spec, trace)
        self.due = audited(trace.rng, spec.epochs * trace.steps_per_epoch, trace.steps_per_epoch)
        self.found: list[Gaps] = []  # one an audit
        self.errors: list[str] = []
        self.step: Step | None = None  # the one that is watched
        self.waiting: list[Step] = []  # for their end, or to be judged
        self.left: tuple[float, ...] | None = None  # weights, the optimizer's state, averages, after the step before
        self.taking: Step | None = None  # from its gradient to the average after it
        self.products: Products | None = None  # of the step that is watched
        self.arriving = False  # at other weights, of which no forward was seen yet
        self.returning: Step | None = None  # from the average after it to the weights that training goes on from
        self.renewal: Renewal | None = None  # of batch norm's statistics, while it goes on
        self.renewed: list[Gaps] = []  # one a renewal
        trace.model.register_forward_pre_hook(self.saw_forward)
        trace.model.register_forward_hook(self._answered)
        if trace.optimizer is not None:
            trace.optimizer.register_step_post_hook(self._stepped)

    # --- what is seen -----------------------------------------------------------------------------------------------

    def saw_forward(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.ended()
        if self.renewal:
            self.renewal.before(model, args[0])
            return
        if self.trace.is_away and self.step and self.arriving:
            self.step.aways.append(copies(model))
            self.arriving = False
        number = len(self.trace.lr)
        if not model.training or self.trace.is_away or number not in self.due:
            return
        if self.step is None:
            asleep = sum(not module.training for module in model.modules())
            frozen = sum(p.requires_grad == self.spec.frozen(n) for n, p in model.named_parameters())
            self.step = Step(number, copies(model), asleep, frozen)
            self.step.handed = self.left is None or same(self.left[0], weighed(model))
            self.products = Products(sorted(self.due).index(number)) if multiplies(self.spec.precision) else None
        self._handles = [m.register_forward_hook(self._rounds) for m in model.modules() if is_layer(m)]
        if self.products:
            self.products.watch(model)
        self.step.inputs.append(args[0].detach().clone())

    def _rounds(self, layer: nn.Module, args: Any, out: Tensor) -> None:
        if self.step and not self.trace.is_away:
            self.step.outputs += 1
            self.step.unrounded += not held_by(some(out), narrow(self.spec.precision))

    def _answered(self, model: nn.Module, args: Any, z: Tensor) -> None:
        step = self.step
        if self.renewal:
            self.renewal.after(model)
            return
        if step and model.training and not self.trace.is_away and len(step.logits) < len(step.inputs):
            for handle in self._handles:
                handle.remove()
            if self.products:
                self.products.answered()
            step.logits.append(z.detach().float().clone())
            if z.requires_grad:
                z.register_hook(lambda slope: step.slopes.append(slope.detach().float()))

    def saw_pass(self, loss: Tensor) -> None:
        self.judged()
        if self.step:
            self.step.loss += loss.item()
            if self.products:
                self.products.work_out()
                self.step.products = self.products.found

    def saw_step(self, labels: Tensor, fed: Tensor) -> None:
        if self.step:
            self.step.labels, self.step.fed = labels, fed

    def saw_leaving(self) -> None:
        """Before weights go elsewhere."""
        self.arriving = True

    def saw_gradient(self) -> None:
        """Before the optimizer's step."""
        if self.step:
            named = dict(self.trace.model.named_parameters())
            self.step.gradients = {n: None if p.grad is None else p.grad.detach().clone() for n, p in named.items()}
            self.step.kept = states(self.trace, named)
            self.step.handed &= self.left is None or same(self.left[1], held(self.trace.optimizer))
            names = {id(p): n for n, p in named.items()}
            for group in self.trace.optimizer.param_groups:
                self.step.decays |= {names.get(id(p), "?"): group.get("weight_decay", 0.0) for p in group["params"]}
            self.step.taught = [weighed(bound.model) for bound in self.trace.teachers]
            self.step.averaged = [cloned(average.tensors) for average in self.trace.averages]
            if self.left:
                self.step.handed &= all(map(same, self.left[2:], self._averages()))
            self.waiting.append(self.step)
            self.taking, self.step = self.step, None
        self.left = None  # a step that is left out tells nothing

    def saw_clipped(self) -> None:
        if self.taking and self.spec.clip:
            named = self.trace.model.named_parameters()
            self.taking.clipped = cloned({n: p.grad for n, p in named if p.grad is not None})

    def saw_averaged(self) -> None:
        if self.taking:
            self.taking.averages = [cloned(average.tensors) for average in self.trace.averages]
            self.returning, self.taking = self.taking, None
        if self.trace.averages:
            self.ended()  # else it would be at an evaluation, by other weights
            if self.left:
                self.left = (*self.left[:2], *self._averages())

    def saw_returned(self) -> None:
        if not self.trace.averages:
            return
        if self.returning:
            self.returning.returned = copies(self.trace.model)
            self.returning = None
        if self.left and any(map(handed_back, self.trace.averages)):
            self.left = weighed(self.trace.model), *self.left[1:]

    def saw_renewing(self, epoch: int) -> None:
        self.judged()
        self.renewal = Renewal(self.spec, self.replay, epoch)

    def saw_renewed(self, epoch: int) -> None:
        assert self.renewal
        with own_numbers(self.replay.device):
            self.renewed.append({"epoch": epoch, **self.renewal.judged()})
        self.renewal = None

    def _averages(self) -> list[float]:
        return [told(list(average.tensors.values())) for average in self.trace.averages]

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """After a step: where the next one is audited, what it should find."""
        self.left = None
        if len(self.trace.lr) in self.due:
            self.left = weighed(self.trace.model), held(optimizer)

    def ended(self) -> None:
        """The step is over: at the next forward, whatever it is of, or where the run is kept or ends."""
        for step in self.waiting:
            if step.after is None:
                step.after = copies(self.trace.model)
                step.left = states(self.trace, dict(self.trace.model.named_parameters()))

    # --- what is made of it -----------------------------------------------------------------------------------------

    def judged(self) -> None:
        """Judge the steps that are over. Never within a forward: its precision would be the reference's."""
        for own in [step for step in self.waiting if step.after is not None]:
            self.waiting.remove(own)
            step = whole(own, self.trace.ranks)
            if self.trace.ranks.rank:  # judged by rank 0
                continue
            first = all(gaps.get("overflowed", 0.0) for gaps in self.found)
            with own_numbers(self.replay.device), np.errstate(all="ignore"):
                try:
                    self.found.append({"step": step.number, **judged(self.replay, step, first)})
                except Exception as error:  # a network of another make, say: of what it would raise any is possible
                    self.errors.append(f"step {step.number + 1}: {type(error).__name__}: {error}")

    def state(self) -> dict[str, Any]:
        self.ended()
        self.judged()
        return {"found": self.found, "errors": self.errors, "renewed": self.renewed}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.found, self.errors, self.renewed = state["found"], state["errors"], state["renewed"]


def watch(spec: Spec, trace: Trace) -> None:
    """Audit the run of `spec`, and look at its evaluations, from here on."""
    trace.spec = spec
    auditor = Auditor(spec, trace)
    trace.auditor, trace.exams = auditor, Exams(spec, trace, auditor.replay)
