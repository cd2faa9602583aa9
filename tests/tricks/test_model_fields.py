"""Tricks that set a field of a ResNet; what the field does is tested by `tests/parts/models/test_modern.py`."""

import importlib
from functools import partial

import pytest

from harness import Problem
from harness.parts.models import CONVNEXT_T, RESNET50, Timm
from harness.spec import stack

SETS = {
    "stochastic_depth": {"drop_path": 0.1},
    "dropout_on_fc": {"dropout": 0.25},
    "dropblock": {"drop_block": 0.1},
    "squeeze_excitation": {"squeeze": 1 / 16},
    "selective_kernel": {"selective": True},
    "big_little": {"big_little": (2, 4)},
    "blur_pool": {"blur": 3},
    "gelu": {"activation": "gelu"},
    "layer_norm": {"norm": "layer"},
    "patchify_stem": {"patchify": 4},
    "depthwise_conv": {"depthwise": True},
    "inverted_bottleneck": {"inverted": True},
    "depthwise_up": {"spatial_first": True},
    "large_kernel": {"kernel": 7},
    "fewer_activations": {"fewer_activations": True},
    "fewer_norms": {"fewer_norms": True},
    "separate_downsampling": {"separate": True},
    "layer_scale": {"layer_scale": 1e-6},
}
TRICKS = {name: getattr(importlib.import_module(f"harness.tricks.{name}"), name) for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_sets_its_field_alone(name, tiny):
    spec = TRICKS[name](tiny)
    assert spec == tiny.but(model=tiny.model.but(**SETS[name]))
    with pytest.raises(Problem, match=rf"^{name} is about ResNets of ours, and Timm\(.* has no .*: leave the .* out$"):
        TRICKS[name](tiny.but(model=Timm(name="resnet18")))


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("stochastic_depth", {"rate": 0.3}, "drop_path"),
        ("squeeze_excitation", {"ratio": 0.25}, "squeeze"),
        ("big_little", {"alpha": 4, "beta": 2}, "big_little"),
    ],
)
def test_at_another_strength(name, given, field, tiny):
    spec = partial(TRICKS[name], **given)(tiny)
    due = tuple(given.values())
    assert getattr(spec.model, field) == (due if len(due) > 1 else due[0])


def test_convnext_is_a_stack_of_them(tiny):
    """With ResNet-50-B's blocks 3, 3, 9, 3 and a width of 96; its Table 10 has no rung for LayerScale."""
    start = tiny.but(model=RESNET50.but(variant="B", blocks=(3, 3, 9, 3), width=96))
    rungs = [
        name
        for name in SETS
        if not set(SETS[name]) & {"drop_path", "dropout", "drop_block", "squeeze", "selective", "big_little", "blur"}
    ]
    assert stack(start, [TRICKS[name] for name in rungs]).model == CONVNEXT_T
