import json

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from harness import Problem
from harness import train as loop
from harness.evidence import Upstream
from harness.parts.data import Digits
from harness.parts.views import Views
from harness.tricks.distillation import distillation
from harness.tricks.evaluation_size import EvaluationSize, evaluation_size
from harness.tricks.tta import tta
from tests.mutants.breaking import TINY, traced

SPEC = tta(TINY.but(epochs=2), shift=1)


def airbench(net, x):
    """Its "level 2": half of mirrored and not, half of both at two corners of a frame of reflections."""

    def mirrored(x):
        return 0.5 * net(x) + 0.5 * net(x.flip(-1))

    height, width = x.shape[2:]
    framed = pad(x, (1,) * 4, "reflect")
    corners = [mirrored(framed[..., :height, :width]), mirrored(framed[..., 2 : height + 2, 2 : width + 2])]
    return 0.5 * mirrored(x) + 0.5 * torch.stack(corners).mean(0)


def net(x):
    return torch.stack(
        [x[:, 0, 0, 0] ** 2, x[:, 0, 2, 1], (x * torch.arange(x[0].numel()).view(x[0].shape)).sum((1, 2, 3))], 1
    )


def test_the_answer_is_airbenchs():
    x = torch.rand(5, 1, 6, 7)
    images = Views(shift=1).view(Digits().load())
    torch.testing.assert_close(images.answered(net, x), airbench(net, x))
    torch.testing.assert_close(Views().view(Digits().load()).answered(net, x), (net(x) + net(x.flip(3))) / 2)


@pytest.mark.parametrize(("mirror", "shift"), [(True, 0), (True, 1), (False, 3), (True, 5)])
def test_the_second_writing_sees_the_same(mirror, shift):
    x, part = torch.rand(3, 2, 6, 8), Views(mirror=mirror, shift=shift)
    for (share, view), (due, again) in zip(part.views(x), part.reference(x.double().numpy()), strict=True):
        assert share == due
        np.testing.assert_array_equal(view.double().numpy(), again)


def test_training_is_as_it_was_and_the_record_says_what_was_tested():
    (plain, _), (trained, trace) = traced(SPEC.but(evaluation=None)), traced(SPEC)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trained.result["network"] == plain.result["network"]
    assert trained.result["metrics"]["test_loss"] != plain.result["metrics"]["test_loss"]
    assert trace.exams.views == {6}
    told = {row["what"]: row["seen"] for row in trained.result["evidence"]}
    assert told["views of each test image whose answers are averaged"] == "6"
    x, _ = next(SPEC.data.load().test(400, torch.device("cpu")))
    with torch.no_grad():
        due = airbench(trained.model.eval(), x)
    np.testing.assert_allclose(trained.arrays["logits"][:400], due.numpy(), rtol=1e-3, atol=1e-4)
    assert json.dumps(trained.result["evidence"])


def test_beside_another_size(tiny):
    both = evaluation_size(tta(tiny), size=12)
    assert both.evaluation == Views(of=EvaluationSize(size=12)) == tta(evaluation_size(tiny, size=12)).evaluation
    trained, trace = traced(both.but(epochs=2))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert (trace.exams.sides, trace.exams.views) == ({12}, {2})


def test_a_teacher_is_asked_as_it_was_tested(tiny):
    def inner(spec):
        done = loop.train(spec, 0, torch.device("cpu"), inner)
        return Upstream(done.model, spec.id, done.result)

    spec = distillation(tta(tiny.but(batch_size=99, epochs=2)), model=tiny.model, tricks=())
    done = loop.train(spec, 0, torch.device("cpu"), inner)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Views(mirror=False), "leave one view"),
        (Views(shift=8), "shift=8 is not below the 8 px"),
        (Views(of=Views()), "not on other views"),
    ],
)
def test_what_makes_no_sense_is_said(part, said):
    with pytest.raises(Problem, match=said):
        SPEC.but(evaluation=part).agree()
