"""Any network of timm, by its name."""

import difflib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import nn

from harness import Problem, one_line
from harness.evidence import Check, Trace, digest
from harness.parts.models.cost import macs_check
from harness.spec import Model, Spec

OTHERS = {"pretrained", "checkpoint_path", "num_classes", "in_chans", "zero_init_last", "features_only"}


class Timm(Model):
    """A network of timm, by the name it has there, without its trained weights. Slot: `model`.

    What a name switches on beside its architecture is off: dropout and dropped paths (0.2 in `legacy_seresnet50`), and
    the zero γ that timm's ResNets start with. `drop_path_rate` (stochastic depth) and `drop_rate` (dropout before the
    last layer, in some networks elsewhere too) switch them on, as timm's arguments of these names do; neutral absent.
    Inception-V3 comes without its auxiliary head. Weights are then set by the specification's `init`: where that is
    Xavier, parameters of other layers than conv, linear and batch norm, such as a position embedding, stay as timm
    draws them from the run's seed. Multiply-adds are those of conv and linear
    layers; attention's products are not among them. `options` are arguments of timm's that change the architecture,
    as pairs of name and value: `(("layers", (1, 1, 1, 1)), ("channels", (16, 32, 64, 128)))` makes a small ResNet.
    """

    name: str = Field(pattern=r"^\w+$")  # "x.tag" and "hf-hub:x" name trained weights too
    options: tuple[tuple[str, bool | int | float | str | tuple[int, ...]], ...] = ()
    drop_path_rate: float | None = Field(None, gt=0, lt=1)
    drop_rate: float | None = Field(None, gt=0, lt=1)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self if value is not None)

    @field_validator("options")
    @classmethod
    def _of_the_architecture(cls, options: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        names = [name for name, _ in options]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is there twice")
            if name in ("drop_rate", "drop_path_rate"):
                raise ValueError(f"{name} is none of the architecture: it is a field, Timm(name=…, {name}=…)")
            if "drop" in name or name in OTHERS:
                raise ValueError(f"{name} is none of the architecture, and would be switched off or overruled")
        return options

    def identity(self) -> dict[str, Any]:
        # A name can come to mean another network in the next timm. Not timm's version but what it built is part of the
        # id: parameters' names and shapes decide which weights are drawn and load, and strides what they compute.
        drops = {"drop_path_rate": self.drop_path_rate, "drop_rate": self.drop_rate}
        return {"name": self.name, "options": self.options, **drops, "built": _expected_outline(self, 3, 1000)}

    def check(self, spec: Spec) -> None:
        asked = {"drop_path_rate": self.drop_path_rate, "drop_rate": self.drop_rate}
        for name, rate in asked.items():
            if rate and spec.sync_norms:
                raise ValueError(
                    f"model.{name} draws on each rank by itself, and sync_norms takes all as one: leave one"
                )
            if rate and not dict(_expected_drops(self, spec.data.channels))[name]:
                raise ValueError(f"model.{name}={rate:g}: timm's {self.name} drops nothing by it: leave it out")

    def build(self, channels: int, classes: int) -> nn.Module:
        net = _created(self, channels, classes)
        for module, rate in dropping(net):
            if not (self.drop_path_rate if of_path(module, rate) else self.drop_rate):
                setattr(module, rate, 0.0)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        return net

    def fresh(self, channels: int, classes: int) -> nn.Module:
        """As timm makes it, with what drops switched off but for what is asked; none of it went through `build`."""
        net = _created(self, channels, classes)
        asked = {True: self.drop_path_rate, False: self.drop_rate}
        for module, rate in dropping(net):
            setattr(module, rate, getattr(module, rate) if asked[of_path(module, rate)] else 0.0)
        return net

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if hasattr(spec.model, "backbone"):  # within another network, which proves its stages
            return
        images = spec.data.load()
        expected = _expected_outline(self, images.channels, len(images.classes))
        seen = outline(trace.model)
        yield Check("names and shapes of parameters, strides of layers: digest", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)
        if not self.drop_path_rate and not self.drop_rate:
            on = sum(1 for _ in dropping(trace.model))
            yield Check("dropouts and dropped paths that are on", "0", f"{on}", on == 0)
            return
        live = dict(drops(trace.model))
        for name, due in _expected_drops(self, images.channels):
            what = {"drop_path_rate": "chances of paths to be dropped", "drop_rate": "chances of dropouts"}[name]
            asked = getattr(self, name)
            fine = live[name] == due if asked else not live[name]
            expected = brief(due) if asked else "none"
            yield Check(what, expected, brief(live[name]), fine)
            if asked:
                most = max((rate for _, rate in live[name]), default=0.0)
                yield Check(f"{what}: the greatest", f"{asked:g}", f"{most:g}", abs(most - asked) < 1e-6)


def _created(model: Timm, channels: int, classes: int) -> nn.Module:
    """timm's network as timm makes it. Raises Problem on a name, or options, that it does not know."""
    import timm

    name, names = model.name, timm.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        known = f"near it are {', '.join(near)}" if near else "timm.list_models() lists those it has"
        raise Problem(f"model.name: timm {timm.__version__} has no {name!r}; {known}")
    options: dict[str, Any] = dict(model.options)
    rates = {"drop_path_rate": model.drop_path_rate, "drop_rate": model.drop_rate}
    options |= {name: rate for name, rate in rates.items() if rate}
    try:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **options)
    except Exception as error:  # timm's many networks raise whatever odd options lead them to
        said = one_line(f"{type(error).__name__}: {error}", 200)
        raise Problem(f"model.options={options} of {name!r}: timm says {said}") from None
    return net


@lru_cache
def _expected_outline(model: Timm, channels: int, classes: int) -> str:
    with torch.device("meta"):  # 0.05 to 0.2 s, where drawing weights that nobody reads takes up to 0.8
        return outline(_created(model, channels, classes))


Drops = tuple[tuple[str, tuple[tuple[str, float], ...]], ...]  # by field of `Timm`: (where, rate) of each that is on


@lru_cache
def _expected_drops(model: Timm, channels: int) -> Drops:
    with torch.device("meta"):
        return drops(_created(model, channels, 2))


def drops(net: nn.Module) -> Drops:
    """What drops in a network, in order."""
    names = {id(module): name for name, module in net.named_modules()}
    found = [(of_path(m, rate), (f"{names[id(m)]}.{rate}", float(getattr(m, rate)))) for m, rate in dropping(net)]
    return tuple((name, tuple(one for p, one in found if p == path)) for name, path in DROPPED)


DROPPED = (("drop_path_rate", True), ("drop_rate", False))


def of_path(module: nn.Module, name: str) -> bool:
    """Whether what a module drops, at the rate of that name, are paths of whole images."""
    return "path" in f"{type(module).__name__} {name}".lower() or type(module).__name__ == "StochasticDepth"


def brief(rates: Iterable[tuple[str, float]]) -> str:
    """Rates, each once, in order."""
    return ", ".join(dict.fromkeys(f"{rate:.3g}" for _, rate in rates)) or "none"


def outline(net: nn.Module) -> str:
    """A digest of the names and shapes of all parameters, in order, and of the convolutions' strides."""
    shapes = [(name, tuple(p.shape)) for name, p in net.named_parameters()]
    return digest([*shapes, *((n, m.stride) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))])


def dropping(net: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules that drop activations or paths in training, each with the name of its rate, which is above 0."""
    for module in net.modules():
        dropout = "Drop" in type(module).__name__  # some forwards call the function, with a rate of their own
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and value > 0 and ("drop" in name or (dropout and name in ("p", "prob"))):
                yield module, name


# Table 1 of the paper, and the two more of its Table 3. Of the two SE-ResNet-50s that timm has the legacy one strides
# in the first 1 x 1, as its authors' does: 3.86 G multiply-adds, where `seresnet50`, a ResNet-B, takes 4.09 G.
RESNEXT50 = Timm(name="resnext50_32x4d")
SE_RESNET50 = Timm(name="legacy_seresnet50")
SE_RESNEXT50 = Timm(name="legacy_seresnext50_32x4d")
DENSENET201 = Timm(name="densenet201")
INCEPTION_V3 = Timm(name="inception_v3")  # at 299 px
MOBILENET = Timm(name="mobilenetv1_100")
