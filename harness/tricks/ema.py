"""EMA: a moving average of the weights is tested and kept (Polyak and Juditsky 1992; Tarvainen and Valpola 2017)."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Average, Spec, declares


class EMA(Average):
    """avg ← d·avg + (1 - d)·w after each step, from the initial weights on. Slot: `average`, neutral absent.

    Buffers of floating point, batch norm's statistics, are averaged with the weights, as timm does. A run of few steps
    wants a smaller d: of the initial weights d^steps is left in the average at the end. With `every` it is done at one
    step in so many, which is cheaper and makes the same d that much slower; torchvision's recipe has 32 and .99998.

    With `warmup` the t-th average, from 0, is by min(d, (1 + t)/(10 + t)), as TensorFlow's is with `num_updates`:
    of the initial weights little is left after some dozens. With `buffers="copied"` they are those of the step itself,
    as torch's `AveragedModel` has it.
    """

    decay: float = Field(0.999, ge=0, lt=1)
    every: int | None = Field(None, ge=2)  # so many steps something goes in; None: at each
    warmup: Literal[True] | None = None
    buffers: Literal["copied"] | None = None

    @property
    def copies_buffers(self) -> bool:
        return self.buffers == "copied"

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        every = self.every or 1
        if (step + 1) % every:
            return 0.0
        before = step // every
        return 1 - min(self.decay, (1 + before) / (10 + before)) if self.warmup else 1 - self.decay

    def reference(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """1 - d, at every step, or at the last of every few; of a warm-up 9/10, 9/11, 9/12, … where that is more."""
        number, left = divmod(step + 1, self.every) if self.every else (step + 1, 0)
        share = max(1 - self.decay, 9 / (9 + number)) if self.warmup else 1 - self.decay
        return 0.0 if left else share

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        steps = len(trace.lr)
        yield Check("averages kept", "1", f"{len(trace.averages)}", len(trace.averages) == 1)
        for average in trace.averages:
            yield Check("steps that went into the average", f"{steps}", f"{average.updates}", average.updates == steps)
            now = dict(trace.model.named_parameters())  # the average's, by now
            other = sum(not bool((average.tensors[name] == p).all()) for name, p in now.items())
            what = "parameters of which the average is another than the last weights"
            audits = trace.auditor.found if trace.auditor else []
            idle = bool(audits) and all(gaps.get("overflowed") for gaps in audits)  # half precision took no step
            yield Check(what, "some", f"{other} of {len(now)}", other > 0 or self.decay == 0 or idle)


@declares("average")
def ema(
    spec: Spec,
    decay: float = 0.999,
    every: int | None = None,
    warmup: Literal[True] | None = None,
    buffers: Literal["copied"] | None = None,
) -> Spec:
    """EMA: the average of the weights over some 1,000 steps is tested and kept.

    Hurts: in short runs: of the initial weights `decay` ** steps are left in the average. 300 steps at 0.999 leave
    74 %, and with `warmup` next to nothing.

    Cost: a copy of the weights, and one multiply-add of each a step.
    """
    return spec.alone("average", EMA(decay=decay, every=every, warmup=warmup, buffers=buffers))
