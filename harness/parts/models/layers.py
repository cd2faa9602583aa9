"""What layers a network on a ResNet must have, said a second time: by formulas of its stages, and not by building it.

A layer is told by its name and what it does: kernel, stride, padding, dilation of a convolution or a pool, the kind and
ε of a norm, the share of a dropout. Weights' shapes are left to the weights.
"""

from typing import Any

from torch import nn

from harness.evidence import Trace
from harness.parts.models.resnet import ResNet
from harness.parts.norms import layer_kind
from harness.spec import Check

Layers = dict[str, tuple[Any, ...]]


def told(net: nn.Module) -> Layers:
    """The layers of a network as it was built."""
    found: Layers = {}
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            found[name] = ("conv", m.kernel_size[0], m.stride[0], m.padding[0], m.dilation[0], m.groups)
        elif isinstance(m, nn.MaxPool2d):
            found[name] = ("max", m.kernel_size, m.stride, m.padding)
        elif isinstance(m, nn.AvgPool2d):
            found[name] = ("mean", m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad)
        elif isinstance(m, nn.BatchNorm2d):
            found[name] = (layer_kind(m), m.eps)
        elif isinstance(m, nn.Dropout):
            found[name] = ("dropout", m.p)
        elif isinstance(m, nn.ReplicationPad2d):
            found[name] = ("pad", *m.padding)
    return found


def stages(network: ResNet, frozen_norms: bool, output_stride: int | None = None) -> Layers:
    """Those of stem and stages; the stages that would stride beyond `output_stride` are dilated instead."""
    norm = ("FrozenNorm" if frozen_norms else "BatchNorm2d", 1e-5)
    due: Layers = {}

    def conv(name: str, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        due[name] = ("conv", kernel, stride, dilation * (kernel // 2), dilation, 1)
        front, _, place = name.rpartition(".")
        due[f"{front}.{int(place) + 1}"] = norm

    if network.small:
        conv("stem.0", 3)
    elif network.variant in ("A", "B"):
        conv("stem.0", 7, 2)
    else:
        conv("stem.0", 3, 2)
        conv("stem.3", 3)
        conv("stem.6", 3)
    if not network.small:
        due["stem.3" if network.variant in ("A", "B") else "stem.9"] = ("max", 3, 2, 1)
    reach, at = 1, 1 if network.small else 4  # px of a cell
    wide = network.width
    for stage, count in enumerate(network.blocks):
        before, down = reach, 2 if stage else 1
        if stage and output_stride is not None and at * 2 > output_stride:
            reach, down = 2 * reach, 1
        elif stage:
            at *= 2
        width = network.width * 2**stage
        gives = 4 * width if network.bottleneck else width
        for block in range(count):
            name, step, own = f"stage{stage + 1}.{block}", down, reach
            if block:
                step = 1
            elif stage:
                own = before  # what comes before the stride, and the 3 x 3 that strode, see the cells of before
            early = network.variant == "A"
            if network.bottleneck:
                conv(f"{name}.body.0", 1, step if early else 1)
                conv(f"{name}.body.3", 3, 1 if early else step, reach if early else own)
                conv(f"{name}.body.6", 1)
            else:
                conv(f"{name}.body.0", 3, step, own)
                conv(f"{name}.body.3", 3, 1, reach)
            pooled = network.variant == "D" and stage > 0 and block == 0
            if pooled and step == 2:
                due[f"{name}.shortcut.pool"] = ("mean", 2, 2, 0, True, False)
            elif pooled:
                due[f"{name}.shortcut.pool.0"] = ("pad", 0, 1, 0, 1)
                due[f"{name}.shortcut.pool.1"] = ("mean", 2, 1, 0, False, True)
            if wide != gives or (stage and not block):
                conv(f"{name}.shortcut.0", 1, 1 if pooled else step)
            wide = gives
    return due


def layers_check(due: Layers, trace: Trace) -> Check:
    """Whether the network has the layers that are due, and no others."""
    live = told(trace.model)
    amiss = sorted(name for name in due.keys() | live.keys() if due.get(name) != live.get(name))
    words = f"{len(amiss)}: {amiss[0]} is {live.get(amiss[0])}, due {due.get(amiss[0])}" if amiss else "0"
    what = f"layers that are not the {len(due)} due, or do otherwise"
    return Check(what, "0", words, not amiss)


def frozen(names: list[str], first: tuple[str, ...], norms: bool, due: Layers) -> set[str]:
    """Of parameters those that are never trained: of the stages `first`, and, with `norms`, of frozen norms."""
    still = set()
    for name in names:
        layer = name.rpartition(".")[0]
        stem = next((part for part in layer.split(".") if part == "stem" or part.startswith("stage")), "")
        kept = due.get(layer, ("",))[0] == "FrozenNorm"
        if stem in first or (norms and kept):
            still.add(name)
    return still
