"""Zero γ: residual blocks start as the identity (He et al. 2019, section 3.1; Goyal et al. 2017)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.evidence import Check, Trace
from harness.parts.models import Residual, ResNet, answer
from harness.rng import Stream
from harness.spec import Init, Model, Spec, declares


def residual_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The residual blocks that zero γ knows, by name: ours; timm's basic, bottleneck and inverted ones, SE or not.

    timm's ResNet blocks have a `downsample` each, which may be None, and an inverted residual that adds its input says
    `has_skip`; both keep their batch norms as their own layers, the last of which ends the block.
    """
    found = {}
    for name, module in model.named_modules():
        adds = hasattr(module, "downsample") or getattr(module, "has_skip", False)
        if isinstance(module, Residual) or (adds and isinstance(getattr(module, "bn2", None), nn.BatchNorm2d)):
            found[name] = module
    return found


def last_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norm at the end of each residual block, by name; not those inside it, nor the shortcut's."""
    ends = set()
    for block in residual_blocks(model).values():
        last = block.last_norm if isinstance(block, Residual) else getattr(block, "bn3", block.bn2)
        ends.add(id(last))
    return {name: m for name, m in model.named_modules() if id(m) in ends and isinstance(m, nn.BatchNorm2d)}


@lru_cache
def residual(model: Model, channels: int) -> tuple[int, int]:
    """(additions of two feature maps in a network, residual blocks that zero γ knows).

    A network all of whose blocks are known has as many of one as of the other, and one without blocks none: DenseNets
    and Inceptions concatenate, VGGs and the first MobileNet do neither. Additions are counted in the autograd graph of
    a forward of 224 px, so that blocks of other kinds show.
    """
    if isinstance(model, ResNet):
        at_the_end = model.norm is None and not model.fewer_norms
        return model.count, model.count if at_the_end else 0
    net = model.build(channels, 2).eval()
    pending: list[Any] = [answer(net, model, channels, 10, 224).grad_fn]
    met = set()
    while pending:
        node = pending.pop()
        if node not in met:
            met.add(node)
            pending += [before for before, _ in node.next_functions if before]
    written = [node for node in met if node.name().endswith("CopySlices")]  # into a part of another, as a sum may be
    sums = [node for node in met if node.name() == "AddBackward0" and all(before for before, _ in node.next_functions)]
    sums += written
    return len(sums), len(last_norms(net))


class ZeroGamma(Init):
    """γ = 0 in the last batch norm of every residual block. Slot: `init`, after the weights; neutral: absent."""

    def check(self, spec: Spec) -> None:
        additions, known = residual(spec.model, spec.data.channels)
        if not additions:
            raise ValueError(f"{spec.model!r} has no residual blocks: leave ZeroGamma out of init")
        if known != additions:
            text = f"zero γ knows {known} of the {additions} residual blocks of {spec.model!r}"
            raise ValueError(f"{text}: leave ZeroGamma out of init")

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        for norm in last_norms(model).values():
            norm.weight.zero_()

    def reference(self, shapes: dict[str, Any], model: nn.Module, rng: Stream) -> dict[str, np.ndarray]:
        """By names alone: of our blocks the last layer of `body`, of timm's the last of their `bn1`, `bn2`, `bn3`."""
        of_block: dict[str, list[str]] = {}
        blocks = residual_blocks(model)
        for name in shapes:
            own = next((block for block in blocks if name.startswith(f"{block}.")), None)
            is_norm = own is not None and re.fullmatch(r"(body\.\d+|bn\d)\.weight", name[len(own) + 1 :])
            if own is not None and is_norm and len(shapes[name]) == 1:
                of_block.setdefault(own, []).append(name)
        return {names[-1]: np.zeros(shapes[names[-1]]) for names in of_block.values()}

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        last = set()
        for name, block in residual_blocks(trace.model).items():
            own, path = (block.body, f"{name}.body") if isinstance(block, Residual) else (block, name)
            last.add([f"{path}.{n}" for n, m in own.named_children() if isinstance(m, nn.BatchNorm2d)][-1])
        zero = {name for name, (low, high) in trace.first_gammas.items() if low == high == 0}
        yield Check(
            "last batch norms with γ = 0 before step 1",
            f"{len(last)}",
            f"{len(last & zero)}",
            last <= zero and bool(last),
        )
        yield Check("other batch norms with γ = 0", "0", f"{len(zero - last)}", not zero - last)


@declares("init")
def zero_gamma(spec: Spec) -> Spec:
    """zero γ: each residual block's last batch norm starts at γ = 0, so the block starts as the identity.

    A network without residual blocks has none to zero: its specification stays as it is. A stack with zero γ in it
    runs there, and a rung of zero γ alone is refused, since it changes nothing.

    Hurts: short runs of small networks: 270 steps on digits lost 24 points by it at an untuned rate.

    Cost: none.
    """
    additions, _ = residual(spec.model, spec.data.channels)
    return spec.having("init", ZeroGamma()) if additions else spec
