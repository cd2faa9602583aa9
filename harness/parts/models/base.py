"""A classifier's network as the base of another: its stages, dilated or frozen, and the weights of its run."""

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import harness.parts.models.layers as layers
from harness import Problem, one_line
from harness.evidence import Check, Trace, digest
from harness.parts.models.resnet import ResNet
from harness.parts.models.timm import Timm, dropping
from harness.parts.norms import layer_kind
from harness.spec import Model, Spec

HEADS = ("fc.", "classifier.", "head.")  # what a classifier's last layer is called


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm by its running statistics in training too; they stay, and so do γ and β."""

    alike = True  # on every rank

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class Stages(nn.Module):
    """The stages of a ResNet: images N x C x H x W to the features that each of the last `keep` stages gives."""

    def __init__(self, named: Mapping[str, nn.Module], keep: int) -> None:
        super().__init__()
        for name, layer in named.items():
            self.add_module(name, layer)
        self.keep = keep

    def forward(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for layer in self.children():
            x = layer(x)
            found.append(x)
        return found[-self.keep :]


class TimmStages(nn.Module):
    """The same of a network of timm's that gives features, by the names that its weights have there."""

    def __init__(self, net: nn.Module, keep: int) -> None:
        super().__init__()
        self.net, self.keep = net, keep

    def forward(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = list(self.net(x))
        return found[-self.keep :]


class OnBackbone(Model, ABC):
    """A network whose base is a classifier's: trained by a run of its own, or, of a bare model, from scratch.

    `backbone` is the specification of that run, at the seed of the run that stands on it: seeds pair. The classifier's
    last linear layer is left out. `frozen_stages` counts the stem as the first: 2 are the stem and stage 1.
    With `frozen_norms` batch norms of the base keep their running statistics, γ and β, as detectors with few images a
    step have them (He et al. 2019 ran gluon-cv, which does).
    """

    paired: ClassVar[bool] = True
    backbone: Spec | Model
    frozen_stages: int = Field(0, ge=0)
    frozen_norms: bool = False

    @property
    def network(self) -> Model:
        """The classifier's."""
        return self.backbone.model if isinstance(self.backbone, Spec) else self.backbone

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Of the base, from the stem on, as weights of a classifier are called."""
        network = self.network
        if isinstance(network, ResNet):
            return ("stem", *(f"stage{i}" for i in range(1, len(network.blocks) + 1)))
        return ()

    def place(self, name: str) -> str:
        """Where a weight of the classifier is in this network, by its name; empty where it is left out."""
        if isinstance(self.network, ResNet):
            return "" if name.startswith("fc.") else f"base.{name}"
        return f"base.net.{name}"

    def adopted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        every, _ = _names(self)
        return {self.place(name): tensor for name, tensor in weights.items() if self.place(name) in every}

    @torch.no_grad()
    def adopt(self, net: nn.Module, upstream: nn.Module) -> None:
        live = net.state_dict()  # the tensors themselves
        for name, tensor in upstream.state_dict().items():
            place = self.place(name)
            if place in live:
                live[place].copy_(tensor)

    def frozen(self, name: str) -> bool:
        stages = tuple(f"{self.place(stage)}." for stage in self.stage_names[: self.frozen_stages])
        return name.startswith(stages) or (self.frozen_norms and name in _names(self)[1])

    def due_layers(self) -> layers.Layers:
        """The layers that are due, by their names here, said a second time; none where the base is timm's."""
        return {}

    def check(self, spec: Spec) -> None:
        if not isinstance(self.network, ResNet | Timm):
            raise ValueError(
                f"model.backbone: {one_line(repr(self.network), 60)} has no stages: take a ResNet, or timm's"
            )
        if isinstance(self.network, ResNet) and self.network.more:
            more = ", ".join(sorted(self.network.more))
            raise ValueError(f"model.backbone: a detector or a segmenter stands on a plain ResNet: leave {more} out")
        if isinstance(self.network, Timm) and (self.frozen_stages or self.frozen_norms):
            raise ValueError(
                "model.frozen_stages and model.frozen_norms are of ResNets; of timm's networks none is told"
            )
        if self.frozen_stages > len(self.stage_names):
            raise ValueError(
                f"model.frozen_stages={self.frozen_stages}: with the stem there are {len(self.stage_names)}"
            )
        with torch.device("meta"):
            learned = self.network.build(spec.data.channels, 2).state_dict()
        lost = [n for n in learned if not n.startswith(HEADS) and self.place(n) not in _names(self)[0]]
        if lost:
            raise ValueError(
                f"model.backbone: {len(lost)} tensors of {one_line(repr(self.network), 60)} have no place here, "
                f"{lost[0]} the first: take another network"
            )
        if isinstance(self.backbone, Spec) and self.backbone.task is not None:
            raise ValueError("model.backbone is no classifier")
        if isinstance(self.backbone, Spec) and self.backbone.data.channels != spec.data.channels:
            channels = self.backbone.data.channels, spec.data.channels
            raise ValueError("model.backbone learned images of {} channels, and these have {}".format(*channels))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Each tensor of the backbone is its record's before step 1; what is frozen is as it was; where it strides."""
        due, there, still = trace.taken
        wanted = 0
        if trace.below is not None:
            run = trace.below
            wanted = sum(not name.startswith(HEADS) for name in run.model.state_dict())
            own = digest(run.model.state_dict().items()) == run.result.get("network")
            yield Check("the backbone's weights are those of its record", "yes", "yes" if own else "no", own)
            assert isinstance(self.backbone, Spec)
            of, seeds = (run.id, self.backbone.id), (run.seed, trace.seed)
            fine = of[0] == of[1] and (run.seed is None or seeds[0] == seeds[1])
            told, due_of = (f"{one} at seed {seed}" for one, seed in zip(of, seeds, strict=True))
            yield Check("the backbone's run", due_of, told, fine)
        what = "tensors of the backbone that this network began with"
        yield Check(what, f"{wanted}", f"{there} of {due}", there == due >= wanted)
        names = [name for name, _ in trace.model.named_parameters()]
        frozen = [name for name in names if self.frozen(name)]
        yield Check("parameters that ask for no gradient", f"{len(frozen)}", f"{still}", still == len(frozen))
        moved = stale(self, trace, frozen)
        yield Check("frozen parameters, and statistics of frozen norms, that moved", "0", f"{moved}", moved == 0)
        due_layers = self.due_layers()
        if due_layers:
            first = ("stem", *(f"stage{i}" for i in range(1, 99)))[: self.frozen_stages]
            others = layers.frozen(names, first, self.frozen_norms, due_layers) ^ set(frozen)
            yield Check("parameters frozen that should learn, or the reverse", "0", f"{len(others)}", not others)
            yield layers.layers_check(due_layers, trace)
        else:
            seen, expected = outline_of(trace.model), outline_of(self.fresh(spec.data.channels, trace.classes))
            yield Check("kernels, strides and dilations, in order: digest", expected, seen, seen == expected)


@lru_cache
def _names(model: Model) -> tuple[frozenset[str], frozenset[str]]:
    """(Names of all tensors of its network, those of γ and β of frozen norms)."""
    with torch.device("meta"):
        net = model.build(3, 2)
    norms = (name for name, module in net.named_modules() if isinstance(module, FrozenNorm))
    return frozenset(net.state_dict()), frozenset(f"{name}.{own}" for name in norms for own in ("weight", "bias"))


def stale(part: OnBackbone, trace: Trace, frozen: Sequence[str]) -> int:
    """How many frozen tensors are not what the run began with: its backbone's, or, from scratch, those drawn."""
    live = trace.model.state_dict()
    if trace.below is not None:
        due: dict[str, Any] = dict(part.adopted(trace.below.model.state_dict()))
    else:
        assert trace.spec is not None
        due = begun(trace.spec, trace)
    statistics = [
        f"{name}.{kind}"
        for name, m in trace.model.named_modules()
        if isinstance(m, FrozenNorm)
        for kind in ("running_mean", "running_var")
    ]
    watched = [name for name in (*frozen, *statistics) if name in due]
    return sum(not torch.equal(live[name].cpu(), due[name].cpu()) for name in watched)


def begun(spec: Spec, trace: Trace) -> dict[str, Tensor]:
    """What the parameters that `init` sets began as, by its references."""
    shapes, due = {name: p.shape for name, p in trace.model.named_parameters()}, dict[str, Tensor]()
    for init in spec.init:
        found = init.reference(shapes, trace.model, trace.rng) if hasattr(init, "reference") else {}
        due |= {name: torch.from_numpy(values).float() for name, values in found.items()}
    return due


def outline_of(net: nn.Module) -> str:
    """A digest of names, kernels, strides, padding, dilations and groups of all convolutions and pools."""
    told: list[tuple[Any, ...]] = []
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            told.append((name, m.kernel_size, m.stride, m.padding, m.dilation, m.groups))
        elif isinstance(m, nn.AvgPool2d | nn.MaxPool2d):
            told.append((name, type(m).__name__, m.kernel_size, m.stride, m.padding))
        elif isinstance(m, nn.BatchNorm2d):
            told.append((name, layer_kind(m), m.num_features, m.eps))
    return digest(told)


def stages_of(part: OnBackbone, channels: int) -> dict[str, nn.Module]:
    """The stem and the stages of its ResNet, with the norms that are to stay frozen."""
    network = part.network
    assert isinstance(network, ResNet)
    net = network.build(channels, 2)
    named = {name: layer for name, layer in net.named_children() if name in part.stage_names}
    if part.frozen_norms:
        for stage in named.values():
            freeze_norms(stage)
    return named


def freeze_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenNorm(child.num_features, child.eps))
        else:
            freeze_norms(child)


def widths(network: ResNet) -> list[int]:
    """Channels that each stage gives."""
    return [network.width * 2**stage * (4 if network.bottleneck else 1) for stage in range(len(network.blocks))]


def strides(network: ResNet) -> list[int]:
    """Pixels of an image to one of each stage's."""
    return [(1 if network.small else 4) * 2**stage for stage in range(len(network.blocks))]


def dilate(named: Mapping[str, nn.Module], network: ResNet, output_stride: int) -> None:
    """Have the last stages stride no more where the whole would pass `output_stride`, and their 3 x 3 reach further.

    What comes before the stride of such a stage, and the 3 x 3 that strode, keep the rate of the stage before, as in
    DeepLab, torchvision and timm: every fourth cell, say, is then what it was. In variant D the pool of the shortcut
    goes on, of stride 1. Raises ValueError where no number of dilated stages gives that stride.
    """
    due = strides(network)
    if output_stride not in due:
        raise ValueError(f"model.output_stride={output_stride}: stages stride {', '.join(map(str, due))}")
    rate = 1
    for stage, stride in enumerate(due, 1):
        if stride <= output_stride:
            continue
        before, rate = rate, 2 * rate
        for place, block in enumerate(named[f"stage{stage}"].children()):
            reach = before if place == 0 else rate
            for layer in block.get_submodule("body").children():
                if not isinstance(layer, nn.Conv2d):
                    continue
                if layer.kernel_size == (3, 3):
                    layer.dilation = layer.padding = (reach, reach)
                reach = rate if layer.stride == (2, 2) else reach
                layer.stride = (1, 1)
            if place == 0:
                _unstride(block.get_submodule("shortcut"))


def _unstride(shortcut: nn.Module) -> None:
    for name, layer in shortcut.named_children():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
        elif isinstance(layer, nn.AvgPool2d):  # of what is there: the last row and column are their own neighbours
            setattr(shortcut, name, nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1)))


def timm_features(
    network: Timm, channels: int, keep: int, output_stride: int | None = None
) -> tuple[nn.Module, list[int], list[int]]:
    """(A network of timm's that gives features, their channels, their strides). Raises Problem where it has none."""
    import timm

    more: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    try:
        options: dict[str, Any] = dict(network.options)
        net: Any = timm.create_model(
            network.name, pretrained=False, in_chans=channels, features_only=True, **options, **more
        )
    except Exception as error:  # timm's many networks raise whatever they cannot do
        what = f"of output stride {output_stride}" if output_stride else "of stages"
        said = one_line(f"{type(error).__name__}: {error}", 120)
        raise Problem(f"model.backbone: {network.name} gives no features {what} in timm ({said})") from None
    for module, rate in dropping(net):
        setattr(module, rate, 0.0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return TimmStages(net, keep), list(net.feature_info.channels())[-keep:], list(net.feature_info.reduction())[-keep:]
