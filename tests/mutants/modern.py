"""Networks whose later fields do not do what they say."""

from typing import Any

import torch
from torch import Tensor, nn

from harness.parts.models import ResNet
from harness.parts.models.pieces import (
    BigLittle,
    BlurPool,
    ChannelNorm,
    DropBlock,
    DropPath,
    LayerScale,
    SelectiveKernel,
    SqueezeExcitation,
)
from harness.tricks.big_little import big_little
from harness.tricks.blur_pool import blur_pool
from harness.tricks.depthwise_conv import depthwise_conv
from harness.tricks.depthwise_up import depthwise_up
from harness.tricks.dropblock import dropblock
from harness.tricks.dropout_on_fc import dropout_on_fc
from harness.tricks.fewer_activations import fewer_activations
from harness.tricks.fewer_norms import fewer_norms
from harness.tricks.gelu import gelu
from harness.tricks.inverted_bottleneck import inverted_bottleneck
from harness.tricks.large_kernel import large_kernel
from harness.tricks.layer_norm import layer_norm
from harness.tricks.layer_scale import layer_scale
from harness.tricks.patchify_stem import patchify_stem
from harness.tricks.selective_kernel import selective_kernel
from harness.tricks.separate_downsampling import separate_downsampling
from harness.tricks.squeeze_excitation import squeeze_excitation
from harness.tricks.stochastic_depth import stochastic_depth
from tests.mutants.alike import rebuilt
from tests.mutants.breaking import LONG, TINY, Broken, Inject, edited, method, text
from tests.mutants.first import built

DROPS, DROPOUT, SQUEEZED = stochastic_depth(LONG, rate=0.3), dropout_on_fc(LONG), squeeze_excitation(LONG)
HOLES = dropblock(LONG, rate=0.3, size=3)
TELLS = "spec.model.tell(run.model, step, steps * spec.epochs)"
CHOOSES, BLURRED, SCALED = selective_kernel(TINY), blur_pool(TINY), layer_scale(TINY, value=0.1)
LAYERED, ROUND = layer_norm(TINY), gelu(TINY)
PARTED = big_little(TINY.but(model=TINY.model.but(blocks=(3, 2, 1), width=8)))
LONG_PARTED, STEM_PARTED = LONG.but(model=PARTED.model), PARTED.but(model=PARTED.model.but(small=False))
ODD = "wide[:, :, :height, :width]"
WIDE = inverted_bottleneck(TINY.but(model=TINY.model.but(width=8)))


def swapped(kind: type[nn.Module], new: Any) -> Inject:
    """Layers of a kind are others, by a name of the module that builds them."""

    def change(net: nn.Module) -> None:
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is kind:
                    setattr(parent, name, new(child))

    return rebuilt(change)


def later(kind: type[nn.Module]) -> Inject:
    """A layer that does nothing from the tenth forward in training on."""
    right, seen = kind.forward, [0]

    def forward(self: Any, x: Tensor) -> Tensor:
        seen[0] += self.training
        made: Tensor = x if seen[0] > 20 and self.training else right(self, x)
        return made

    return method(kind, "forward", forward)


def by_batch(self: DropPath, x: Tensor) -> Tensor:
    """The whole batch or none of it."""
    if not self.training or not self.rate:
        return x
    return x * torch.empty(1, 1, 1, 1, device=x.device).bernoulli_(1 - self.rate) / (1 - self.rate)


def later_alone(patch: Any) -> None:
    """Without the little branch from some forward in training on."""
    right, seen = BigLittle.forward, [0]

    def forward(self: Any, x: Tensor) -> Tensor:
        seen[0] += self.training
        if seen[0] <= 40 or not self.training:
            return right(self, x)
        height, width = self.little(x).shape[2:]
        alone: Tensor = self.merge(self.act(self.big(x)[:, :, :height, :width]))
        return alone

    patch.setattr(BigLittle, "forward", forward)


BROKEN: Broken = {
    "dropblock": [
        ("does nothing", HOLES, method(DropBlock, "forward", lambda self, x: x)),
        (
            "single places",
            HOLES,
            edited(DropBlock, "forward", "self.size, height", "1, height", "self.size, width", "1, width"),
        ),
        ("all channels alike", HOLES, edited(DropBlock, "forward", "*x.shape[:2], *places", "len(x), 1, *places")),
        ("not as long as before", HOLES, edited(DropBlock, "forward", "(kept.numel() / kept.sum().clamp(min=1))", "1")),
        (
            "no correction at the border",
            HOLES,
            edited(DropBlock, "forward", "(high * wide * places[0] * places[1])", "(height * width * high * wide)"),
        ),
        ("in evaluation too", HOLES, edited(DropBlock, "forward", "not self.training", "False")),
        ("in the last stage alone", HOLES, edited(ResNet, "build", "{1: 1.0, 2: 0.25}", "{1: 1.0}")),
        ("at one rate in both stages", HOLES, edited(ResNet, "build", "2: 0.25", "2: 1.0")),
        (
            "the full rate from the start",
            HOLES,
            text(TELLS, TELLS.replace("step, steps", "1, 1").replace("1, 1 * spec.epochs", "1, 1")),
        ),
        ("never a rate", HOLES, text(TELLS, "pass")),
        ("the rate of an epoch", HOLES, text(TELLS, TELLS.replace("step,", "run.epoch * steps,"))),
        ("squares of another size", HOLES, edited(ResNet, "_away", "self.drop_block_size or 7", "4")),
        ("later not", HOLES, later(DropBlock)),
    ],
    "stochastic_depth": [
        ("does nothing", DROPS, method(DropPath, "forward", lambda self, x: x)),
        ("not divided by what is left", DROPS, edited(DropPath, "forward", " / (1 - self.rate)", "")),
        ("the whole batch or none", DROPS, method(DropPath, "forward", by_batch)),
        (
            "all blocks alike",
            DROPS,
            edited(ResNet, "build", "stride, float(next(rates))", "stride, self.drop_path or 0.0"),
        ),
        (
            "the first most",
            DROPS,
            edited(ResNet, "build", "np.linspace(0, self.drop_path or 0.0", "np.linspace(self.drop_path or 0.0, 0"),
        ),
        (
            "in evaluation too",
            DROPS,
            edited(DropPath, "forward", "not self.training or not self.rate", "not self.rate"),
        ),
        (
            "kept and left out the other way round",
            DROPS,
            edited(DropPath, "forward", "bernoulli_(1 - self.rate)", "bernoulli_(self.rate)"),
        ),
        ("later not", DROPS, later(DropPath)),
        (
            "the same images at each step of an epoch",
            DROPS,
            text(
                'seed_torch(rng("torch", run.epoch, run.batch, *run.ranks.own))\n        set_rate',
                'seed_torch(rng("torch", run.epoch, 0, *run.ranks.own))\n        set_rate',
            ),
        ),
    ],
    "dropout_on_fc": [
        ("does nothing", DROPOUT, method(nn.Dropout, "forward", lambda self, x: x)),
        ("left out", DROPOUT, built("build", dropout=None)),
        (
            "before the pool",
            DROPOUT,
            edited(
                ResNet,
                "build",
                '("pool", nn.AdaptiveAvgPool2d(1)), ("flatten"',
                '("pool", nn.Sequential(nn.Dropout2d(self.dropout), nn.AdaptiveAvgPool2d(1))), ("flatten"',
            ),
        ),
        ("another share", DROPOUT, swapped(nn.Dropout, lambda old: nn.Dropout(0.5))),
        ("later not", DROPOUT, later(nn.Dropout)),
    ],
    "squeeze_excitation": [
        ("does nothing", SQUEEZED, method(SqueezeExcitation, "forward", lambda self, x: x)),
        ("left out", SQUEEZED, built("build", squeeze=None)),
        ("hard sigmoid", SQUEEZED, edited(SqueezeExcitation, "forward", ".sigmoid()", ".add(3).div(6).clamp(0, 1)")),
        ("no ReLU in between", SQUEEZED, edited(SqueezeExcitation, "forward", ".relu()", "")),
        (
            "by the greatest for the mean",
            SQUEEZED,
            edited(SqueezeExcitation, "forward", "x.mean((2, 3), keepdim=True)", "x.amax((2, 3), keepdim=True)"),
        ),
        ("later not", SQUEEZED, later(SqueezeExcitation)),
    ],
    "selective_kernel": [
        ("does nothing", CHOOSES, built("build", selective=None)),
        (
            "the same kernel twice",
            CHOOSES,
            rebuilt(
                lambda net: [
                    setattr(m, "dilation", (1, 1)) or setattr(m, "padding", (1, 1))
                    for m in net.modules()
                    if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)
                ]
            ),
        ),
        (
            "half of each",
            CHOOSES,
            edited(SelectiveKernel, "forward", "shares[:, 0] * near + shares[:, 1] * far", "(near + far) / 2"),
        ),
        (
            "shares of the other",
            CHOOSES,
            edited(
                SelectiveKernel,
                "forward",
                "shares[:, 0] * near + shares[:, 1] * far",
                "shares[:, 1] * near + shares[:, 0] * far",
            ),
        ),
        ("two sigmoids", CHOOSES, edited(SelectiveKernel, "forward", ".softmax(1)", ".sigmoid()")),
    ],
    "big_little": [
        ("does nothing", PARTED, built("build", big_little=None)),
        ("no little branch", PARTED, edited(BigLittle, "forward", f"{ODD} + detailed", ODD)),
        ("no big branch", PARTED, edited(BigLittle, "forward", f"{ODD} + detailed", "detailed")),
        ("a mean of the two", PARTED, edited(BigLittle, "forward", f"{ODD} + detailed", f"({ODD} + detailed) / 2")),
        ("doubled bilinearly", PARTED, edited(ResNet, "_branches", '"nearest"', '"bilinear"')),
        ("big turned over", PARTED, edited(BigLittle, "forward", "self.big(x)", "self.big(x).transpose(2, 3)")),
        ("little of all channels", PARTED, built("_branches", big_little=(1, 4))),
        ("a stem's little of all channels", STEM_PARTED, built("_stem", big_little=(1, 4))),
        ("little of more blocks", PARTED, built("_branches", big_little=(2, 1))),
        ("an activation before the sum", PARTED, edited(ResNet, "_branches", "big[-1].act = nn.Identity()", "pass")),
        (
            "a stage strides where the next should",
            PARTED,
            edited(
                ResNet, "build", "2 if stage < len(self.blocks) - 2 else 1", "1 if stage < len(self.blocks) - 2 else 2"
            ),
        ),
        ("a max-pool in the stem", STEM_PARTED, built("_stem", big_little=None)),
        ("later no little branch", LONG_PARTED, later_alone),
    ],
    "blur_pool": [
        ("does nothing", BLURRED, built("build", blur=None)),
        ("every second pixel as it is", BLURRED, method(BlurPool, "forward", lambda self, x: x[..., ::2, ::2])),
        ("a mean of 2 x 2", BLURRED, method(BlurPool, "forward", lambda self, x: nn.functional.avg_pool2d(x, 2, 2))),
        ("zeros at the edges", BLURRED, edited(BlurPool, "forward", ', mode="reflect"', "")),
        ("a wider filter", BLURRED, swapped(BlurPool, lambda old: BlurPool(5))),
    ],
    "layer_norm": [
        ("does nothing", LAYERED, built("build", norm=None)),
        ("batch norm's ε", LAYERED, edited(ChannelNorm, "forward", "self.eps", "1e-5 + 0.01")),
        (
            "over places too",
            LAYERED,
            method(
                ChannelNorm, "forward", lambda self, x: nn.functional.group_norm(x, 1, self.weight, self.bias, self.eps)
            ),
        ),
        (
            "γ at the start is 2",
            LAYERED,
            rebuilt(lambda net: [m.weight.data.fill_(2) for m in net.modules() if isinstance(m, ChannelNorm)]),
        ),
        ("convolutions without biases", LAYERED, edited(ResNet, "_conv", 'bias=self.norm == "layer"', "bias=False")),
    ],
    "layer_scale": [
        ("does nothing", SCALED, method(LayerScale, "forward", lambda self, x: x)),
        ("left out", SCALED, built("build", layer_scale=None)),
        (
            "starts at 1",
            SCALED,
            rebuilt(lambda net: [m.weight.data.fill_(1) for m in net.modules() if isinstance(m, LayerScale)]),
        ),
        ("never learned", SCALED, edited(LayerScale, "forward", "self.weight.view", "self.weight.detach().view")),
    ],
    "gelu": [
        ("does nothing", ROUND, built("_act", activation=None)),
        ("by tanh", ROUND, swapped(nn.GELU, lambda old: nn.GELU("tanh"))),
        ("SiLU", ROUND, built("_act", activation="silu")),
        (
            "ReLU at a block's end",
            ROUND,
            edited(ResNet, "_block", "nn.Identity() if self.fewer_activations else self._act()", "nn.ReLU()"),
        ),
    ],
    "ConvNeXt": [  # of each rung one; `FAMILY` of tests/test_mutants.py
        ("does nothing", large_kernel(TINY), built("_block", kernel=None)),
        ("kernel 5 for 7", large_kernel(TINY), built("_block", kernel=5)),
        (
            "its kernel dilated",
            large_kernel(TINY, size=5),
            rebuilt(
                lambda net: [
                    setattr(m, "dilation", (2, 2)) or setattr(m, "padding", (4, 4))
                    for m in net.modules()
                    if isinstance(m, nn.Conv2d) and m.kernel_size == (5, 5)
                ]
            ),
        ),
        (
            "a ReLU after the patches",
            patchify_stem(TINY, size=2),
            edited(
                ResNet,
                "_stem",
                "return nn.Sequential(patches, self._norm(w))",
                "return nn.Sequential(patches, self._norm(w), nn.ReLU())",
            ),
        ),
    ],
}
RUNGS: Broken = {
    "large_kernel": [
        (
            "in stage 1 alone",
            large_kernel(TINY),
            edited(ResNet, "_block", "self.kernel or 3", "(self.kernel or 3) if width == self.width else 3"),
        )
    ],
    "patchify_stem": [("does nothing", patchify_stem(TINY, size=2), built("_stem", patchify=None))],
    "depthwise_conv": [("does nothing", depthwise_conv(TINY), built("_block", depthwise=None))],
    "inverted_bottleneck": [("does nothing", WIDE, built("build", inverted=None))],
    "depthwise_up": [("does nothing", depthwise_up(TINY), built("_block", spatial_first=None))],
    "fewer_activations": [
        ("does nothing", fewer_activations(TINY), built("_block", fewer_activations=None)),
        (
            "one after the sum",
            fewer_activations(TINY),
            edited(ResNet, "_block", "nn.Identity() if self.fewer_activations else self._act()", "self._act()"),
        ),
    ],
    "fewer_norms": [
        ("does nothing", fewer_norms(TINY), built("_block", fewer_norms=None)),
        (
            "no biases for them",
            fewer_norms(TINY),
            edited(ResNet, "_block", 'self.norm == "layer" or not normed', 'self.norm == "layer"'),
        ),
    ],
    "separate_downsampling": [
        ("does nothing", separate_downsampling(TINY), built("build", separate=None)),
        (
            "no norm after the pool",
            separate_downsampling(TINY),
            edited(ResNet, "build", '"norm", self._norm(c_in)', '"norm", nn.Identity()'),
        ),
    ],
}


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "later" in name or "epoch" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in (BROKEN | RUNGS).items()}
    for each in "0AB"
}
