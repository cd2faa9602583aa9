"""What a mutant is, how its run is trained, and how code is broken for as long as that takes."""

import copy
import inspect
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.digits import BASELINE
from harness import train as loop
from harness.evidence import Trace, Upstream
from harness.parts import precision
from harness.parts.data.holdout import Holdout, _split
from harness.parts.depth import _groups
from harness.parts.imgaug_policy import policy
from harness.parts.models import base, cost
from harness.parts.optimizers import NAG, Adam, AdamW, Expectigrad
from harness.parts.stopping import EarlyStopping
from harness.ranks import Over
from harness.spec import Data, Model, Spec, needed
from harness.tasks.classify import Marking
from harness.tricks.adamp import adamp
from harness.tricks.distillation import distillation
from harness.tricks.imgaug_policy import imgaug_policy
from tests.kit import dense
from tests.kit.coloured import Coloured
from tests.kit.ranks import together

CPU = torch.device("cpu")
TINY = BASELINE.but(model=BASELINE.model.but(blocks=(1, 1), width=4), batch_size=298, epochs=3)
KINDS = {
    "0": "from the first step on",
    "A": "later, or in a part of the steps",
    "B": "in what a proof of the part's own does not see",
    "C": "in what is tested and reported",
    "D": "in tensors that the part does not name",
    "E": "in splits and seeds",
}
SOURCE = Path(loop.__file__).read_text()
Patch = pytest.MonkeyPatch
Inject = Callable[[Patch], None]


@dataclass(frozen=True)
class Mutant:
    part: str  # trick or part
    kind: str  # of KINDS
    name: str
    spec: Spec  # what is trained
    inject: Inject
    seed: int = 0


# --- how it is trained ----------------------------------------------------------------------------------------------


def rounds(change: Callable[[torch.Tensor], torch.Tensor], way: str = "forward") -> Inject:
    """An emulated float rounds outputs and weights otherwise; or, `backward`, their gradients."""

    def forward(ctx: Any, x: torch.Tensor, kind: str) -> torch.Tensor:
        ctx.kind = kind
        return change(x.clone())

    other = {"forward": forward, "backward": lambda ctx, slope: (change(slope), None)}[way]
    return lambda patch: patch.setattr(precision.Round, way, staticmethod(other))


@cache
def _teacher(model: Model, data: Data) -> loop.Trained:
    """A network that learned: 10 % is chance, and 90 steps bring it far from there."""
    spec = TINY.but(data=data, model=model, batch_size=32, epochs=5, optimizer=NAG(lr=0.1, per=None))
    return loop.train(spec, 1, CPU, stand_in)


def stand_in(upstream: Spec) -> Upstream:
    """In the place of what `upstream` would train: its network, trained quickly, with a record of its own."""
    trained = _teacher(upstream.model, upstream.data)
    return Upstream(copy.deepcopy(trained.model), upstream.id, trained.result)


def inner(spec: Spec, seed: int) -> Callable[..., Upstream]:
    """How a run's upstream runs are found: a backbone is trained, at the run's seed, and a teacher has its stand-in."""
    if hasattr(spec.model, "backbone"):
        return lambda upstream, at=seed: dense.below(upstream, at)
    return stand_in


def forgotten() -> None:
    """What is remembered of networks and splits, which a mutant may have made."""
    for kept in (cost, _split, policy, base._names, _groups):
        kept.cache_clear()


def result_of(spec: Spec, seed: int) -> dict[str, Any]:
    """What a run leaves; of several ranks, each in a process that is forked from this one, broken as it is."""
    if not spec.ranks:
        return loop.train(spec, seed, CPU, inner(spec, seed)).result
    found = together(spec.ranks, lambda own: loop.train(spec, seed, CPU, inner(spec, seed), None, own).result)
    for each in found:
        if isinstance(each, Exception) and not isinstance(each, Over):
            raise each
    result: dict[str, Any] = found[0]
    return result


def refusal(spec: Spec, inject: Inject = lambda patch: None, seed: int = 0) -> tuple[str, list[dict[str, Any]]]:
    """The status of a run, and the checks that failed."""
    for part in spec.teacher:  # all that is not to be broken comes before anything is
        _teacher(part.spec.model, part.spec.data)
    for upstream, at in needed(spec, seed) if hasattr(spec.model, "backbone") else ():
        dense.below(upstream, at)
    getattr(spec.data.load(), "most", None)  # boxes of an image, counted once
    forgotten()
    with Patch.context() as patch:
        patch.setenv("HARNESS_DECODERS", "0")  # in another process nothing is broken
        inject(patch)
        result = result_of(spec, seed)
    forgotten()
    return result["status"], [row for row in result["evidence"] if not row["ok"]]


def traced(spec: Spec, seed: int = 0, keeper: Any = None) -> tuple[loop.Trained, Trace]:
    """What was trained, and the trace that its evidence was read from."""
    with Patch.context() as patch:
        patch.setenv("HARNESS_DECODERS", "0")
        trained = loop.train(spec, seed, CPU, inner(spec, seed), keeper)
    return trained, trained.trace


def said(row: dict[str, Any]) -> str:
    return f"{row['part']}: {row['what']}: {row['expected']}, seen {row['seen']}"


# --- how it is broken -----------------------------------------------------------------------------------------------


def method(owner: Any, name: str, new: Any) -> Inject:
    return lambda patch: patch.setattr(owner, name, new)


def text(*pairs: str, **names: Any) -> Inject:
    """The loop, with pieces of its source replaced: each old one is followed by the new, which may use `names`."""

    def inject(patch: Patch) -> None:
        source = SOURCE
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert source.count(old) == 1, f"the loop has changed, change this mutant with it: {old}"
            source = source.replace(old, new)
        broken = types.ModuleType("broken")
        broken.__dict__.update(names, __name__=loop.__name__)
        exec(compile(source, "broken train.py", "exec"), broken.__dict__)
        broken.__dict__.update(How=loop.How, PLAIN=loop.PLAIN, Keeper=loop.Keeper)  # ranks send them to each other
        patch.setattr(loop, "train", broken.train)

    return inject


def edited(owner: Any, name: str, *pairs: str) -> Inject:
    """A function of a module, or a method of a class, with pieces of its source replaced."""

    def inject(patch: Patch) -> None:
        right = inspect.unwrap(getattr(owner, name))
        source = textwrap.dedent(inspect.getsource(right))
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert source.count(old) == 1, f"{name} has changed, change this mutant with it: {old}"
            source = source.replace(old, new)
        made: dict[str, Any] = {}
        exec(compile(source, f"broken {name}", "exec"), right.__globals__, made)
        patch.setattr(owner, name, made[name])

    return inject


def marked(*pairs: str) -> Inject:
    """The scores that the loop makes of an evaluation, with pieces of their source replaced."""
    return edited(Marking, "scores", *pairs)


def room(part: type) -> Any:
    """The module that a part is of."""
    return sys.modules[part.__module__]


def shared(user: type, name: str, new: Any) -> Inject:
    """A function of the module that a part is of: whoever calls it there gets the new one."""
    return method(room(user), name, new)


def both(*injects: Inject) -> Inject:
    def inject(patch: Patch) -> None:
        for each in injects:
            each(patch)

    return inject


def nothing(patch: Patch) -> None:
    """For a specification that is itself what must be refused."""


Broken = dict[str, list[tuple[str, Spec, Inject] | tuple[str, Spec, Inject, int]]]  # the last is the seed, else 0
LONG = TINY.but(batch_size=99, epochs=4)  # 24 steps, of which about ten are audited
COLOUR = TINY.but(data=Coloured(), batch_size=12, augment=())
HELD = TINY.but(data=Holdout(of=TINY.data), batch_size=159, epochs=8, stop=(EarlyStopping(patience=2),))
SMALL = TINY.but(microbatch=100)
TEACHER = TINY.model.but(width=8)
TAUGHT = distillation(TINY, model=TEACHER)
TAUGHT_LONG = distillation(LONG, model=TEACHER)
PHOTO = TINY.but(model=TINY.model.but(small=False))
DECAYED = TINY.but(decay=TINY.decay.but(weight=0.1))
ADAM, ADAMW = (DECAYED.but(optimizer=part) for part in (Adam(), AdamW()))
ADAMP, EXPECTI = adamp(ADAMW), TINY.but(optimizer=Expectigrad(), decay=TINY.decay.but(weight=0.0))
POLICY = imgaug_policy(COLOUR)

STEP = "run.runner.step(run.optimizer)"
BEFORE = "run.trace.saw_gradient()"
PASS = "z = network(*task.given(x, y))"
LOSS = "criterion(z.float(), y)"
RATE = "set_rate(run.optimizer, peak * spec.schedule.factor(step, steps, spec.epochs))"
CALL = "loss = loss + teacher(x, z)"
NUMBER = "step = run.epoch * steps + run.batch"
SERVED = "images.train(run.epoch, spec.batch_size, spec.augment, rng, device, run.batch, spec.epochs)"
NAMED = "[(n, p) for n, p in run.model.named_parameters()]"


def augmenting_when(when: str) -> Inject:
    own = f"images.train(epoch, spec.batch_size, spec.augment if {when} else (), rng, device)"
    return text(SERVED, f"(batch for epoch in range(spec.epochs) for batch in {own})")
