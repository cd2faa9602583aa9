import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.parts.models import Dense
from harness.tricks.cutmix import cutmix
from harness.tricks.one_of import one_of
from harness.tricks.progressive_resizing import Progressive, progressive_resizing
from harness.tricks.swa import swa
from tests.mutants.breaking import TINY, traced

SPEC = progressive_resizing(TINY.but(epochs=5, model=TINY.model))


def test_sides_by_hand():
    """Of 224 px in ten epochs: 112 up to the half, then 1/3 and 2/3 of the way, and all of it from the eighth on."""
    part = Progressive()
    assert [part.side(epoch, 10, 224) for epoch in range(10)] == [112] * 6 + [148, 188, 224, 224]
    assert [part.side(e, 4, 32) for e in range(4)] == [16, 16, 16, 28]
    for own in (part, Progressive(initial=0.3, delay=0, finetune=0.0, multiple=1), Progressive(delay=0.8)):
        for epochs in (1, 3, 7, 16, 100):
            sides = [own.side(epoch, epochs, 160) for epoch in range(epochs)]
            assert sides == [own.due(epoch, epochs, 160) for epoch in range(epochs)] == sorted(sides)


def test_images_are_scaled_as_pillow_does():
    x = torch.rand(3, 1, 16, 16) * 255
    made, again = Progressive()(x, 0, 10), Progressive().reference(x.double().numpy(), 0, 10)
    for own, other, raw in zip(made, again, x, strict=True):
        due = Image.fromarray(raw[0].numpy(), mode="F").resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(own[0].numpy(), np.asarray(due), atol=1e-3)
        np.testing.assert_allclose(other[0], np.asarray(due), atol=1e-3)
    assert Progressive()(x, 9, 10) is x


@pytest.mark.parametrize("also", [cutmix, one_of, swa])
def test_beside_others_every_check_holds(also):
    trained, trace = traced(also(SPEC))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert [shape[1:] for shape in trace.shapes] == [(4, 4), (8, 8)]
    assert trace.exams.sides == {8}
    assert trained.result["macs"] == traced(SPEC.but(resolution=(), epochs=1))[0].result["macs"]


def test_a_network_of_one_size_says_so():
    with pytest.raises(Problem, match=r"^resolution: 4 px in training: .* cannot take images of 4 x 4"):
        SPEC.but(model=Dense(hidden=(8,), size=8)).agree()


def test_shares_are_of_one_run():
    with pytest.raises(Problem, match="are more than all epochs"):
        SPEC.but(resolution=(Progressive(delay=0.9),)).agree()
