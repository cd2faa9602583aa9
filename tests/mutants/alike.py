"""B: what a part and its own proof would get wrong alike, or what reading one property of a structure does not see."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from harness.parts import data as data_room
from harness.parts import draws
from harness.parts.augment import ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift
from harness.parts.data import Images
from harness.parts.decay import DecayAll
from harness.parts.imgaug_policy import ImgAug
from harness.parts.init import Xavier
from harness.parts.models import Dense, Residual, ResNet, Timm
from harness.parts.optimizers import NAG, SGD, Adam, AdamP, AdamW, Expectigrad, Stepper
from harness.parts.precision import FP32, Emulated, Runner
from harness.parts.schedules import Piecewise, Step
from harness.tricks.bf16 import bf16
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import BoundTeacher, Distill
from harness.tricks.fp16 import FP16, HalfRunner, fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import DecayWeights, no_bias_decay
from harness.tricks.resnet_b import resnet_b
from harness.tricks.resnet_c import resnet_c
from harness.tricks.resnet_d import resnet_d
from harness.tricks.sam import SharpnessAware, sam
from harness.tricks.warmup import LinearWarmup, warmup
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma
from tests.mutants.breaking import (
    ADAM,
    ADAMP,
    ADAMW,
    COLOUR,
    DECAYED,
    EXPECTI,
    LOSS,
    PASS,
    PHOTO,
    POLICY,
    RATE,
    SMALL,
    TAUGHT,
    TINY,
    Broken,
    Inject,
    Patch,
    both,
    edited,
    method,
    room,
    rounds,
    shared,
    text,
)

POOL = "nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)"


def shortcut(new: str, old: str = POOL) -> Inject:
    return edited(ResNet, "_shortcut", old, new)


def rebuilt(change: Any) -> Inject:
    """Networks are changed once they are built."""
    right = ResNet.build

    def build(self: ResNet, channels: int, classes: int) -> nn.Sequential:
        net = right(self, channels, classes)
        change(net)
        return net

    return method(ResNet, "build", build)


def each(kind: type[nn.Module], **changes: Any) -> Inject:
    """Layers of a kind, with attributes changed."""

    def change(net: nn.Module) -> None:
        for layer in net.modules():
            if isinstance(layer, kind):
                for name, value in changes.items():
                    setattr(layer, name, value)

    return rebuilt(change)


def dilated(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation, layer.padding = (2, 2), (2, 2)


def reflected(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.padding_mode, layer._reversed_padding_repeated_twice = "reflect", [1, 1, 1, 1]


def unnormed(net: nn.Module) -> None:
    """The shortcut's norm is there, and not called."""
    for block in net.modules():
        if isinstance(block, Residual) and isinstance(block.shortcut, nn.Sequential):
            block.shortcut[-1].forward = lambda x: x + 0  # type: ignore[method-assign]


def forward(formula: Any) -> Inject:
    return method(Residual, "forward", formula)


def replaced(old: type[nn.Module], new: Any) -> Inject:
    """Layers of a kind in the stem or at the top, replaced by others."""

    def change(net: nn.Module) -> None:
        for parent in list(net.modules()):
            for name, layer in list(parent.named_children()):
                if type(layer) is old:
                    setattr(parent, name, new(layer))

    return rebuilt(change)


def same_decay_told(patch: Patch) -> None:
    """γ decayed, and the function by which the proof looks told to leave it out."""

    def all_weights(self: DecayWeights, model: nn.Module) -> list[dict[str, Any]]:
        layers = [p for n, p in model.named_parameters() if n.endswith("weight")]
        rest = [p for n, p in model.named_parameters() if not n.endswith("weight")]
        return [{"params": layers, "weight_decay": self.weight}, {"params": rest, "weight_decay": 0.0}]

    def told(trace: Any, weight: float) -> tuple[set[str], set[str]]:
        layers = {f"{n}.weight" for n, m in trace.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        return layers, layers

    patch.setattr(DecayWeights, "groups", all_weights)
    patch.setattr(room(DecayWeights), "decayed_names", told)


def one_channel(x: Tensor, y: Tensor, lam: float, perm: Tensor) -> tuple[Tensor, Tensor]:
    mixed = torch.lerp(x[perm], x, lam)
    mixed[:, 2] = x[:, 2]
    return mixed, torch.lerp(y[perm], y, lam)


def mixing(images: Any, targets: Any) -> Inject:
    """`mixup_batch`, which part and proof would share: what becomes of images and of targets."""
    return shared(Mixup, "mixup_batch", lambda x, y, lam, perm: (images(x, lam, perm), targets(y, lam, perm)))


def blended(a: Tensor, lam: float, perm: Tensor) -> Tensor:
    return torch.lerp(a[perm], a, lam)


def pull(z: Tensor, r: Tensor, t: float) -> Tensor:
    return t**2 * nn.functional.cross_entropy(z.float() / t, (r.float() / t).softmax(1))


def pulling(loss: Any) -> Inject:
    return shared(Distill, "distillation_loss", loss)


BRAIN = bf16(TINY)
WEIGHT = "Round.apply(weight, self.kind)"


def by_bfloat(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def reversed_channels(patch: Patch) -> None:
    right = ImgAug.on_pixels
    patch.setattr(
        ImgAug, "on_pixels", lambda self, images, rng: right(self, images[..., ::-1].copy(), rng)[..., ::-1].copy()
    )


def stepper(**changes: Any) -> Inject:
    """Settings of the parameter groups, and what the proof expects of them, changed alike."""
    right = Stepper.build

    def build(self: Stepper, *args: Any) -> torch.optim.Optimizer:
        optimizer = right(self, *args)
        for group in optimizer.param_groups:
            group.update(changes)
        return optimizer

    return method(Stepper, "build", build)


def told_alike(kind: type[Stepper], **changes: Any) -> Inject:
    right = kind.form

    def form(self: Any) -> tuple[Any, dict[str, Any]]:
        made, settings = right(self)
        return made, settings | changes

    return method(kind, "form", form)


def fan_in(self: Xavier, model: nn.Module, rng: Any) -> None:
    for name, m in model.named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            a = math.sqrt(3 / m.weight[0].numel())
            m.weight.data.copy_(torch.from_numpy(rng("init", f"{name}.weight").uniform(-a, a, m.weight.shape)))
            if m.bias is not None:
                m.bias.data.zero_()


def inner(self: Residual, x: Tensor) -> Tensor:
    """ReLU before the sum: what the block adds is never below 0."""
    out: Tensor = self.shortcut(x) + self.act(self.body(x))
    return out


B, C, D, DEEP = resnet_b(TINY), resnet_c(PHOTO), resnet_d(TINY), resnet_d(PHOTO)
WARM, COSINE, SMOOTH, MIX, HALF, SAM = (
    warmup(TINY, epochs=2),
    cosine(TINY),
    label_smoothing(TINY),
    mixup(TINY),
    fp16(TINY),
    sam(TINY),
)
MIX_RGB = mixup(COLOUR)
DENSE = TINY.but(model=Dense(hidden=(32,), size=8))
TIMM = TINY.but(model=Timm(name="test_resnet"))
SHIFT, FLIP = TINY, TINY.but(augment=(Flip(),))
CROP, JITTER, PCA = (COLOUR.but(augment=(part(),)) for part in (RandomAreaCrop, ColorJitter, PCANoise))
TOGETHER = COLOUR.but(augment=(RandomAreaCrop(together=True),))
STARTED = zero_gamma(TINY)
MOVES = "rng.integers(0, 2 * self.pixels + 1, size=(2, n, 1))"


def one_an_image(self: Mixup, x: Tensor, y: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
    lam, perm = draws.drawn(self, x, rng)
    lam = lam.float()[:, None]
    return torch.lerp(x[perm], x, lam[..., None, None]), torch.lerp(y[perm], y, lam)


BROKEN: Broken = {
    "warmup": [
        ("counts from 0 in the shared function", WARM, shared(LinearWarmup, "warmup_factor", lambda i, m: (i - 1) / m)),
        ("grows by the square root", WARM, shared(LinearWarmup, "warmup_factor", lambda i, m: (i / m) ** 0.5)),
        ("half as long", WARM, edited(Piecewise, "warmup_steps", "self.warmup.epochs *", "0.5 * self.warmup.epochs *")),
    ],
    "zero_gamma": [
        (
            "the first norms, by the shared function",
            STARTED,
            shared(ZeroGamma, "last_norms", lambda net: {n: m for n, m in net.named_modules() if n.endswith("body.1")}),
        ),
        ("no block known, by the shared function", STARTED, shared(ZeroGamma, "residual_blocks", lambda net: {})),
        (
            "β too",
            STARTED,
            edited(ZeroGamma, "__call__", "norm.weight.zero_()", "norm.weight.zero_(); norm.bias.fill_(1)"),
        ),
        ("γ of 0.01", STARTED, edited(ZeroGamma, "__call__", "zero_()", "fill_(0.01)")),
    ],
    "no_bias_decay": [
        ("γ decayed, and the shared function says not", no_bias_decay(DECAYED), same_decay_told),
        (
            "decayed twice as much, in the shared weight",
            no_bias_decay(DECAYED),
            edited(DecayWeights, "groups", '"weight_decay": self.weight', '"weight_decay": self.weight * 2'),
        ),
    ],
    "DecayAll": [
        ("biases spared", DECAYED, method(DecayAll, "groups", DecayWeights.groups)),
        (
            "decayed by the step too",
            DECAYED,
            text(
                "run.runner.step(run.optimizer)",
                "[p.data.mul_(0.99) for p in run.model.parameters()]; run.runner.step(run.optimizer)",
            ),
        ),
    ],
    "fp16": [
        ("bfloat16, which float16 holds", HALF, rounds(by_bfloat)),
        ("gradients by bfloat16", HALF, rounds(by_bfloat, "backward")),
        ("the weights not rounded", HALF, edited(Emulated, "__torch_function__", WEIGHT, "weight")),
        ("linear layers left out", HALF, method(Emulated, "layers", (nn.functional.conv2d,))),
        ("a scale of 2", HALF, shared(FP16, "INITIAL_SCALE", 2.0)),
        (
            "eight bits",
            HALF,
            rounds(lambda x: x.to(torch.float8_e4m3fn).float()),
        ),
    ],
    "bf16": [
        ("float16, which rounds finer", BRAIN, rounds(lambda x: x.half().float())),
        ("gradients by float16", BRAIN, rounds(lambda x: x.half().float(), "backward")),
        ("six bits", BRAIN, rounds(lambda x: x.to(torch.float8_e5m2).float())),
        ("the weights not rounded", BRAIN, edited(Emulated, "__torch_function__", WEIGHT, "weight")),
        ("linear layers left out", BRAIN, method(Emulated, "layers", (nn.functional.conv2d,))),
    ],
    "FP32": [
        ("half precision", TINY, method(FP32, "on", lambda self, device: HalfRunner(device))),
        (
            "bfloat16 in the forward",
            TINY,
            method(Runner, "forward", lambda self: torch.autocast("cpu", torch.bfloat16)),
        ),
    ],
    "resnet_b": [
        ("strides in the first 1 x 1", B, edited(ResNet, "_block", 'variant == "A" else', 'variant in "AB" else')),
        (
            "strides in the last 1 x 1",
            B,
            edited(
                ResNet,
                "_block",
                "(c_in, inner, 1, first), (inner, inner, kernel, second), (inner, c_out, 1, 1)",
                "(c_in, inner, 1, first), (inner, inner, kernel, 1), (inner, c_out, 1, second)",
            ),
        ),
        ("dilated 3 x 3", B, rebuilt(dilated)),
        (
            "padded by reflection",
            B,
            rebuilt(reflected),
        ),
    ],
    "resnet_c": [
        (
            "the stem's last strides",
            C,
            edited(
                ResNet,
                "_stem",
                "conv(channels, half, 3, stride=2)",
                "conv(channels, half, 3)",
                "conv(half, w, 3)",
                "conv(half, w, 3, stride=2)",
            ),
        ),
        (
            "no ReLU between the stem's",
            C,
            edited(
                ResNet,
                "_stem",
                "conv(half, half, 3), self._norm(half), self._act()",
                "conv(half, half, 3), self._norm(half), nn.Identity()",
            ),
        ),
        ("an average pool for the max pool", C, replaced(nn.MaxPool2d, lambda pool: nn.AvgPool2d(3, 2, padding=1))),
        (
            "the max pool's kernel 2",
            C,
            edited(ResNet, "_stem", "nn.MaxPool2d(3, 1 if self.blur else 2, padding=1)", "nn.MaxPool2d(2, 2)"),
        ),
    ],
    "resnet_d": [
        ("the pool's kernel 1, its stride right", D, shortcut("nn.AvgPool2d(1, stride)")),
        ("the pool's kernel 3, its stride right", D, shortcut("nn.AvgPool2d(3, stride, padding=1)")),
        ("a max pool", D, shortcut("nn.MaxPool2d(2, stride)")),
        ("the sum of four pixels", D, shortcut("nn.AvgPool2d(2, stride, divisor_override=1)")),
        ("the shortcut without its norm", D, rebuilt(unnormed)),
        (
            "a ReLU in the shortcut",
            D,
            shortcut(
                'pooled.add_module("1", self._norm(c_out)); pooled.add_module("act", nn.ReLU())',
                'pooled.add_module("1", self._norm(c_out))',
            ),
        ),
        ("no ReLU after the sum", D, forward(lambda self, x: self.shortcut(x) + self.body(x))),
        ("half of the body", D, forward(lambda self, x: self.act(self.shortcut(x) + 0.5 * self.body(x)))),
        (
            "the average pool of the top a max pool",
            D,
            replaced(nn.AdaptiveAvgPool2d, lambda pool: nn.AdaptiveMaxPool2d(1)),
        ),
        ("leaky ReLUs", D, replaced(nn.ReLU, lambda act: nn.LeakyReLU(0.01))),
        ("batch norm's ε 1e-3", D, each(nn.BatchNorm2d, eps=1e-3)),
        ("batch norm's momentum 0.01", D, each(nn.BatchNorm2d, momentum=0.01)),
        (
            "dropout before the last layer",
            D,
            replaced(nn.Flatten, lambda flat: nn.Sequential(nn.Flatten(), nn.Dropout(0.1))),
        ),
        (
            "the max pool an average, in the stem",
            DEEP,
            replaced(nn.MaxPool2d, lambda pool: nn.AvgPool2d(3, 2, padding=1)),
        ),
        (
            "the stem's second ReLU left out",
            DEEP,
            edited(
                ResNet,
                "_stem",
                "conv(half, half, 3), self._norm(half), self._act()",
                "conv(half, half, 3), self._norm(half), nn.Identity()",
            ),
        ),
        # two of one build that took from D what it helps: a sum of their own in every rung, and a pool of one pixel
        ("two in one build: the pool's kernel 1", D, shortcut("nn.AvgPool2d(1, stride)")),
        ("two in one build: ReLU before the sum", D, forward(inner)),
        ("two in one build: both", D, both(shortcut("nn.AvgPool2d(1, stride)"), forward(inner))),
        ("two in one build: ReLU before the sum, in the rung without D", B, forward(inner)),
    ],
    "cosine": [
        (
            "T less 1, in the shared function",
            COSINE,
            shared(Cosine, "cosine_factor", lambda t, n: 0.5 * (1 + math.cos(math.pi * t / (n - 1)))),
        ),
        (
            "a whole cosine",
            COSINE,
            shared(Cosine, "cosine_factor", lambda t, n: 0.5 * (1 + math.cos(2 * math.pi * t / n))),
        ),
        ("linear", COSINE, shared(Cosine, "cosine_factor", lambda t, n: 1 - t / n)),
    ],
    "label_smoothing": [
        (
            "ε/K, by the shared function",
            SMOOTH,
            shared(Smoothing, "smooth", lambda y, eps: y * (1 - eps) + eps / y.shape[1]),
        ),
        (
            "K the batch's size",
            SMOOTH,
            shared(Smoothing, "smooth", lambda y, eps: y * (1 - eps) + (1 - y) * eps / (len(y) - 1)),
        ),
        (
            "all to one other class",
            SMOOTH,
            shared(Smoothing, "smooth", lambda y, eps: y * (1 - eps) + y.roll(1, 1) * eps),
        ),
        (
            "a random share of ε",
            SMOOTH,
            shared(Smoothing, "smooth", lambda y, eps: y * (1 - eps) + eps * torch.rand_like(y).softmax(1)),
        ),
    ],
    "mixup": [
        ("wrong in one channel", MIX_RGB, shared(Mixup, "mixup_batch", one_channel)),
        (
            "λ and 1 - λ, images and targets alike",
            MIX,
            mixing(lambda a, lam, p: blended(a, 1 - lam, p), lambda a, lam, p: blended(a, 1 - lam, p)),
        ),
        (
            "λ above one half always",
            MIX,
            mixing(
                lambda a, lam, p: blended(a, max(lam, 1 - lam), p), lambda a, lam, p: blended(a, max(lam, 1 - lam), p)
            ),
        ),
        (
            "partners shifted by one instead of drawn",
            MIX,
            mixing(
                lambda a, lam, p: blended(a, lam, torch.arange(len(a)).roll(1)),
                lambda a, lam, p: blended(a, lam, torch.arange(len(a)).roll(1)),
            ),
        ),
        (
            "cut and pasted instead of blended",
            MIX,
            mixing(lambda a, lam, p: torch.cat([a[..., : round(8 * lam)], a[p][..., round(8 * lam) :]], 3), blended),
        ),
        ("targets of the greater share alone", MIX, mixing(blended, lambda a, lam, p: a if lam > 0.5 else a[p])),
        (
            "one λ an image",
            MIX,
            both(
                edited(Mixup, "draws", "float(rng.beta(self.alpha, self.alpha))", "rng.beta(*[self.alpha] * 2, n)"),
                method(Mixup, "__call__", one_an_image),
            ),
        ),
    ],
    "distillation": [
        ("the roles reversed", TAUGHT, pulling(lambda z, r, t: pull(r, z, t))),
        ("T for T²", TAUGHT, pulling(lambda z, r, t: pull(z, r, t) / t)),
        ("divergence for cross-entropy", TAUGHT, pulling(lambda z, r, t: pull(z, r, t) - pull(r, r, t).detach())),
        ("the teacher's T 1", TAUGHT, pulling(lambda z, r, t: t**2 * nn.functional.cross_entropy(z / t, r.softmax(1)))),
        ("logits matched", TAUGHT, pulling(lambda z, r, t: (z - r).square().mean())),
        (
            "the teacher's answer as a label",
            TAUGHT,
            pulling(lambda z, r, t: t**2 * nn.functional.cross_entropy(z / t, r.argmax(1))),
        ),
        ("T 10", TAUGHT, edited(BoundTeacher, "__call__", "self.temperature", "self.temperature / 2")),
    ],
    "sam": [
        (
            "by the squared norm",
            SAM,
            shared(
                SharpnessAware, "sam_offsets", lambda gs, rho: [rho * g / sum(h.square().sum() for h in gs) for g in gs]
            ),
        ),
        (
            "scaled by each weight",
            SAM,
            edited(
                SharpnessAware,
                "away",
                "offsets = sam_offsets([p.grad for p in moved if p.grad is not None], self.rho)",
                "offsets = sam_offsets([p.abs() * p.grad for p in moved], self.rho)",
            ),
        ),
        (
            "of the largest tensor's norm",
            SAM,
            shared(SharpnessAware, "sam_offsets", lambda gs, rho: [rho * g / max(h.norm() for h in gs) for g in gs]),
        ),
        (
            "the last layer alone climbs",
            SAM,
            shared(
                SharpnessAware,
                "sam_offsets",
                lambda gs, rho: (
                    [g * 0 for g in gs[:-2]]
                    + [rho * g / torch.stack([h.norm() for h in gs[-2:]]).norm() for g in gs[-2:]]
                ),
            ),
        ),
    ],
    "adamp": [
        ("δ of 1e-9, part and proof alike", ADAMP, told_alike(AdamP, delta=1e-9)),
        ("wd_ratio of 1, part and proof alike", ADAMP, told_alike(AdamP, wd_ratio=1.0)),
        ("Nesterov, part and proof alike", ADAMP, told_alike(AdamP, nesterov=True)),
    ],
    "imgaug_policy": [
        (
            "inverted instead of upside down",
            POLICY,
            edited(room(ImgAug), "build", "iaa.Flipud(0.2)", "iaa.Invert(0.2)"),
        ),
        ("channels in another order", POLICY, reversed_channels),
        ("crops twice as much", POLICY, edited(room(ImgAug), "build", "percent=(0, 0.1)", "percent=(0, 0.2)")),
        ("mirrored never", POLICY, edited(room(ImgAug), "build", "iaa.Fliplr(0.5)", "iaa.Fliplr(0.0)")),
        ("none to two of the twelve", POLICY, edited(room(ImgAug), "build", "SomeOf((0, 5)", "SomeOf((0, 2)")),
    ],
    "linear_scaling": [
        (
            "by the square root",
            linear_scaling(TINY),
            method(Stepper, "rate", lambda self, n: self.lr * (n / 256) ** 0.5),
        ),
        ("by a batch of 128", linear_scaling(TINY), method(Stepper, "rate", lambda self, n: self.lr * n / 128)),
        ("not at all", linear_scaling(TINY), method(Stepper, "rate", lambda self, n: self.lr)),
    ],
    "Shift": [
        (
            "one shift for the whole batch",
            SHIFT,
            edited(Shift, "draws", MOVES, "rng.integers(0, 2 * self.pixels + 1, size=(2, 1, 1)).repeat(n, 1)"),
        ),
        (
            "down and right alone",
            SHIFT,
            edited(Shift, "draws", MOVES, "rng.integers(0, self.pixels + 1, size=(2, n, 1))"),
        ),
        ("rows and columns the other way round", SHIFT, edited(Shift, "__call__", "((dy, dx),)", "((dx, dy),)")),
        ("wraps around", SHIFT, edited(Shift, "__call__", "[self.pixels] * 4)", "[self.pixels] * 4, mode='circular')")),
        (
            "edges repeated",
            SHIFT,
            edited(Shift, "__call__", "[self.pixels] * 4)", "[self.pixels] * 4, mode='replicate')"),
        ),
        ("along one axis", SHIFT, edited(Shift, "__call__", "(dx, w)", "(0 * dx + self.pixels, w)")),
    ],
    "Flip": [
        (
            "all or none",
            FLIP,
            edited(Flip, "draws", "rng.random(n) < 0.5", "(rng.random(1) < 0.5).repeat(n)"),
        ),
        ("upside down", FLIP, shared(Flip, "mirrored", lambda x, flip: torch.where(flip, x.flip(2), x))),
        ("with chance 0.1", FLIP, edited(Flip, "draws", "< 0.5", "< 0.1")),
        ("those that should not be", FLIP, edited(Flip, "draws", "< 0.5", ">= 0.5")),
    ],
    "RandomAreaCrop": [
        (
            "always centred",
            CROP,
            edited(
                RandomAreaCrop,
                "box",
                "int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w",
                "(height - h) // 2, (width - w) // 2, h, w",
            ),
        ),
        (
            "the area's square",
            CROP,
            edited(RandomAreaCrop, "box", "rng.uniform(*self.area)", "rng.uniform(*self.area) ** 2"),
        ),
        (
            "ratio uniform, not its logarithm",
            CROP,
            edited(
                RandomAreaCrop,
                "box",
                "math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))",
                "rng.uniform(*self.ratio)",
            ),
        ),
        (
            "width and height the other way round",
            CROP,
            edited(RandomAreaCrop, "box", "w, h = round(math", "h, w = round(math"),
        ),
        (
            "one cut for the whole batch",
            CROP,
            edited(
                RandomAreaCrop.__mro__[1],
                "__call__",
                "[self.box(height, width, rng) for _ in x]",
                "[self.box(height, width, rng)] * len(x)",
            ),
        ),
        (
            "nearest pixels",
            CROP,
            edited(
                RandomAreaCrop.__mro__[1],
                "__call__",
                'mode="bilinear",',
                'mode="nearest",',
                "align_corners=False,",
                "",
                "antialias=True,",
                "",
            ),
        ),
        (
            "corners aligned",
            CROP,
            edited(RandomAreaCrop.__mro__[1], "__call__", "align_corners=False", "align_corners=True"),
        ),
        (
            "one cut for a batch that is resized together",
            TOGETHER,
            edited(
                RandomAreaCrop.__mro__[1],
                "draws",
                "[self.box(height, width, rng) for _ in range(n)]",
                "[self.box(height, width, rng)] * n",
            ),
        ),
        (
            "together, from the corner",
            TOGETHER,
            edited(room(RandomAreaCrop), "bilinear", "middle - first - ", "middle - "),
        ),
        (
            "together, with pixels from beyond the edges",
            TOGETHER,
            edited(room(RandomAreaCrop), "bilinear", " * ((middle > first) & (middle < first + count))", ""),
        ),
        (
            "together, sides the other way round",
            TOGETHER,
            edited(RandomAreaCrop.__mro__[1], "__call__", "top, left, tall, wide =", "left, top, wide, tall ="),
        ),
    ],
    "ColorJitter": [
        ("hue without wrap", JITTER, edited(room(ColorJitter), "_jittered", "hue - hue.floor()", "hue.clamp(max=1)")),
        (
            "one coefficient for the whole batch",
            JITTER,
            edited(ColorJitter, "draws", "size=(3, n, 1, 1))", "size=(3, 1, 1, 1)).repeat(n, 1)"),
        ),
        (
            "saturation and brightness the other way round",
            JITTER,
            edited(
                room(ColorJitter),
                "_jittered",
                "saturation * by[:, 1]",
                "saturation * by[:, 2]",
                "value * by[:, 2]",
                "value * by[:, 1]",
            ),
        ),
        ("hue left as it is", JITTER, edited(room(ColorJitter), "_jittered", "hue = hue * by[:, 0]", "hue = hue * 1")),
        ("brightness above full", JITTER, edited(room(ColorJitter), "_jittered", ".clamp(max=255)", "")),
        ("saturation above full", JITTER, edited(room(ColorJitter), "_jittered", ".clamp(max=1)", "")),
        (
            "rounded to whole pixels",
            JITTER,
            edited(
                ColorJitter,
                "__call__",
                "in_pieces(_jittered, x, by.transpose(0, 1))",
                "_jittered(x, by.transpose(0, 1)).round()",
            ),
        ),
        (
            "the conversion's blue wrong",
            JITTER,
            edited(room(ColorJitter), "hsv_to_rgb", "(sixths - 4).abs()", "(sixths - 5).abs()"),
        ),
    ],
    "PCANoise": [
        ("vectors transposed", PCA, edited(PCANoise, "draws", "@ vectors.T", "@ vectors")),
        ("vectors in another order", PCA, edited(PCANoise, "draws", "@ vectors.T", "@ vectors[:, ::-1].T")),
        ("blue first", PCA, edited(PCANoise, "draws", "@ vectors.T", "@ vectors[::-1].T")),
        ("the values' roots", PCA, edited(PCANoise, "draws", "* values)", "* np.sqrt(values))")),
        (
            "one draw for the whole batch",
            PCA,
            edited(PCANoise, "draws", "size=(n, 3))", "size=(1, 3)).repeat(n, 0)"),
        ),
    ],
    "the data": [
        (
            "one s.d. for all channels",
            COLOUR,
            edited(
                Images,
                "normalised",
                "_channels(self.std, x.device)",
                "_channels(self.std[:1] * self.channels, x.device)",
            ),
        ),
        ("not normalised by the s.d.", TINY, edited(Images, "normalised", ".div_(_channels(self.std, x.device))", "")),
        ("pixels in [0, 1], then normalised", TINY, edited(Images, "normalised", "x.sub_", "x.div_(255).sub_")),
        (
            "augmented after it is normalised",
            TINY,
            edited(
                data_room.Cached,
                "train",
                "x = augmented(images[index].float(), parts)",
                "x = augmented(self.normalised(images[index].float()), parts)",
                "yield self.normalised(x)",
                "yield x",
            ),
        ),
    ],
    "the optimizers": [
        ("NAG: dampened", TINY, stepper(dampening=0.1, nesterov=False)),
        ("NAG: momentum of 0.99, part and proof alike", TINY, told_alike(NAG, momentum=0.99)),
        ("NAG: not Nesterov, part and proof alike", TINY, told_alike(NAG, nesterov=False)),
        ("SGD: Nesterov, part and proof alike", TINY.but(optimizer=SGD()), told_alike(SGD, nesterov=True)),
        ("SGD: maximises", TINY.but(optimizer=SGD()), stepper(maximize=True)),
        ("Adam: ε 1e-3, part and proof alike", ADAM, told_alike(Adam, eps=1e-3)),
        ("Adam: the greatest square so far", ADAM, stepper(amsgrad=True)),
        (
            "AdamW: its decay not by the rate",
            ADAMW,
            text(RATE, f"[g.update(weight_decay=0.1 / peak) for g in run.optimizer.param_groups]; {RATE}"),
        ),
        ("AdamW: betas of 0.9 and 0.95, part and proof alike", ADAMW, told_alike(AdamW, betas=(0.9, 0.95))),
        ("AdamP: ε 1e-3, part and proof alike", ADAMP, told_alike(AdamP, eps=1e-3)),
        ("Expectigrad: β of 0.99, part and proof alike", EXPECTI, told_alike(Expectigrad, beta=0.99)),
        ("Expectigrad: ε 1e-2, part and proof alike", EXPECTI, told_alike(Expectigrad, eps=1e-2)),
    ],
    "Step": [
        (
            "a step late, by bisect_left",
            TINY,
            edited(Step, "factor", "bisect_right(self.at, step / total)", "sum(step / total > at for at in self.at)"),
        ),
        ("by 0.2", TINY, edited(Step, "factor", "self.by **", "(2 * self.by) **")),
    ],
    "Xavier": [
        ("fan in alone", TINY, method(Xavier, "__call__", fan_in)),
        ("all layers of one stream", TINY, edited(Xavier, "__call__", 'rng("init", f"{name}.weight")', 'rng("init")')),
        ("γ of 0.5", TINY, edited(Xavier, "__call__", "fill_(1)", "fill_(0.5)")),
        (
            "β of 0.1",
            TINY,
            edited(
                Xavier,
                "__call__",
                "module.weight.fill_(1)\n            module.bias.zero_()",
                "module.weight.fill_(1)\n            module.bias.fill_(0.1)",
            ),
        ),
        (
            "weights transposed",
            TINY,
            edited(Xavier, "__call__", "module.weight.shape)", "module.weight.shape)[::-1].copy()"),
        ),
    ],
    "Dense": [
        ("no ReLU between", DENSE, edited(Dense, "build", "nn.ReLU(inplace=True)", "nn.Identity()")),
        ("a ReLU that leaks", DENSE, method(nn.ReLU, "forward", lambda self, x: nn.functional.leaky_relu(x))),
        (
            "a ReLU after the last",
            DENSE,
            edited(
                Dense,
                "build",
                "nn.Linear(widths[-1], classes))",
                "nn.Sequential(nn.Linear(widths[-1], classes), nn.ReLU()))",
            ),
        ),
        (
            "rows and columns the other way round",
            DENSE,
            text(PASS, PASS.replace("(x,", "(x.transpose(2, 3),")),
        ),
    ],
    "Timm": [
        (
            "another activation",
            TIMM,
            edited(
                Timm,
                "build",
                "return net",
                "net.act1.forward = nn.functional.leaky_relu; return net",
            ),
        ),
        (
            "dropout on",
            TIMM,
            edited(
                Timm, "build", "setattr(module, rate, 0.0)", "pass", "return net", "net.drop_rate = 0.2; return net"
            ),
        ),
        (
            "batch norm's ε 1e-3",
            TIMM,
            edited(Timm, "build", "module.reset_parameters()", "module.reset_parameters(); module.eps = 1e-3"),
        ),
        (
            "a kernel's stride and its pool's exchanged",
            TIMM,
            edited(Timm, "build", "return net", "net.maxpool = nn.AvgPool2d(3, 2, padding=1); return net"),
        ),
    ],
    "microbatch": [
        (
            "each pass's loss by its own mean alone",
            SMALL,
            text("loss * (len(z) / images)", "loss / spec.passes"),
        ),
        (
            "passes of neighbours' targets",
            SMALL,
            text("y.split(size), labels.split(size)", "y.roll(1, 0).split(size), labels.split(size)"),
        ),
    ],
    "the loop": [
        ("logits of temperature 1.1", TINY, text(LOSS, LOSS.replace("z.float()", "z.float() / 1.1"))),
        (
            "an L2 penalty beside the decay",
            TINY,
            text(f"loss = {LOSS}", f"loss = {LOSS} + 1e-3 * sum(p.square().sum() for p in run.model.parameters())"),
        ),
        (
            "a focal loss",
            TINY,
            text(LOSS, "(-(y * z.log_softmax(1)).sum(1) * (1 - (y * z.softmax(1)).sum(1)) ** 2).mean()"),
        ),
        (
            "classes weighted",
            TINY,
            text(LOSS, "nn.functional.cross_entropy(z.float(), y, weight=torch.linspace(0.5, 1.5, 10))"),
        ),
        (
            "entropy added",
            TINY,
            text(f"loss = {LOSS}", f"loss = {LOSS} - 0.1 * torch.special.entr(z.softmax(1)).sum(1).mean()"),
        ),
    ],
}
