"""A: what stops, starts or changes after the first steps, at some of them, or in a part of a batch."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts import data as data_room
from harness.parts import draws
from harness.parts import imgaug_policy as imgaug_room
from harness.parts.augment import ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift
from harness.parts.imgaug_policy import ImgAug
from harness.parts.models import Residual
from harness.parts.precision import Emulated
from harness.parts.schedules import Piecewise, Step
from harness.parts.stopping import EarlyStopping
from harness.spec import Augment
from harness.tricks.bf16 import bf16
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import BoundTeacher
from harness.tricks.fp16 import HalfRunner, fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_b import resnet_b
from harness.tricks.resnet_d import resnet_d
from harness.tricks.sam import SharpnessAware, sam
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import zero_gamma
from tests.mutants.breaking import (
    ADAMP,
    ADAMW,
    CALL,
    COLOUR,
    EXPECTI,
    HELD,
    LONG,
    LOSS,
    NUMBER,
    POLICY,
    RATE,
    STEP,
    TAUGHT_LONG,
    Broken,
    Inject,
    Patch,
    augmenting_when,
    edited,
    method,
    room,
    text,
)

TARGETS, ASCENT = "for target in spec.targets:", "for part in spec.ascent:"
MIXES, NUMBERED = "for mix, draw in mixing:", "(*divmod(step, steps), None)"


def only_when(loop: str, when: str) -> Inject:
    """A loop over parts that is left out but at some steps."""
    return text(loop, f"{loop[:-1]} if {when} else ():")


def half_when(when: str) -> Inject:
    """The runner's precision at some passes, and float32 at the others."""
    forward = "with run.runner.forward():\n        z"
    return text(forward, forward.replace("()", f"() if {when} else torch.enable_grad()", 1))


def half_in(when: str) -> Inject:
    forward = "with run.runner.forward():\n        z"
    return text(forward, forward.replace("run", f"half() if {when} else run", 1), half=partial(Emulated, "float16"))


def first_half(part: type[Augment]) -> Inject:
    """The second half of each batch stays as it was."""
    right = part.__call__

    def half(self: Any, x: Tensor, rng: Any) -> Tensor:
        n = len(x) // 2
        return torch.cat([right(self, x, rng)[:n], x[n:]])

    return method(part, "__call__", half)


def from_call(start: int, owner: Any, name: str, other: Any) -> Inject:
    """Another from that call on, counted from 0: what is counted is this process's, as a programmer's counter is."""

    def inject(patch: Patch) -> None:
        right, calls = getattr(owner, name), iter(range(10**9))
        patch.setattr(owner, name, lambda *args: (other if next(calls) >= start else right)(*args))

    return inject


def half_smoothed(self: Smoothing, y: Tensor) -> Tensor:
    n = len(y) // 2
    return torch.cat([y[:n] * (0.9 - 0.1 / 9) + 0.1 / 9, y[n:]])


def half_mixed(patch: Patch) -> None:
    right = Mixup.__call__

    def mix(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
        (mixed_x, mixed_y), n = right(self, x, y, rng), len(x) // 2
        return torch.cat([mixed_x[:n], x[n:]]), torch.cat([mixed_y[:n], y[n:]])

    patch.setattr(Mixup, "__call__", mix)


def remembered(patch: Patch) -> None:
    """A teacher's answers kept by the batch's number, from the first epoch on, in which the order was another."""
    kept: dict[int, Tensor] = {}
    right = BoundTeacher.__call__

    def call(self: BoundTeacher, x: Tensor, z: Tensor) -> Tensor:
        batch = self.calls % 6
        if batch not in kept:
            kept[batch] = self.model(x).detach()
        model, self.model = self.model, lambda x: kept[batch]
        loss = right(self, x, z)
        self.model = model
        return loss

    patch.setattr(BoundTeacher, "__call__", call)


def half_taught(patch: Patch) -> None:
    right = BoundTeacher.__call__
    patch.setattr(BoundTeacher, "__call__", lambda self, x, z: right(self, x[: len(x) // 2], z[: len(x) // 2]))


def spread_of_part(part: Any, spec: Any) -> list[tuple[str, Any, Inject]]:
    """What every part of an augmentation can get wrong."""
    return [
        ("off in the last epoch", spec, augmenting_when("run.epoch < spec.epochs - 1")),
        ("on in the first epoch alone", spec, augmenting_when("run.epoch == 0")),
        (
            "off at every second batch",
            spec,
            edited(room(data_room.Cached), "ahead", "parts(epoch, places)", "parts(epoch, places)[batch % 2 :]"),
        ),
        ("half of each batch", spec, first_half(part)),
        (
            "the first epoch's draws in each",
            spec,
            edited(draws, "streamed", "(kind, epoch,", "(kind, 0,"),
        ),
        (
            "the first batch's draws in each",
            spec,
            edited(draws, "streamed", "epoch, batch, *(", "epoch, 0, *("),
        ),
    ]


def skipping(patch: Patch) -> None:
    """Stochastic depth that nobody asked for: a block without its body at every third forward."""
    calls = iter(range(10**9))

    def forward(self: Residual, x: Tensor) -> Tensor:
        body = self.body(x)
        return self.act(self.shortcut(x) + (0 * body if next(calls) % 3 == 2 else body))  # type: ignore[no-any-return]

    patch.setattr(Residual, "forward", forward)


def unpooled_later(patch: Patch) -> None:
    """The pool looks at one pixel of four from its third call on."""
    right = nn.AvgPool2d.forward
    calls = iter(range(10**9))
    patch.setattr(nn.AvgPool2d, "forward", lambda self, x: x[..., ::2, ::2] if next(calls) >= 2 else right(self, x))


def of_one_seed(self: ImgAug, images: np.ndarray, rng: Any) -> np.ndarray:
    """Each image of a batch augmented alike."""
    augmenter, seed = imgaug_room.policy(self.groups), int(rng.integers(2**63))
    made = []
    with imgaug_room.undisturbed():
        for image in images:
            augmenter.seed_(seed)
            made.append(augmenter.augment_image(image))
    return np.stack(made)


def pool_of_draws(patch: Patch) -> None:
    """Policies are seeded once a process: the batches after the first go on with its draws."""
    seeded = []

    def on_pixels(self: ImgAug, images: np.ndarray, rng: Any) -> np.ndarray:
        augmenter = imgaug_room.policy(self.groups)
        if not seeded:
            augmenter.seed_(int(rng.integers(2**63)))
            seeded.append(True)
        with imgaug_room.undisturbed():
            return np.stack([augmenter.augment_image(image) for image in images])

    patch.setattr(ImgAug, "on_pixels", on_pixels)


GROUPS = "run.optimizer.param_groups"
SMOOTH, MIX, HALF, D = label_smoothing(LONG), mixup(LONG), fp16(LONG), resnet_d(LONG)
WARM, COSINE, SAM, SMALL = warmup(LONG, epochs=2), cosine(LONG), sam(LONG), LONG.but(microbatch=40)
ONCE = "if run.epoch == 0"
AT_EPOCH = f"{NUMBER}\n        if run.batch == 0:\n            "
BROKEN: Broken = {
    "warmup": [
        ("right for 2 steps, then the peak", WARM, edited(Piecewise, "factor", "< warmup:", "< min(warmup, 2):")),
        ("starts again each epoch", WARM, text(RATE, RATE.replace("(step,", "(run.batch,"))),
        ("its last step left out", WARM, edited(Piecewise, "factor", "< warmup:", "< warmup - 1:")),
        ("set at every second batch", WARM, text(RATE, f"step % 2 or {RATE}")),
    ],
    "zero_gamma": [
        (
            "set to 0 again at each epoch",
            zero_gamma(LONG),
            text(NUMBER, f"{AT_EPOCH}[p.data.zero_() for n, p in run.model.named_parameters() if 'body.7.w' in n]"),
        ),
        (
            "set to 1 after the first step",
            zero_gamma(LONG),
            text(
                STEP, f"{STEP}; step or [p.data.fill_(1) for n, p in run.model.named_parameters() if 'body.7.w' in n]"
            ),
        ),
    ],
    "no_bias_decay": [
        (
            "all decayed from the second epoch on",
            no_bias_decay(LONG),
            text(RATE, f"{RATE}; [g.update(weight_decay=spec.decay.weight) for g in {GROUPS} if run.epoch]"),
        ),
        (
            "none decayed in the second epoch",
            no_bias_decay(LONG),
            text(
                RATE,
                f'{RATE}; [g.setdefault("kept", g["weight_decay"]) for g in {GROUPS}]'
                f'; [g.update(weight_decay=0.0 if run.epoch == 1 else g["kept"]) for g in {GROUPS}]',
            ),
        ),
    ],
    "fp16": [
        ("off after the first epoch", HALF, half_when("run.epoch == 0")),
        ("on from the second epoch on", HALF, half_when("run.epoch")),
        ("off at every second step", HALF, half_when("run.batch % 2")),
        (
            "the loss not scaled after the first epoch",
            HALF,
            edited(
                HalfRunner,
                "backward",
                "self.scaler.scale(loss)",
                "(self.scaler.scale(loss) if self.steps < 6 else loss)",
            ),
        ),
        ("off in a step's last pass", fp16(SMALL), half_when("len(x) == spec.microbatch")),
    ],
    "bf16": [
        ("off after the first epoch", bf16(LONG), half_when("run.epoch == 0")),
        ("off at every second step", bf16(LONG), half_when("run.batch % 2")),
    ],
    "FP32": [
        ("half precision in the last epoch", LONG, half_in("run.epoch == 3")),
        ("half precision at every second step", LONG, half_in("run.batch % 2")),
    ],
    "resnet_b": [("a block left out at every third forward", resnet_b(LONG), skipping)],
    "resnet_d": [
        ("a block left out at every third forward", D, skipping),
        ("the pool looks at one pixel of four, later", D, unpooled_later),
    ],
    "cosine": [
        (
            "constant in the last epoch",
            COSINE,
            text(RATE, f"{RATE} if run.epoch < spec.epochs - 1 else set_rate(run.optimizer, run.trace.lr[-1])"),
        ),
        ("starts again each epoch", COSINE, text(RATE, RATE.replace("(step,", "(run.batch,"))),
        (
            "stops at a tenth",
            COSINE,
            method(Cosine, "factor", lambda self, t, w, n: max(0.1, np.cos(t * np.pi / 2 / n) ** 2)),
        ),
    ],
    "label_smoothing": [
        ("in the first epoch alone", SMOOTH, only_when(TARGETS, "run.epoch == 0")),
        ("off in the last epoch", SMOOTH, only_when(TARGETS, "run.epoch < spec.epochs - 1")),
        ("off at every second batch", SMOOTH, only_when(TARGETS, "run.batch % 2 == 0")),
        ("on after the first two steps", SMOOTH, only_when(TARGETS, "step > 1")),
        ("half of each batch", SMOOTH, method(Smoothing, "__call__", half_smoothed)),
        ("off from the tenth batch on", SMOOTH, from_call(9, Smoothing, "__call__", lambda self, y: y)),
    ],
    "mixup": [
        ("in the first epoch alone", MIX, only_when(MIXES, "run.epoch == 0")),
        ("off in the last epoch", MIX, only_when(MIXES, "run.epoch < spec.epochs - 1")),
        ("off at every second batch", MIX, only_when(MIXES, "run.batch % 2 == 0")),
        ("half of each batch", MIX, half_mixed),
        ("one draw an epoch", MIX, text(NUMBERED, "(step // steps, 0, None)")),
        ("the first epoch's draws in each", MIX, text(NUMBERED, "(0, step % steps, None)")),
    ],
    "distillation": [
        (
            "silent at every second batch",
            TAUGHT_LONG,
            text(CALL, "pull = teacher(x, z); loss = loss + (0 if run.batch % 2 else pull)"),
        ),
        (
            "in the first epoch alone",
            TAUGHT_LONG,
            text(CALL, f"pull = teacher(x, z); loss = loss + (pull {ONCE} else 0)"),
        ),
        ("fades", TAUGHT_LONG, text(CALL, "loss = loss + teacher(x, z) * (1 - run.epoch / spec.epochs)")),
        ("its answers remembered by batch", TAUGHT_LONG, remembered),
        ("half of each batch", TAUGHT_LONG, half_taught),
        (
            "another teacher in the second epoch",
            TAUGHT_LONG,
            text(CALL, f"run.batch or teacher.model.fc.weight.data.mul_(-1 if run.epoch in (1, 2) else 1); {CALL}"),
        ),
        (
            "learns batch norm's statistics from the second epoch on",
            TAUGHT_LONG,
            text(CALL, f"teacher.model.train(run.epoch > 0); {CALL}; teacher.model.eval()"),
        ),
    ],
    "sam": [
        ("at every second step", SAM, only_when(ASCENT, "run.batch % 2 == 0")),
        ("in the first epoch alone", SAM, only_when(ASCENT, "run.epoch == 0")),
        (
            "does not climb after 16 steps",
            SAM,
            from_call(16, room(SharpnessAware), "sam_offsets", lambda slopes, rho: [0 * g for g in slopes]),
        ),
        (
            "the second gradient of half of the batch",
            SAM,
            text(
                "deque(gradient(spec, run, x, y, labels)",
                "n = len(x) // 2; deque(gradient(spec, run, x[:n], y[:n], labels[:n])",
            ),
        ),
    ],
    "adamp": [
        (
            "projects in the first epoch alone",
            ADAMP.but(batch_size=99, epochs=4),
            text(
                STEP,
                f"[g.update(delta=0.1 * (run.epoch == 0)) for g in {GROUPS}]; {STEP}"
                f"; [g.update(delta=0.1) for g in {GROUPS}]",
            ),
        ),
    ],
    "imgaug_policy": [
        *spread_of_part(ImgAug, POLICY),
        ("all images of a batch alike", POLICY, method(ImgAug, "on_pixels", of_one_seed)),
        ("seeded once a process", POLICY, pool_of_draws),
    ],
    "linear_scaling": [
        (
            "after the first epoch not",
            linear_scaling(LONG.but(optimizer=LONG.optimizer.but(per=None))),
            text(RATE, RATE.replace("peak", f"(peak {ONCE} else spec.optimizer.lr)")),
        ),
    ],
    "Shift": spread_of_part(Shift, LONG),
    "Flip": spread_of_part(Flip, LONG.but(augment=(Flip(),))),
    "RandomAreaCrop": spread_of_part(RandomAreaCrop, COLOUR.but(augment=(RandomAreaCrop(),))),
    "ColorJitter": spread_of_part(ColorJitter, COLOUR.but(augment=(ColorJitter(),))),
    "PCANoise": spread_of_part(PCANoise, COLOUR.but(augment=(PCANoise(),))),
    "the optimizers": [
        (
            "the rate of biases halved from the second epoch on",
            LONG,
            text(STEP, f"[p.grad.mul_(0.5) for p in run.model.parameters() if p.ndim < 2 and run.epoch]; {STEP}"),
        ),
        (
            "no momentum in the last epoch",
            LONG,
            text(RATE, f"{RATE}; [g.update(momentum=0.9 * (run.epoch < 3), nesterov=run.epoch < 3) for g in {GROUPS}]"),
        ),
        (
            "no momentum in the second epoch",
            LONG,
            text(
                RATE, f"{RATE}; [g.update(momentum=0.9 * (run.epoch != 1), nesterov=run.epoch != 1) for g in {GROUPS}]"
            ),
        ),
        (
            "AdamW's decay off after the first epoch",
            ADAMW.but(batch_size=99, epochs=4),
            text(RATE, f'{RATE}; [g.update(weight_decay=g["weight_decay"] * (run.epoch == 0)) for g in {GROUPS}]'),
        ),
        (
            "Expectigrad's momentum grows",
            EXPECTI.but(batch_size=99, epochs=4),
            text(RATE, f"{RATE}; [g.update(beta=0.9 if run.epoch < 2 else 0.95) for g in {GROUPS}]"),
        ),
    ],
    "Step": [
        ("the last cut left out", LONG, method(Step, "factor", lambda self, t, w, n: 0.1 ** min(2, 4 * t // n))),
        ("each cut one step late", LONG, method(Step, "factor", lambda self, t, w, n: 0.1 ** (4 * max(0, t - 1) // n))),
    ],
    "microbatch": [
        (
            "in the first epoch alone",
            SMALL,
            text("spec.microbatch or len(x)", "spec.microbatch if run.epoch == 0 else len(x)"),
        ),
        (
            "the last pass left out of the gradient, later",
            SMALL,
            text(
                "run.runner.backward(loss)", "run.runner.backward(loss * (run.epoch == 0 or len(z) == spec.microbatch))"
            ),
        ),
    ],
    "EarlyStopping": [
        (
            "waits twice as long after the first rise",
            HELD,
            edited(EarlyStopping, "over", ">= self.patience", ">= 2 * self.patience"),
        ),
    ],
    "the loop": [
        ("cutout from the second epoch on", LONG, text(NUMBER, f"{NUMBER}; x[:, :, 2:4, 2:4] *= run.epoch == 0")),
        (
            "the loss of half of the batch at every second step",
            LONG,
            text(
                f"loss = {LOSS}",
                "n = len(z) // (1 + run.batch % 2); loss = nn.functional.cross_entropy(z[:n].float(), y[:n])",
            ),
        ),
        (
            "targets sharpened from the second epoch on",
            LONG,
            text(LOSS, "nn.functional.cross_entropy(z.float() * (1 + 0.1 * (run.epoch > 0)), y)"),
        ),
    ],
}
