"""ResNets with fields of a later time, said a second time: what they compute, by formulas and the names of weights."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.parts.norms import layer_kind

Weights = dict[str, Tensor]


class Block(NamedTuple):
    """A residual block as it is due."""

    name: str
    stage: int  # from 1
    takes: int  # channels
    gives: int
    stride: int
    rate: float  # the chance to be left out
    ends: bool = True  # in an activation, as far as any block of the network does


def blocks_of(model: Any) -> list[Block]:
    """All residual blocks, in the order in which they are gone through."""
    found, takes, done, last = list[Block](), model.width, 0, sum(model.blocks) - 1
    rates = [(model.drop_path or 0) * (i / last if last else 1) for i in range(last + 1)]
    for stage, count in enumerate(model.blocks, 1):
        name, gives = f"stage{stage}", model.width * 2 ** (stage - 1) * wider(model)
        own, done = rates[done : done + count], done + count
        if model.big_little and stage < len(model.blocks):  # Chen et al. 2019, section 3; a little one as its big one
            alpha, beta = model.big_little
            large = max(1, count - 1)
            for i in range(large):
                step, before = (1, gives) if i else (2, takes)
                ends = large == 1 or i < large - 1  # the last does not, in both papers' code, but a lone one does
                found.append(Block(f"{name}.big.{i}", stage, before, gives, step, own[i], ends))
            for i in range(max(1, count // beta - 1)):
                before = gives // alpha if i else takes
                found.append(Block(f"{name}.little.{i}", stage, before, gives // alpha, 1, own[i]))
            step = 1 if stage == len(model.blocks) - 1 else 2
            found.append(Block(f"{name}.merge", stage, gives, gives, step, own[-1]))
        else:
            for i in range(count):
                step = 2 if stage > 1 and i == 0 and not model.separate else 1
                before = gives if i or (stage > 1 and model.separate) else takes
                found.append(Block(f"{name}.{i}", stage, before, gives, step, own[i]))
        takes = gives
    return found


def wider(model: Any) -> int:
    """How many times its width a block gives."""
    return 1 if model.inverted or not model.bottleneck else 4


def logits(model: Any, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
    """From images N x C x H x W to N x K, as He et al. 2016 and 2019, Liu et al. 2022 and those named below have it.

    Functions of one number, a sigmoid say, are torch's, to the bit. Where last digits differ, one of the thousands of
    numbers that a ReLU gets is on the other side of 0 now and then, and a gradient is off by a hundredth.
    """
    functional, size = nn.functional, model.kernel or 3

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta = w[f"{name}.weight"], w[f"{name}.bias"]
        if model.norm == "layer":  # Ba et al. 2016, over channels
            wide = x.float()
            off = wide - wide.mean(1, keepdim=True)
            scaled = off / ((off * off).mean(1, keepdim=True) + 1e-6).sqrt()
            return (scaled * gamma[:, None, None] + beta[:, None, None]).to(x.dtype)
        statistics = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return functional.batch_norm(x, *statistics, gamma, beta, training, 0.1, 1e-5)

    def act(x: Tensor) -> Tensor:
        if model.activation == "gelu":
            return functional.gelu(x)
        return functional.silu(x) if model.activation == "silu" else functional.relu(x)

    def layer(x: Tensor, name: str, after: str = "", **how: Any) -> Tensor:
        biased = model.norm == "layer" or not after
        y: Tensor = conv(x, w[f"{name}.weight"], w[f"{name}.bias"] if biased else None, **how)
        return norm(y, after) if after else y

    def blurred(x: Tensor) -> Tensor:  # Zhang 2019, section 3.2: Pascal's triangle, by sums of neighbours
        x = functional.pad(x, (model.blur // 2,) * 4, mode="reflect")
        for _ in range(model.blur - 1):
            above, below = x[:, :, :-1], x[:, :, 1:]
            x = (above[..., :-1] + above[..., 1:] + below[..., :-1] + below[..., 1:]) / 4
        return x[:, :, ::2, ::2]

    def selected(x: Tensor, name: str, active: bool, stride: int) -> Tensor:  # Li et al. 2019, equations 1 to 6
        groups = x.shape[1] if model.depthwise else 1
        paths = []
        for place, reach in enumerate((1, 2)):
            how = {"stride": stride, "padding": reach * (size // 2), "dilation": reach, "groups": groups}
            path = layer(x, f"{name}.paths.{place}.0", f"{name}.paths.{place}.1", **how)
            paths.append(act(path) if active else path)
        means = (paths[0] + paths[1]).mean((2, 3), keepdim=True)
        compact = functional.relu(layer(means, f"{name}.reduce.0", f"{name}.reduce.1"))
        shares = torch.stack(conv(compact, w[f"{name}.select.weight"]).chunk(2, 1), 1).softmax(1)
        return shares[:, 0] * paths[0] + shares[:, 1] * paths[1]

    def corners(x: Tensor, channels: int, sides: Sequence[int], name: str) -> Tensor:
        """Of Ghiasi et al. 2018: where squares begin, by the γ of its section 3.1."""
        side, (height, width) = model.drop_block_size or 7, sides
        rows, columns = height - min(side, height) + 1, width - min(side, width) + 1
        early = 4 if name.startswith(f"stage{len(model.blocks) - 1}.") else 1
        rate = float(w.get("progress", torch.zeros(()))) * model.drop_block / early
        gamma = rate / (min(side, height) * min(side, width)) * (height * width) / (rows * columns)
        begun: Tensor = torch.rand(len(x), channels, rows, columns, device=x.device) < gamma
        return begun

    def without(x: Tensor, begun: Tensor) -> Tensor:
        (height, width), (rows, columns) = x.shape[2:], begun.shape[2:]
        gone = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        for down in range(height - rows + 1):
            for right in range(width - columns + 1):
                gone[:, :, down : down + rows, right : right + columns] |= begun
        left = (~gone).float()
        return x * (left * (left.numel() / left.sum().clamp(min=1))).to(x.dtype)  # its algorithm 1

    def block(x: Tensor, place: Block) -> Tensor:
        name, step = place.name, place.stride
        y, plan = x, steps(model, step)
        away = training and model.drop_block and place.stage > len(model.blocks) - 2
        if away:  # a shortcut draws before its body
            sides = [(side + step - 1) // step for side in x.shape[2:]]
            begun = corners(x, place.gives, sides, f"{name}.shortcut.away")
        for nth, (side, stride) in enumerate(plan):
            own, spatial = f"{name}.body.{3 * nth}", nth == spatial_of(model)
            active = nth == len(plan) - 2 or (nth < len(plan) - 2 and not model.fewer_activations)
            after = f"{name}.body.{3 * nth + 1}" if spatial or not model.fewer_norms else ""
            blur = model.blur and stride == 2
            stride = 1 if blur else stride
            if model.selective and spatial:
                y = selected(y, own, active, stride)
            else:
                groups = y.shape[1] if spatial and model.depthwise else 1
                y = layer(y, own, after, stride=stride, padding=side // 2, groups=groups)
                y = act(y) if active else y
            if away:
                y = without(y, corners(y, y.shape[1], y.shape[2:], f"{name}.body.away{nth}"))
            y = blurred(y) if blur else y
        if model.squeeze:  # Hu et al. 2018, equations 2 to 4
            z = layer(y.mean((2, 3), keepdim=True), f"{name}.body.se.fc1")
            y = y * torch.sigmoid(layer(functional.relu(z), f"{name}.body.se.fc2"))
        if model.layer_scale:
            y = y * w[f"{name}.body.scale.weight"][:, None, None]
        if training and place.rate:  # Huang et al. 2016, equation 2, divided by what is left on average
            left = torch.empty(len(y), device=y.device).bernoulli_(1 - place.rate)
            y = y * (left / (1 - place.rate)).to(y.dtype)[:, None, None, None]
        if x.shape[1] != place.gives or step == 2:
            short, down = x, step
            if step == 2 and model.variant == "D":
                short, down = functional.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False), 1
            x = layer(short, f"{name}.shortcut.0", f"{name}.shortcut.1", stride=down)
        x = without(x, begun) if away else x
        return x + y if model.fewer_activations or not place.ends else act(x + y)

    if model.patchify:
        x = layer(x, "stem.0", "stem.1", stride=model.patchify)
    elif model.small:
        x = act(layer(x, "stem.0", "stem.1", padding=1))
    else:
        if model.variant in ("A", "B"):
            x = act(layer(x, "stem.0", "stem.1", stride=2, padding=3))
        else:
            for nth, step in ((0, 2), (3, 1), (6, 1)):
                x = act(layer(x, f"stem.{nth}", f"stem.{nth + 1}", stride=step, padding=1))
        if model.big_little:  # Chen et al. 2019, section 3.2, in the place of the pool
            big = layer(x, "stem.pool.big.0", "stem.pool.big.1", stride=2, padding=1)
            little = act(layer(x, "stem.pool.little.0", "stem.pool.little.1", padding=1))
            little = act(layer(little, "stem.pool.little.3", "stem.pool.little.4", stride=2, padding=1))
            x = act(big + layer(little, "stem.pool.little.6", "stem.pool.little.7"))
            x = act(layer(x, "stem.pool.merge.0", "stem.pool.merge.1"))
        else:
            x = functional.max_pool2d(x, 3, 1 if model.blur else 2, 1)
            x = blurred(x) if model.blur else x
    for stage, places in groupby(blocks_of(model), lambda place: place.stage):
        if stage > 1 and model.separate:
            x = layer(norm(x, f"stage{stage}.down.0"), f"stage{stage}.down.1", stride=2)
        if not model.big_little or stage == len(model.blocks):
            for place in places:
                x = block(x, place)
            continue
        big = little = x
        for place in places:
            if ".big." in place.name:
                big = block(big, place)
            elif ".little." in place.name:
                little = block(little, place)
            else:
                little = layer(little, f"stage{stage}.little.out.0", f"stage{stage}.little.out.1")
                doubled = big.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = block(act(doubled[:, :, : little.shape[2], : little.shape[3]] + little), place)
    x = x.mean((2, 3), keepdim=True)
    x = norm(x, f"stage{len(model.blocks)}.norm") if model.separate else x
    x = x.flatten(1)
    if model.dropout:
        x = functional.dropout(x, model.dropout, training)
    found: Tensor = linear(x, w["fc.weight"], w["fc.bias"])
    return found


def steps(model: Any, stride: int) -> list[tuple[int, int]]:
    """(Kernel, stride) of each convolution of a block that strides so."""
    size = model.kernel or 3
    if not model.bottleneck:
        return [(size, stride), (size, 1)]
    if model.spatial_first:
        return [(size, stride), (1, 1), (1, 1)]
    return [(1, stride), (size, 1), (1, 1)] if model.variant == "A" else [(1, 1), (size, stride), (1, 1)]


def spatial_of(model: Any) -> int:
    """The place, in a block, of the convolution that `depthwise`, `selective` and `fewer_norms` are about."""
    return 0 if model.spatial_first or not model.bottleneck else 1


def rates_of(model: Any) -> list[float]:
    """The chance of each block to be left out: from 0 to `drop_path` in even steps."""
    return [place.rate for place in blocks_of(model)] if model.drop_path else []


# --- what a network is made of, in words -----------------------------------------------------------------------------


def walked(model: Any) -> dict[str, str]:
    """What is due, by the part of the network."""
    norm = "LN" if model.norm == "layer" else "BN"
    act, _size = {"gelu": "GELU", "silu": "SiLU", None: "ReLU"}[model.activation], model.kernel or 3

    def conv(side: int, stride: int = 1, normed: bool = True, grouped: bool = False) -> list[str]:
        biased = "" if normed and norm == "BN" else "+b"
        return [f"{side}/{stride}{'dw' if grouped else ''}{biased}", *([norm] if normed else [])]

    if model.patchify:
        stem = conv(model.patchify, model.patchify)
    elif model.small:
        stem = [*conv(3), act]
    else:
        wide = [(7, 2)] if model.variant in ("A", "B") else [(3, 2), (3, 1), (3, 1)]
        stem = [word for side, stride in wide for word in (*conv(side, stride), act)]
        if model.big_little:
            little = [*conv(3), act, *conv(3, 2), act, *conv(1)]
            stem += [*conv(3, 2), *little, act, *conv(1), act]
        else:
            stem += ["max 3/1", f"blur {model.blur}"] if model.blur else ["max 3/2"]
    kinds = []
    for block in blocks_of(model):
        halved = block.stride == 2
        words = list[str]()
        plan = steps(model, block.stride)
        rate = (model.drop_block or 0) / {0: 1, 1: 4}.get(len(model.blocks) - block.stage, math.inf)
        away = [f"DropBlock {rate:.4g} of {model.drop_block_size or 7}"] if rate else []
        for place, (side, stride) in enumerate(plan):
            spatial = place == spatial_of(model)
            once = 1 if model.blur else stride
            active = place == len(plan) - 2 or (place < len(plan) - 2 and not model.fewer_activations)
            own = conv(side, once, spatial or not model.fewer_norms, bool(model.depthwise and spatial))
            own += [act] if active else []
            if model.selective and spatial:
                low = [*conv(1), "ReLU", "1/1"]
                own = ["(", *own, *(["Identity"] if not active else []), *[f"{own[0]} dilated"], *own[1:]]
                own += [*(["Identity"] if not active else []), *low, ")"]
            own += away
            words += own + ([f"blur {model.blur}"] if model.blur and stride == 2 else [])
        words += ["SE"] if model.squeeze else []
        words += ["scale"] if model.layer_scale else []
        widens = block.takes != block.gives
        if halved and model.variant == "D":
            short = ["mean 2/2", *conv(1)]
        else:
            short = conv(1, 2 if halved else 1) if halved or widens else [] if away else ["Identity"]
        short += away
        closing = act if block.ends and not model.fewer_activations else "Identity"
        kinds.append(" ".join([*words, "&", *short, "&", closing]))
    downs = (len(model.blocks) - 1 if model.separate else 0) * [f"{norm} 2/2+b"]
    end = [*([norm] if model.separate else []), *([f"dropout {model.dropout:g}"] if model.dropout else [])]
    return {
        "stem": " ".join(stem),
        "blocks": f"{len(kinds)}: " + "; ".join(dict.fromkeys(kinds)),
        **({"big and little branches": "; ".join(parted(model, norm, act))} if model.big_little else {}),
        "layers between stages": "; ".join(downs) or "none",
        "layers before the last": " ".join(end) or "none",
        "chances to leave out a block": ", ".join(f"{rate:.4g}" for rate in rates_of(model)) or "none",
    }


def parted(model: Any, norm: str, act: str) -> Iterator[str]:
    """What the branches are due to be, of the stem and of each stage but the last, with channels and strides."""
    biased = "+b" if norm == "LN" else ""
    few, end = model.width // model.big_little[0], "Identity" if model.fewer_activations else act

    def conv(side: int, stride: int, channels: int) -> str:
        return f"{side}/{stride}{biased} to {channels} {norm}"

    if not model.small:
        little = f"{conv(3, 1, few)} {act} {conv(3, 2, few)} {act} {conv(1, 1, model.width)}"
        merge = f"{conv(1, 1, model.width)} {act}"
        yield f"stem.pool: {conv(3, 2, model.width)} & {little} & {act} & {merge}"
    for stage, places in groupby(blocks_of(model), lambda place: place.stage):
        if stage < len(model.blocks):
            told = dict[str, list[str]]()
            for place in places:
                way = place.name.split(".")[1]
                words = f"block/{place.stride} to {place.gives} {end if place.ends else 'Identity'}"
                told.setdefault(way, []).append(words)
            big, little, merge = (" ".join(words) for words in told.values())
            out = conv(1, 1, model.width * 2 ** (stage - 1) * wider(model))
            yield f"stage{stage}: {big} up 2 nearest & {little} {out} & {act} & {merge}"


def made_of(net: nn.Module) -> dict[str, str]:
    """What is there, of a live network."""
    blocks = [m for m in net.modules() if hasattr(m, "body") and hasattr(m, "shortcut")]
    kinds = [" & ".join(words(block.get_submodule(part)) for part in ("body", "shortcut", "act")) for block in blocks]
    downs = [words(m) for name, m in net.named_modules() if name.endswith(".down")]
    end = [m for name, m in net.named_modules() if name.endswith(".norm") or name == "dropout"]
    rates = [m.rate for m in net.modules() if type(m).__name__ == "DropPath"]
    branches = [
        f"{name}: " + " & ".join(row(m.get_submodule(part)) for part in ("big", "little", "act", "merge"))
        for name, m in net.named_modules()
        if layer_kind(m) == "BigLittle"
    ]
    return {
        "stem": words(net.get_submodule("stem")),
        "blocks": f"{len(blocks)}: " + "; ".join(dict.fromkeys(kinds)),
        "big and little branches": "; ".join(branches) or "none",
        "layers between stages": "; ".join(downs) or "none",
        "layers before the last": " ".join(words(m) for m in end) or "none",
        "chances to leave out a block": ", ".join(f"{rate:.4g}" for rate in rates) or "none",
    }


def row(m: nn.Module) -> str:
    """Blocks and layers of a branch, with the channels that they give."""
    if hasattr(m, "body") and hasattr(m, "shortcut"):
        stride, channels = 1, 0
        for layer in m.get_submodule("body").children():
            inside = [each for each in layer.modules() if isinstance(each, nn.Conv2d)]
            stride *= 2 if layer_kind(layer) == "BlurPool" else max((each.stride[0] for each in inside), default=1)
            channels = layer.out_channels if isinstance(layer, nn.Conv2d) else channels
        return f"block/{stride} to {channels} {words(m.get_submodule('act'))}"
    if isinstance(m, nn.Conv2d):
        return f"{words(m)} to {m.out_channels}"
    return " ".join(map(row, m)) if isinstance(m, nn.Sequential) else words(m)


def words(m: nn.Module) -> str:
    """What a module is, layer by layer: of a convolution its kernel and stride, and whether it has a bias."""
    kind = layer_kind(m)
    if isinstance(m, nn.Conv2d):
        grouped = "dw" if m.groups == m.in_channels == m.out_channels > 1 else f"g{m.groups}" if m.groups > 1 else ""
        far = " dilated" if m.dilation == (2, 2) else ""
        return f"{m.kernel_size[0]}/{m.stride[0]}{grouped}{'+b' if m.bias is not None else ''}{far}"
    if isinstance(m, nn.MaxPool2d | nn.AvgPool2d):
        return f"{'max' if isinstance(m, nn.MaxPool2d) else 'mean'} {m.kernel_size}/{m.stride}"
    if isinstance(m, nn.Dropout):
        return f"dropout {m.p:g}"
    if isinstance(m, nn.Upsample):
        return f"up {m.scale_factor:g} {m.mode}"
    if kind == "DropBlock":
        return f"DropBlock {getattr(m, 'rate', 0):.4g} of {getattr(m, 'size', 0)}"
    if kind in ("BlurPool", "SqueezeExcitation", "LayerScale", "DropPath"):
        return {"BlurPool": f"blur {getattr(m, 'size', 0)}", "SqueezeExcitation": "SE", "LayerScale": "scale"}.get(
            kind, ""
        )
    inside = m if isinstance(m, nn.Sequential | nn.ModuleList) else m.children()  # a ReLU may be there twice
    within = " ".join(filter(None, map(words, inside)))
    if kind == "SelectiveKernel":
        return f"( {within} )"
    return within or {"BatchNorm2d": "BN", "ChannelNorm": "LN"}.get(kind, kind)
