"""On torch's `meta` device, where tensors have shapes and no numbers: full-size networks, and where a step computes."""

from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness import train as loop
from harness.evidence import Upstream
from harness.parts.models import (
    DENSENET201,
    INCEPTION_V3,
    MOBILENET,
    RESNET50,
    RESNET152,
    RESNEXT50,
    SE_RESNET50,
    SE_RESNEXT50,
    ResNet,
    Timm,
)
from harness.spec import stack
from harness.tricks.distillation import distillation
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.zero_gamma import zero_gamma
from tests.kit.tiny import train_epoch

META = torch.device("meta")
TIMMS = (RESNEXT50, SE_RESNET50, SE_RESNEXT50, DENSENET201, MOBILENET)
PLACES = [(model, 224) for model in (*(RESNET50.but(variant=v) for v in "ABCD"), RESNET152, *TIMMS)]
PLACES += [(INCEPTION_V3, 299), (RESNET152.but(variant="D"), 299)]  # the latter as the former's teacher


@pytest.mark.parametrize(("model", "size"), PLACES, ids=lambda value: str(value).replace("name=", ""))
def test_full_size_networks_answer_a_thousand_classes(model, size):
    with META:
        net = model.build(3, 1000)
    with torch.no_grad():
        logits = net(torch.empty(2, 3, size, size, device=META))
    assert logits.shape == (2, 1000)
    assert logits.device == META


class Places(TorchDispatchMode):
    """Counts the operations that made a tensor elsewhere than on `meta`, and those that moved one there."""

    def __init__(self):
        super().__init__()
        self.elsewhere, self.moved = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = {t.device.type for t in tree_leaves(out) if isinstance(t, Tensor)}
        given = {t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        if made - {"meta"}:
            self.elsewhere[str(func)] += 1
        elif given - {"meta"}:
            self.moved[str(func)] += 1
        return out


@pytest.fixture
def step(tiny, monkeypatch):
    """Runs one step of `harness.train` on `meta`, by its own loop, and gives what was made where.

    Nothing watches it: what evidence keeps of step 1 it copies to the CPU, and that is no part of computing. Images
    are those that a data part serves, on the device already. A loss without numbers reads as 0.
    """
    monkeypatch.setattr(Tensor, "item", lambda self: 0.0)
    told = ("saw_pass", "saw_step", "saw_gradient", "saw_clipped", "saw_averaged", "saw_returned")
    unseen = SimpleNamespace(**dict.fromkeys(told, lambda *seen: None), away=nullcontext, stage=lambda x, y: (x, y))
    monkeypatch.setattr(loop, "watch", lambda spec, trace: None)
    monkeypatch.setattr(loop, "Trace", lambda *args: unseen)
    inner = ResNet(blocks=(1,), width=4, small=True).build(1, 10)

    def run(*tricks, model=tiny.model, images=None, **fields):
        spec = stack(tiny.but(**{"model": model, "batch_size": 8, **fields}), tricks)
        live = loop.begin(spec, 0, META, 1, 10, lambda inner_spec: Upstream(inner, inner_spec.id, {}))
        for teacher in live.teachers:
            teacher.calls = spec.passes  # past step 1, of which it keeps its answers
        served = torch.empty(8, 1, 32, 32, device=META), torch.empty(8, dtype=torch.long, device=META)
        given = SimpleNamespace(
            classes=range(10), counts={"train": 8}, size=32, train=lambda *args, **kwargs: iter([served])
        )
        with Places() as places:
            train_epoch(spec, live, images or given)
        assert live.batch > 0
        assert all(p.device == META for p in live.model.parameters())
        assert all("momentum_buffer" in live.optimizer.state[p] for p in live.model.parameters())
        return places

    return run


@pytest.mark.parametrize("model", [ResNet(blocks=(1, 1), width=4, small=True), Timm(name="test_resnet")], ids=str)
@pytest.mark.parametrize("tricks", [(), (zero_gamma, no_bias_decay, fp16, label_smoothing)], ids=["none", "some"])
def test_a_step_makes_no_tensor_elsewhere(model, tricks, step):
    places = step(*tricks, model=model)
    assert not places.elsewhere
    assert not places.moved


def test_partners_are_all_that_mixup_sends(step):
    """Eight whole numbers, drawn by numpy; λ is a Python number."""
    places = step(zero_gamma, fp16, label_smoothing, mixup, distillation)
    assert places.elsewhere == {"aten.lift_fresh.default": 1}, "what from_numpy is"
    assert places.moved == {"aten._to_copy.default": 1}


def test_all_that_comes_from_elsewhere_was_drawn_by_numpy(step, tiny):
    """With the data part and its augmentation: each array goes to the device, and no arithmetic is done before."""
    places = step(mixup, images=tiny.data.load(), batch_size=298)
    assert set(places.elsewhere) == {"aten.lift_fresh.default"}
    assert set(places.moved) == {"aten._to_copy.default"}
    assert places.elsewhere.total() == places.moved.total() > 0


def test_passes_of_a_step_too(step):
    places = step(label_smoothing, distillation, microbatch=3)
    assert not places.elsewhere
    assert not places.moved


def test_a_tensor_made_elsewhere_shows(step, monkeypatch):
    smooth = label_smoothing.__globals__["smooth"]
    monkeypatch.setitem(label_smoothing.__globals__, "smooth", lambda y, eps: smooth(y, eps) * torch.ones(()))
    assert step(label_smoothing).elsewhere
