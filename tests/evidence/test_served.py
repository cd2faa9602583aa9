"""Images, their augmentation and their order, made anew."""

import copy
import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image

from harness import evidence
from harness import train as loop
from harness.evidence.proofs import MOST
from harness.evidence.replay import judged
from harness.parts.augment import PAPER, Flip, ScaledCrop, Shift
from harness.parts.data import ImageFolder
from harness.parts.models import ResNet
from harness.rng import streams
from tests import mutants
from tests.kit import dense
from tests.kit.audits import over, with_spec
from tests.mutants.breaking import traced


class Idle(Shift):
    def __call__(self, x, rng):
        return x

    reference = __call__


class Brightened(Shift):
    """Not by a draw: so that it must show."""

    def __call__(self, x, rng):
        return x + self.pixels

    reference = __call__


@pytest.mark.parametrize(
    ("trained", "claimed", "gap", "changed"),
    [
        ((Shift(),), (Shift(),), True, True),
        ((), (Shift(),), False, True),
        ((Shift(),), (Shift(pixels=2),), False, True),
        ((Shift(),), (), False, None),
        ((), (), True, None),
        ((Idle(),), (Idle(),), True, False),
        ((Brightened(),), (Brightened(),), True, True),
        ((Brightened(),), (Brightened(pixels=2),), False, True),
    ],
    ids=str,
)
def test_images_are_those_of_the_augmentation_said(trained, claimed, gap, changed, tiny, audits):
    trace, steps = audits(tiny.but(augment=trained, epochs=1))
    gaps = judged(with_spec(trace, tiny.but(augment=claimed, epochs=1)), steps[0])
    assert (gaps["images"] < MOST["images"]) == gap
    if changed is None:
        assert "augmented" not in gaps
    else:
        assert bool(gaps["augmented"]) == changed


def test_augmentation_that_changes_nothing_is_refused_but_of_few_images(tiny, live):
    for size, ok in ((298, False), (15, True)):
        spec = tiny.but(augment=(Idle(),), epochs=1, batch_size=size)
        _, trace = live(spec)
        trace.auditor.found[2:] = []
        trace.auditor.due = frozenset(range(2)) if ok else trace.auditor.due
        trace.auditor.found = trace.auditor.found[:1]
        (row,) = [row for row in evidence.prove(spec, trace) if row["what"].startswith("images of audited steps that")]
        assert row["ok"] == ok


def test_order_is_that_of_the_seed(tiny, audits):
    trace, steps = audits(tiny.but(epochs=4))
    replay = copy.copy(trace.auditor.replay)
    replay.trace = copy.copy(trace)
    replay.trace.rng = streams(1)
    assert {"labels", "images", "targets"} <= over(judged(replay, steps[2]))


def test_photos_are_drawn_anew_and_their_decoders_sent_home(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 256, size=(90, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    model = ResNet(blocks=(1,), width=4, variant="C")
    spec = mutants.TINY.but(
        data=ImageFolder(root=tmp_path, size=80), model=model, batch_size=16, epochs=1, augment=PAPER
    )
    before = set(multiprocessing.active_children())
    result = loop.train(spec, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "finished"
    assert set(multiprocessing.active_children()) <= before


def test_a_cut_of_another_size_than_the_image_is_audited():
    """As Table 9's study has it: images of 40 px and more, and cuts of 48 x 48."""
    trained, trace = traced(dense.SEGMENTER.but(augment=(ScaledCrop(size=48), Flip()), epochs=2))
    assert trace.auditor.errors == []
    assert [row["what"] for row in trained.result["evidence"] if not row["ok"]] == []
    assert {row["augmented"] for row in trace.auditor.found} == {2}
