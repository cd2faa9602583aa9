"""Those of before: a trick that does nothing, or something else from the first step on, and a loop that does.

The first mutant of each trick is the one that does nothing, but for its id.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import train as loop
from harness.evidence import Upstream
from harness.parts import imgaug_policy as imgaug_room
from harness.parts.augment import Shift
from harness.parts.imgaug_policy import ImgAug
from harness.parts.init import Xavier
from harness.parts.models import ResNet, Timm
from harness.parts.optimizers import NAG, SGD, Adam, AdamP, AdamW, Expectigrad, Moments, Stepper
from harness.parts.precision import Runner
from harness.parts.schedules import Piecewise, Step
from harness.tricks.bf16 import BF16, bf16
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import BoundTeacher, Distill, distillation, distillation_loss
from harness.tricks.fp16 import FP16, HalfRunner, fp16
from harness.tricks.imgaug_policy import imgaug_policy
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import Mixup, mixup, mixup_batch
from harness.tricks.no_bias_decay import DecayWeights, no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.sam import sam, sam_offsets
from harness.tricks.warmup import LinearWarmup, warmup
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma
from tests.kit.coloured import Coloured
from tests.mutants import breaking
from tests.mutants.breaking import (
    ADAM,
    ADAMP,
    ADAMW,
    BEFORE,
    CALL,
    CPU,
    EXPECTI,
    LOSS,
    NUMBER,
    RATE,
    SERVED,
    SMALL,
    STEP,
    TAUGHT,
    TEACHER,
    TINY,
    Broken,
    Inject,
    Patch,
    edited,
    method,
    rounds,
    text,
)


def norms(model: nn.Module, ending: str = "") -> list[nn.BatchNorm2d]:
    return [m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and n.endswith(ending)]


def zeroing(*endings: str) -> Inject:
    """γ = 0 in the batch norms whose names end so."""

    def initialise(self: ZeroGamma, model: nn.Module, rng: Any) -> None:
        for ending in endings:
            for norm in norms(model, ending):
                norm.weight.data.zero_()

    return method(ZeroGamma, "__call__", initialise)


def decaying(rate: Callable[[str, nn.Parameter], float]) -> Inject:
    """Each parameter decayed by so many times the weight that is asked for."""

    def groups(self: DecayWeights, model: nn.Module) -> list[dict[str, Any]]:
        rates = [(self.weight * rate(name, p), p) for name, p in model.named_parameters()]
        return [{"params": [p for r, p in rates if r == one], "weight_decay": one} for one in {r for r, _ in rates}]

    return method(DecayWeights, "groups", groups)


def drawn(bound: Callable[[nn.Module], float] | None, law: str = "uniform", bias: float = 0.0) -> Inject:
    """Weights drawn from another distribution; None leaves them as torch drew them, with their biases."""

    def initialise(self: Xavier, model: nn.Module, rng: Any) -> None:
        for name, m in model.named_modules():
            if isinstance(m, nn.Conv2d | nn.Linear) and bound:
                a, draw = bound(m), rng("init", name)
                values = draw.uniform(-a, a, m.weight.shape) if law == "uniform" else draw.normal(0, a, m.weight.shape)
                m.weight.data.copy_(torch.from_numpy(values))
                if m.bias is not None:
                    m.bias.data.fill_(bias)

    return method(Xavier, "__call__", initialise)


def xavier(m: Any) -> float:
    return float(np.sqrt(6 / ((m.weight.shape[0] + m.weight.shape[1]) * m.weight[0, 0].numel())))


def step_of(change: Callable[[HalfRunner, torch.optim.Optimizer], None]) -> Inject:
    def step(self: HalfRunner, optimizer: torch.optim.Optimizer) -> None:
        change(self, optimizer)
        optimizer.zero_grad()
        self.steps += 1

    return method(HalfRunner, "step", step)


def never_unscaled(runner: HalfRunner, optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def rounded_masters(runner: HalfRunner, optimizer: torch.optim.Optimizer) -> None:
    runner.scaler.step(optimizer)
    runner.scaler.update()
    for p in chain.from_iterable(group["params"] for group in optimizer.param_groups):
        p.data = p.data.half().float()


def unscaled(patch: Patch) -> None:
    """A scaler that is there, and is never asked; its steps are counted."""
    patch.setattr(HalfRunner, "backward", lambda self, loss: loss.backward())
    step_of(never_unscaled)(patch)


def masters(kind: torch.dtype) -> Inject:
    def initialise(self: Xavier, model: nn.Module, rng: Any) -> None:
        drawn(self, model, rng)
        for m in model.modules():
            if isinstance(m, nn.Conv2d):
                m.weight.data = m.weight.data.to(kind)

    drawn = Xavier.__call__
    return method(Xavier, "__call__", initialise)


def scaler(**options: Any) -> Inject:
    init = HalfRunner.__init__

    def begin(self: HalfRunner, device: torch.device) -> None:
        init(self, device)
        self.scaler = torch.amp.GradScaler(device.type, **options)

    return method(HalfRunner, "__init__", begin)


def built(name: str, **changes: Any) -> Inject:
    """A method of the network that builds as another does."""
    build = getattr(ResNet, name)
    return method(ResNet, name, lambda self, *args, **kwargs: build(self.but(**changes), *args, **kwargs))


def stride_in_first(patch: Patch) -> None:
    original = ResNet._block

    def block(self: ResNet, c_in: int, width: int, stride: int, *more: float) -> nn.Module:
        made = original(self.but(variant="A"), c_in, width, stride, *more)  # type: ignore[call-arg]
        made.shortcut = self._shortcut(c_in, 4 * width, stride)
        return made

    patch.setattr(ResNet, "_block", block)


def mixing(mix: Callable[[Mixup, Tensor, Tensor, Any], tuple[Tensor, Tensor]]) -> Inject:
    """Another mixup, which draws as it goes."""

    def inject(patch: Patch) -> None:
        patch.setattr(Mixup, "draws", lambda *_: None)
        patch.setattr(Mixup, "__call__", mix)

    return inject


def mixed(law: Callable[[Any, Mixup], float], images: bool = True, targets: bool = True) -> Inject:
    """Mixup with λ of a law, applied to images, to targets, or to both."""

    def mix(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
        lam = float(law(rng, self))
        also_x, also_y = mixup_batch(x, y, lam, torch.from_numpy(rng.permutation(len(x))))
        return also_x if images else x, also_y if targets else y

    return mixing(mix)


def beta(rng: Any, part: Mixup) -> float:
    return float(rng.beta(part.alpha, part.alpha))


def two_partners(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
    lam, perm = beta(rng, self), torch.from_numpy(rng.permutation(len(x)))
    return torch.lerp(x[perm], x, lam), torch.lerp(y[perm.flip(0)], y, lam)


def other_share(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
    lam, perm = beta(rng, self), torch.from_numpy(rng.permutation(len(x)))
    return torch.lerp(x, x[perm], lam), torch.lerp(y[perm], y, lam)


def itself(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
    return mixup_batch(x, y, beta(rng, self), torch.arange(len(x)))


def answering(answer: Callable[[BoundTeacher, Any, Tensor, Tensor], Tensor]) -> Inject:
    """A teacher whose call is another; it gets the call that it has."""
    call = BoundTeacher.__call__
    return method(BoundTeacher, "__call__", lambda self, x, z: answer(self, partial(call, self), x, z))


def training(teacher: BoundTeacher, call: Any, x: Tensor, z: Tensor) -> Tensor:
    teacher.model.train()
    loss: Tensor = call(x, z)
    teacher.model.eval()
    return loss


def drifting(teacher: BoundTeacher, call: Any, x: Tensor, z: Tensor) -> Tensor:
    loss: Tensor = call(x, z)
    for p in teacher.model.parameters():
        p.data.mul_(1.01)
    return loss


def bound(change: Callable[[BoundTeacher], Any]) -> Inject:
    init = BoundTeacher.__init__

    def begin(self: BoundTeacher, *args: Any) -> None:
        init(self, *args)
        change(self)

    return method(BoundTeacher, "__init__", begin)


def pulling(loss: Callable[[Tensor, Tensor, float], Tensor]) -> Inject:
    return method(sys.modules[Distill.__module__], "distillation_loss", loss)


def given(other: Callable[[Upstream], Upstream]) -> Inject:
    """Another inner run than the one that was trained."""
    right = breaking.stand_in
    return method(breaking, "stand_in", lambda upstream: other(right(upstream)))


def fresh(inner: Upstream) -> Upstream:
    return replace(inner, model=loop.build(TINY.but(model=TAUGHT.teacher[0].spec.model), 1, CPU))


def stepping(kind: type[Stepper], other: Callable[[Any], Stepper]) -> Inject:
    """An optimizer that builds another, which steps in its place."""
    return method(kind, "build", lambda self, *args: Stepper.build(other(self), *args))


def projecting(change: Callable[..., Any]) -> Inject:
    """AdamP's projection, given as it is and its arguments (weights, gradient, direction, δ, decay's ratio, ε, …)."""
    import timm.optim.adamp as owner

    return method(owner, "projection", partial(change, owner.projection))


def by_layer(right: Any, w: Tensor, g: Tensor, direction: Tensor, *rest: float) -> tuple[Tensor, float]:
    direction, ratio = right(w[None], g[None], direction[None], *rest)
    return direction[0], ratio


def coupled(patch: Patch) -> None:
    """AdamW whose decay is L2, as its own base class has it."""
    build = Stepper.build

    def begin(self: Moments, *args: Any) -> torch.optim.Optimizer:
        optimizer = build(self, *args)
        for group in optimizer.param_groups:
            group["decoupled_weight_decay"] = False
        return optimizer

    patch.setattr(AdamW, "build", begin)


def augmenting(other: Callable[[Any], Any]) -> Inject:
    """Another policy than imgaug's augmenter as it is built."""
    right = imgaug_room.policy
    return method(imgaug_room, "policy", lambda groups: other(right(groups)))


def greyed(whole: Any) -> Any:
    with imgaug_room.undisturbed() as iaa:
        return iaa.Sequential([whole, iaa.Grayscale((0.0, 1.0))])


def of_old_seeds(self: ImgAug, images: np.ndarray, rng: Any) -> np.ndarray:
    augmenter = imgaug_room.policy(self.groups)
    with imgaug_room.undisturbed():
        return np.stack([augmenter.augment_image(image) for image in images])


def halfway(t: int, total: int) -> float:
    """Half a cosine, at t of total."""
    return float(0.5 * (1 + np.cos(np.pi * t / total)))


def climbing(offsets: Callable[[list[Tensor], float], list[Tensor]]) -> Inject:
    return lambda patch: patch.setitem(sam.__globals__, "sam_offsets", offsets)


def recording(patch: Patch) -> None:
    patch.setitem(sam.__globals__, "paused_statistics", lambda model: nullcontext())


def staying(patch: Patch) -> None:
    """The weights are left where the second gradient was taken."""
    patch.setattr(torch, "_foreach_copy_", lambda live, kept: None)


growing = partial(method, LinearWarmup, "factor")
falling = partial(method, Cosine, "factor")
smoothing = partial(method, Smoothing, "__call__")


# --- the table ------------------------------------------------------------------------------------------------------

ALL = "list(model.parameters())"
FIRST = "in gradient(spec, run, x, y, labels):"
FORWARD = "with run.runner.forward():\n        z"
MODEL = "    model = build(spec, seed, device)\n"
PASSES = "zip(x.split(size), y.split(size), labels.split(size), strict=True)"
SEEN, SECOND = "run.trace.saw_step(labels, stages)", "deque(gradient(spec, run, x, y, labels), maxlen=0)"
SLOPES = "[p.grad.clone() for p in run.model.parameters()]"
PUT_BACK = "[p.grad.copy_(g) for p, g in zip(run.model.parameters(), kept)]"
ONES = "    [m.weight.data.fill_(1) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]\n"
DIVERGES = label_smoothing(TINY.but(optimizer=NAG(lr=1e30, per=None)))

WARM, SHORT = warmup(TINY, epochs=2), warmup(TINY, epochs=1)
TIMM = TINY.but(model=Timm(name="test_resnet")).having("init", ZeroGamma())  # basic blocks, and a bottleneck
POLICY = imgaug_policy(TINY.but(data=Coloured(), batch_size=24, augment=()))
PHOTO = resnet_d(TINY.but(model=TINY.model.but(small=False)))
BROKEN: Broken = {
    "warmup": [
        ("does nothing", WARM, method(Piecewise, "warmup_steps", lambda self, steps: 0)),
        ("starts from 0", WARM, growing(lambda self, step, steps: step / steps)),
        ("grows by the epoch", WARM, growing(lambda self, step, steps: (step // 2 + 1) * 2 / steps)),
        ("stays below the peak", WARM, growing(lambda self, step, steps: (step + 1) / (steps + 1))),
        ("is as long as all", WARM, method(Piecewise, "warmup_steps", lambda self, steps: 6)),
    ],
    "zero_gamma": [
        ("does nothing", zero_gamma(TINY), zeroing()),
        ("all batch norms", zero_gamma(TINY), zeroing("")),
        ("the shortcut's norm too", zero_gamma(TINY), zeroing("body.7", "shortcut.1")),
        ("the shortcut's norm instead", zero_gamma(TINY), zeroing("shortcut.1")),
        ("the first norm of a block", zero_gamma(TINY), zeroing("body.1")),
        ("the first block alone", zero_gamma(TINY), zeroing("stage1.0.body.7")),
        ("set back before training", zero_gamma(TINY), text(MODEL, MODEL + ONES)),
        ("does nothing to timm's blocks", TIMM, zeroing()),
        ("all batch norms of timm's", TIMM, zeroing("")),
        ("the shortcuts' norms of timm's too", TIMM, zeroing("0.bn2", "0.bn3", "downsample.2")),
        ("the second norm of timm's bottleneck instead", TIMM, zeroing("0.bn2")),
        ("timm's basic blocks alone", TIMM, zeroing("layer1.0.bn2", "layer2.0.bn2", "layer4.0.bn2")),
    ],
    "no_bias_decay": [
        ("does nothing", no_bias_decay(TINY), decaying(lambda name, p: 1)),
        ("biases still decayed", no_bias_decay(TINY), decaying(lambda name, p: p.ndim > 1 or name == "fc.bias")),
        ("biases and β spared, γ decayed", no_bias_decay(TINY), decaying(lambda name, p: not name.endswith("bias"))),
        ("the last layer's bias alone spared", no_bias_decay(TINY), decaying(lambda name, p: name != "fc.bias")),
        ("all spared", no_bias_decay(TINY), decaying(lambda name, p: 0)),
        ("weights decayed twice", no_bias_decay(TINY), decaying(lambda name, p: 2 * (p.ndim > 1))),
        (
            "the loop forgets it",
            no_bias_decay(TINY),
            text("groups(spec, model)", f"[dict(params={ALL}, weight_decay=1e-4)]"),
        ),
        (
            "one group keeps its rate",
            no_bias_decay(TINY),
            edited(loop, "set_rate", "param_groups:", "param_groups[:1]:"),
        ),
    ],
    "fp16": [
        ("does nothing", fp16(TINY), method(FP16, "on", lambda self, device: Runner())),
        ("outputs not rounded", fp16(TINY), rounds(lambda x: x)),
        ("gradients not rounded", fp16(TINY), rounds(lambda x: x, "backward")),
        ("scaler not used", fp16(TINY), unscaled),
        ("scaler switched off", fp16(TINY), scaler(enabled=False)),
        ("scale of 1", fp16(TINY), scaler(init_scale=1.0)),
        ("scaled, never unscaled", fp16(TINY), step_of(never_unscaled)),
        ("half master weights", fp16(TINY), masters(torch.float16)),
        ("master weights rounded", fp16(TINY), step_of(rounded_masters)),
        ("forward in float32", fp16(TINY), text(FORWARD, FORWARD.replace("with run.runner.forward()", "if True"))),
    ],
    "bf16": [
        ("does nothing", bf16(TINY), method(BF16, "on", lambda self, device: Runner())),
        ("is FP16", bf16(TINY), method(BF16, "on", lambda self, device: HalfRunner(device))),
        ("outputs not rounded", bf16(TINY), rounds(lambda x: x)),
        ("gradients not rounded", bf16(TINY), rounds(lambda x: x, "backward")),
        ("bfloat16 master weights", bf16(TINY), masters(torch.bfloat16)),
        ("forward in float32", bf16(TINY), text(FORWARD, FORWARD.replace("with run.runner.forward()", "if True"))),
    ],
    "resnet_d": [
        ("does nothing", resnet_d(TINY), built("build", variant="A")),
        ("the pool left out", resnet_d(TINY), built("_shortcut", variant="B")),
        ("the stride left in the 1 x 1", resnet_d(TINY), stride_in_first),
        ("the deep stem left out", PHOTO, built("_stem", variant="A")),
        ("a block left out", resnet_d(TINY), built("build", blocks=(1,))),
    ],
    "cosine": [
        ("does nothing", cosine(TINY), falling(lambda self, *step: Step().factor(*step))),
        ("by the epoch", cosine(TINY), falling(lambda self, t, w, total: halfway(t // 2 * 2, total))),
        ("T with the warmup", cosine(SHORT), falling(lambda self, t, w, total: halfway(t, total))),
        ("too long a T", cosine(SHORT), falling(lambda self, t, w, total: halfway(t - w, total))),
        ("ends at 0", cosine(TINY), falling(lambda self, t, w, total: halfway(t, total - 1))),
        ("the loop keeps the rate", cosine(TINY), text(RATE, "set_rate(run.optimizer, peak)")),
        ("the loop counts epochs", cosine(TINY), text(NUMBER, NUMBER.replace(" + run.batch", ""))),
    ],
    "label_smoothing": [
        ("does nothing", label_smoothing(TINY), smoothing(lambda self, y: y)),
        ("ε/K on all", label_smoothing(TINY), smoothing(lambda self, y: 0.9 * y + 0.1 / y.shape[1])),
        ("the true class alone", label_smoothing(TINY), smoothing(lambda self, y: 0.9 * y)),
        ("half of ε", label_smoothing(TINY), smoothing(lambda self, y: y * (0.95 - 0.05 / 9) + 0.05 / 9)),
        ("the loss gets labels", label_smoothing(TINY), text(LOSS, LOSS.replace("y)", "y.argmax(1))"))),
        ("worked out and dropped", label_smoothing(TINY), text("y = target(y)", "target(y)")),
    ],
    "mixup": [
        ("does nothing but lengthen", mixup(TINY), mixing(lambda self, x, y, rng: (x, y))),
        ("λ drawn, targets left", mixup(TINY), mixed(beta, targets=False)),
        ("λ applied to targets only", mixup(TINY), mixed(beta, images=False)),
        ("with itself", mixup(TINY), mixing(itself)),
        ("other partners for targets", mixup(TINY), mixing(two_partners)),
        ("1 - λ for images", mixup(TINY), mixing(other_share)),
        ("λ ~ Beta(0.4, 0.4)", mixup(TINY), mixed(lambda rng, part: rng.beta(0.4, 0.4))),
        ("λ uniform", mixup(TINY), mixed(lambda rng, part: rng.random())),
        ("one λ for all", mixup(TINY), mixed(lambda rng, part: 0.7)),
        ("the network gets unmixed images", mixup(TINY), text(FIRST, FIRST.replace("x,", "stages[0][0],"))),
        ("the loss gets unmixed targets", mixup(TINY), text(FIRST, FIRST.replace("y,", "stages[0][1],"))),
        ("not longer", mixup(TINY), text("run.epoch < spec.epochs", "run.epoch < 3")),
    ],
    "distillation": [
        ("does nothing", TAUGHT, answering(lambda teacher, call, x, z: 0 * z.sum())),
        ("in training mode", TAUGHT, bound(lambda teacher: teacher.model.train())),
        ("in training mode while it answers", TAUGHT, answering(training)),
        ("learns", TAUGHT, bound(lambda teacher: teacher.model.requires_grad_(True))),
        ("drifts", TAUGHT, answering(drifting)),
        ("untrained", TAUGHT, given(fresh)),
        ("of another specification", TAUGHT, given(lambda inner: replace(inner, id=TINY.id))),
        (
            "answers unmixed images",
            distillation(mixup(TINY), model=TEACHER),
            text(NUMBER, f"{NUMBER}; run.plain = x", CALL, CALL.replace("(x,", "(run.plain,")),
        ),
        ("answers other images", TAUGHT, text(CALL, CALL.replace("(x,", "(x.flip(0),"))),
        ("T² left out", TAUGHT, pulling(lambda z, r, t: distillation_loss(z, r, t) / t**2)),
        ("T = 1 for the student", TAUGHT, pulling(lambda z, r, t: distillation_loss(t * z, r, t))),
        ("logits detached", TAUGHT, pulling(lambda z, r, t: distillation_loss(z.detach(), r, t))),
        ("loss left out", TAUGHT, text(CALL, "teacher(x, z)")),
        ("loss halved", TAUGHT, text(CALL, CALL.replace("+", "+ 0.5 *"))),
        ("labels' loss left out", TAUGHT, text(CALL, "loss = teacher(x, z)")),
    ],
    "sam": [
        ("does nothing", sam(TINY), climbing(lambda slopes, rho: [0 * g for g in slopes])),
        ("goes down", sam(TINY), climbing(lambda slopes, rho: sam_offsets(slopes, -rho))),
        ("goes twice as far", sam(TINY), climbing(lambda slopes, rho: sam_offsets(slopes, 2 * rho))),
        ("a norm of each tensor", sam(TINY), climbing(lambda slopes, rho: [rho * g / g.norm() for g in slopes])),
        (
            "the gradient's signs",
            sam(TINY),
            climbing(lambda slopes, rho: sam_offsets([g.sign() for g in slopes], rho)),
        ),
        ("statistics of both passes", sam(TINY), recording),
        ("one gradient", sam(TINY), text(SECOND, "pass")),
        ("the gradients of both", sam(TINY), method(nn.Module, "zero_grad", lambda self, set_to_none=True: None)),
        (
            "the first gradient steps",
            sam(TINY),
            text(SEEN, f"{SEEN}; kept = {SLOPES}", BEFORE, f"{PUT_BACK}; {BEFORE}"),
        ),
        ("does not come back", sam(TINY), staying),
    ],
    "adamp": [
        ("does nothing", ADAMP, stepping(AdamP, lambda part: ADAMW.optimizer)),
        ("never projects", ADAMP, projecting(lambda right, w, g, direction, *rest: (direction, 1.0))),
        ("decays in full", ADAMP, projecting(lambda right, *args: (right(*args)[0], 1.0))),
        ("projects by the whole layer alone", ADAMP, projecting(by_layer)),
        ("takes out the part along the gradient", ADAMP, projecting(lambda right, w, g, *rest: right(g, w, *rest))),
        ("projects whatever the cosine", ADAMP, stepping(AdamP, lambda part: part.but(delta=1e3))),
        ("other betas", ADAMP, stepping(AdamP, lambda part: part.but(betas=(0.9, 0.99)))),
    ],
    "imgaug_policy": [
        ("does nothing", POLICY, method(ImgAug, "on_pixels", lambda self, images, rng: images)),
        ("what is outside the twelve left out", POLICY, augmenting(lambda whole: whole[-1])),
        ("none of the twelve", POLICY, augmenting(lambda whole: whole.__class__(whole[:-1], random_order=True))),
        ("grey, which it is not to be", POLICY, augmenting(greyed)),
        ("not seeded", POLICY, method(ImgAug, "on_pixels", of_old_seeds)),
        ("the loop forgets it", POLICY, text(SERVED, SERVED.replace("spec.augment", "()"))),
    ],
    "the rest": [
        ("heavy ball instead of Nesterov's", TINY, stepping(NAG, lambda part: SGD(**dict(part)))),
        ("momentum of 0.8", TINY, stepping(NAG, lambda part: part.but(momentum=0.8))),
        ("Adam instead of AdamW", ADAMW, stepping(AdamW, lambda part: Adam(**dict(part)))),
        ("AdamW's decay by the gradient", ADAMW, coupled),
        ("Adam's betas the other way round", ADAM, stepping(Adam, lambda part: part.but(betas=part.betas[::-1]))),
        ("Expectigrad without momentum", EXPECTI, stepping(Expectigrad, lambda part: part.but(beta=0.0))),
        ("Adam instead of Expectigrad", EXPECTI, stepping(Expectigrad, lambda part: Adam(lr=part.lr))),
        ("augmentation ignored", TINY, text(SERVED, SERVED.replace("spec.augment", "()"))),
        ("augmentation does nothing", TINY, method(Shift, "__call__", lambda self, x, rng: x)),
        ("flipped, though nothing says so", TINY, text(NUMBER, f"{NUMBER}; x = x.flip(3)")),
        (
            "streams of another seed",
            TINY,
            text("    rng = streams(seed)\n    images", "    rng = streams(1)\n    images"),
        ),
        ("labels of other images", TINY, text("task.targets(labels, ", "task.targets(labels.flip(0), ")),
        ("the optimizer never steps", TINY, text(STEP, "run.optimizer.zero_grad()")),
        ("gradients are never cleared", TINY, text(STEP, "run.optimizer.step()")),
        ("half a rate", TINY, text(RATE, RATE.replace("peak", "0.5 * peak"))),
        (
            "cut by 2 instead of 10",
            TINY,
            method(Step, "factor", lambda self, step, w, total: 0.5 ** (4 * step // total)),
        ),
        ("an epoch is left out", TINY, text("run.epoch < spec.epochs", "run.epoch < spec.epochs - 1")),
        ("everything trains while evaluating", TINY, text("    model.eval()\n", "")),
        ("only the whole is told to evaluate", TINY, text("    model.eval()\n", "    model.training = False\n")),
        ("the passes of a step are not averaged", SMALL, text("loss * (len(z) / images)", "loss")),
        (
            "a step is one pass of its own",
            SMALL,
            text(PASSES, "[(x[:size], y[:size], labels[:size])]"),
        ),
        (
            "the passes are not small",
            SMALL,
            text("size = spec.microbatch or len(x)", "size = len(x)"),
        ),
        ("weights as torch draws them", TINY, drawn(None)),
        ("torch's gain", TINY, drawn(lambda m: 1 / np.sqrt(m.weight[0].numel()))),
        ("Xavier's a times √2", TINY, drawn(lambda m: 2**0.5 * xavier(m))),
        ("Xavier's variance from a normal", TINY, drawn(lambda m: xavier(m) / 3**0.5, "normal")),
        ("Xavier's a without the kernel's area", TINY, drawn(lambda m: xavier(m) * m.weight[0, 0].numel() ** 0.5)),
        ("biases of 0.01", TINY, drawn(xavier, bias=0.01)),
        ("a diverged run of a trick that does nothing", DIVERGES, smoothing(lambda self, y: y)),
    ],
}
