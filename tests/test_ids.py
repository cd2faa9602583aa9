"""Ids are what runs are found by: what moves one, what does not, and a few that must stay."""

import json
from functools import partial

import pytest

from experiments import digits
from harness.parts.augment import Shift
from harness.parts.data import ImageFolder
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import CONVNEXT_T, RESNET50, Airbench, ResNet9
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Augment, Data, Spec, parse, plain, stack
from harness.tricks.adaptive_clipping import adaptive_clipping
from harness.tricks.alternating_flip import alternating_flip
from harness.tricks.augmix import augmix
from harness.tricks.auto_augment import auto_augment
from harness.tricks.bf16 import bf16
from harness.tricks.big_little import big_little
from harness.tricks.blur_pool import blur_pool
from harness.tricks.clip_value import clip_value
from harness.tricks.cutmix import cutmix
from harness.tricks.cutout import cutout
from harness.tricks.depthwise_conv import depthwise_conv
from harness.tricks.depthwise_up import depthwise_up
from harness.tricks.dirac import dirac
from harness.tricks.dropblock import dropblock
from harness.tricks.dropout_on_fc import dropout_on_fc
from harness.tricks.ema import ema
from harness.tricks.fewer_activations import fewer_activations
from harness.tricks.fewer_norms import fewer_norms
from harness.tricks.gelu import gelu
from harness.tricks.inverted_bottleneck import inverted_bottleneck
from harness.tricks.lamb import lamb
from harness.tricks.large_kernel import large_kernel
from harness.tricks.layer_norm import layer_norm
from harness.tricks.layer_scale import layer_scale
from harness.tricks.lion import lion
from harness.tricks.lookahead import lookahead
from harness.tricks.muon import muon
from harness.tricks.one_cycle import one_cycle
from harness.tricks.one_of import one_of
from harness.tricks.one_order import one_order
from harness.tricks.patchify_stem import patchify_stem
from harness.tricks.progressive_resizing import progressive_resizing
from harness.tricks.randaugment import randaugment
from harness.tricks.random_erasing import random_erasing
from harness.tricks.repeated_augmentation import repeated_augmentation
from harness.tricks.selective_kernel import selective_kernel
from harness.tricks.separate_downsampling import separate_downsampling
from harness.tricks.squeeze_excitation import squeeze_excitation
from harness.tricks.stochastic_depth import stochastic_depth
from harness.tricks.swa import swa
from harness.tricks.tf32 import tf32
from harness.tricks.triangular import triangular
from harness.tricks.trivial_augment import trivial_augment
from harness.tricks.tta import tta
from harness.tricks.whitening import whitening


class Loaded:
    def __init__(self, digest):
        self.digest = digest


class Squares(Data):
    """Data that needs no files: its content's digest is given."""

    root: str = "here"
    content: str = "0123456789abcdef"

    @property
    def channels(self):
        return 3

    def load(self):
        return Loaded(self.content)

    def identity(self):
        return {name: value for name, value in super().identity().items() if name != "content"}


SPEC = Spec(
    data=Squares(),
    model=RESNET50,
    init=(Xavier(),),
    decay=DecayAll(weight=1e-4),
    optimizer=NAG(lr=0.1, per=256),
    schedule=Piecewise(),
    batch_size=256,
    epochs=120,
    augment=(Shift(pixels=1),),
    precision=FP32(),
)


def test_published_ids():
    """Whoever changes one of these disowns all runs that were made before: bump a version instead."""
    assert SPEC.id == "ac58d944b1baceac"
    assert digits.BASELINE.id == "d8419fa0ef0b672e"
    assert stack(digits.BASELINE, digits.TRICKS).id == "01431bdb3b6f015a"


@pytest.mark.parametrize(
    ("trick", "due"),
    [
        (cutmix, "fcd5dc2b4697cf98"),
        (one_of, "dd751dcf6170f2b9"),
        (random_erasing, "7485a9ba89b4e581"),
        (cutout, "c0275aa624d5619c"),
        (trivial_augment, "ceb99df428679181"),
        (randaugment, "396e1b35ec81201d"),
        (lamb, "c762030bdc22ee52"),
        (bf16, "9a380235c3c8ecd8"),
        (tf32, "98d69d1e00429896"),
        (lion, "fe8db7ee293b4212"),
        (muon, "64168ab58a77879e"),
        (triangular, "dc745b255e1198f5"),
        (one_cycle, "348e0ef35429bcae"),
        (stochastic_depth, "1399c7df4af201a5"),
        (dropout_on_fc, "5d4da598028d3ba2"),
        (squeeze_excitation, "15edb7e420d35320"),
        (selective_kernel, "411debde9c5cbd49"),
        (blur_pool, "41dbd13724b5e3bf"),
        (gelu, "50713ae73c695372"),
        (layer_norm, "ce077f1f895b7278"),
        (patchify_stem, "24c394bcee17e4dd"),
        (depthwise_conv, "6bc372ec8a9f3071"),
        (inverted_bottleneck, "37dcee3eb1078c9a"),
        (depthwise_up, "df772aa8016c4cde"),
        (large_kernel, "770c8e787681eb41"),
        (fewer_activations, "2a59c91a82a85bbd"),
        (fewer_norms, "82c94d0080cfe80c"),
        (separate_downsampling, "ac8c1614c1af0af9"),
        (layer_scale, "f7311952db530e28"),
        (repeated_augmentation, "8b4984c6c6901119"),
        (one_order, "3c5360c10b182a1f"),
        (alternating_flip, "a99e0eb64b22455b"),
        (swa, "5945f8ac78b5535d"),
        (lookahead, "20ac278e895a3990"),
        (progressive_resizing, "f125a3c447eaefb7"),
        (tta, "580c56a93020ca2f"),
        (adaptive_clipping, "79a7d4d3d2e5e65b"),
        (clip_value, "4b8e353a228e66f4"),
        (partial(ema, warmup=True, buffers="copied"), "f0d8e8e7631a1bb8"),
        (dropblock, "16dcd133a7c39f86"),
        (augmix, "3763157bf0f414ec"),
        (auto_augment, "5e2dbec9da2a77fd"),
        (whitening, "adbce92bd858a9b2"),
        (partial(whitening, negatives=False), "a70e8c457937822c"),
        (dirac, "12ddcdcdc2bcfaef"),
        (big_little, "0a99cd8b4c6d382b"),
        (partial(big_little, beta=2), "0f708adcfeeef3ee"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_published_ids_of_tricks(trick, due):
    assert trick(SPEC).id == due


@pytest.mark.parametrize(
    ("model", "due"),
    [
        (CONVNEXT_T, "7ba6fbc630c3dfc8"),
        (Airbench(), "7e0c8315ffd463c3"),
        (ResNet9(), "afbe59cdab032a42"),
        (ResNet9(early_pool=True, celu=0.075, frozen_scale=0.25, patch_features=True), "4b4d689f91202f2b"),
    ],
)
def test_published_ids_of_networks(model, due):
    assert SPEC.but(model=model).id == due


def test_published_ids_of_a_decay_of_betas():
    assert SPEC.but(decay=DecayAll(weight=1e-4, betas=1e-5)).id == "27c5e554a51e649f"


def test_order_of_keywords_moves_nothing():
    fields = dict(SPEC)
    assert Spec(**dict(reversed(fields.items()))).id == SPEC.id
    backwards = {key: plain(SPEC)[key] for key in reversed(plain(SPEC))}
    assert parse(json.loads(json.dumps(backwards))).id == SPEC.id


def test_place_of_data_moves_nothing_and_content_does():
    assert SPEC.but(data=Squares(root="elsewhere")).id == SPEC.id
    assert SPEC.but(data=Squares(content="changed")).id != SPEC.id


def test_place_of_an_image_folder_moves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFolder, "load", lambda self: Loaded("same"))
    one, other = (SPEC.but(data=ImageFolder(root=tmp_path / name)) for name in ("one", "other"))
    assert one.id == other.id
    assert one.id != SPEC.but(data=ImageFolder(root=tmp_path / "one", size=64)).id


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 121},
        {"batch_size": 255},
        {"model": RESNET50.but(variant="B")},
        {"decay": DecayAll(weight=2e-4)},
        {"augment": ()},
        {"augment": (Shift(pixels=2),)},
        {"optimizer": NAG(lr=0.1, per=None)},
    ],
    ids=str,
)
def test_every_value_counts(change):
    assert SPEC.but(**change).id != SPEC.id


def blur(default, **fields):
    """The class `Blur` as one release has it: with that default, and with those fields more."""
    names = {"__annotations__": {"sd": float}, "sd": default, "__call__": lambda self, x, rng: x}
    for name, (kind, value) in fields.items():
        names["__annotations__"][name] = kind
        names[name] = value
    return type("Blur", (Augment,), {**names, "__module__": __name__})


def test_a_new_neutral_field_moves_nothing():
    old, new = blur(1.0), blur(1.0, mask=(tuple[int, ...], ()), after=(str | None, None))
    assert SPEC.but(augment=(new(),)).id == SPEC.but(augment=(old(),)).id
    assert SPEC.but(augment=(new(after="flip"),)).id != SPEC.but(augment=(old(),)).id


def test_a_new_neutral_slot_moves_nothing():
    class Wider(Spec):
        blend: tuple[Augment, ...] = ()

    Wider.__name__, Wider.__module__ = "Spec", "harness.spec"  # as the next release would have it
    try:
        assert Wider(**dict(SPEC)).id == SPEC.id
        assert Wider(**dict(SPEC), blend=(Shift(),)).id != SPEC.id
    finally:
        Wider.__name__, Wider.__module__ = "Wider", __name__


def test_a_changed_default_moves_ids():
    old, new = blur(1.0), blur(2.0)
    assert SPEC.but(augment=(new(),)).id != SPEC.but(augment=(old(),)).id
    assert SPEC.but(augment=(new(sd=1.0),)).id == SPEC.but(augment=(old(),)).id


def test_a_version_moves_ids(monkeypatch):
    before = SPEC.id
    monkeypatch.setattr(Shift, "version", 2)
    after = Spec(**dict(SPEC))
    assert after.id != before
    assert plain(after)["augment"] == [{"kind": "Shift", "version": 2, "pixels": 1}]


def test_an_inner_specification_counts():
    one, other = (stack(digits.BASELINE.but(epochs=epochs), digits.TRICKS).teacher for epochs in (20, 21))
    assert SPEC.but(teacher=one).id != SPEC.but(teacher=other).id


def test_id_is_sixteen_hexadecimal_digits():
    assert len(SPEC.id) == 16
    assert int(SPEC.id, 16) >= 0
