"""The test as evidence: prints of images, answers kept, and evaluations that were not what they were said to be."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from harness import train as loop
from harness.evidence import Trace
from harness.evidence.numbers import weighed
from harness.evidence.proofs import test_checks as checks_of
from harness.evidence.replay import Replay
from harness.evidence.tested import Exams, close, shadow
from harness.parts.data import Cached
from harness.parts.models import Dense
from harness.parts.precision import FP32
from harness.rng import stream
from harness.stats import unpacked
from harness.tasks.classify import Classify, packed
from tests.kit.tiny import train_epoch

CPU = torch.device("cpu")

# --- prints ---------------------------------------------------------------------------------------------------------


def test_a_print_is_the_product_with_one_fixed_random_image():
    x = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    due = x.flatten(1).double().numpy() @ stream(0, "print").standard_normal(50)
    np.testing.assert_allclose((x.flatten(1) @ shadow(x, (5, 5))).numpy(), due, rtol=1e-4, atol=1e-5)
    assert len(shadow(x[:, :1], (5, 5))) == 25


def test_an_image_has_the_same_print_whatever_it_is_padded_with():
    x = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (0, 2, 0, 3))
    prints = [float(image.flatten() @ shadow(image, (9, 8))) for image in (x, padded)]
    assert prints[0] == pytest.approx(prints[1], rel=1e-5)
    assert float(x.flatten() @ shadow(x, (4, 5))) != pytest.approx(prints[0], rel=1e-2)


def test_each_change_of_an_image_moves_its_print():
    """A flip, a shift, two pixels changed over, channels changed over, a brighter one."""
    x = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    swapped = x.clone()
    swapped[0, 0, 2, 3], swapped[0, 0, 2, 4] = x[0, 0, 2, 4], x[0, 0, 2, 3]
    others = [x.flip(3), x.roll(1, 2), swapped, x[:, [2, 1, 0]], x + 0.01, -x]
    prints = [float(image.flatten() @ shadow(x, (6, 6))) for image in (x, *others)]
    gaps = np.abs(np.subtract.outer(prints, prints))[~np.eye(7, dtype=bool)]
    assert gaps.min() > 1e-3


def test_prints_are_those_known_and_else_those_of_the_first_time():
    due, nan = np.array([1.0, 3.0, np.nan, np.nan]), np.nan
    first = np.array([1.0, 3.0, 7.0, 9.0])
    assert close(first, due, None).all(), "the first time there is none to compare"
    assert close(first + 1e-5, due, first).all()
    assert close(np.array([1.0, 3.0, 9.0, 7.0]), due, first).tolist() == [True, True, False, False]
    assert close(np.array([3.0, 1.0, 7.0, 9.0]), due, first).tolist() == [False, False, True, True]
    assert close(np.array([nan, 3.0, 7.0, nan]), due, first).tolist() == [False, True, True, False]
    assert close(np.zeros(2), np.zeros(2), None).all(), "black images"
    assert not close(np.ones(2), np.zeros(2), None).any()


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 1000, 65536])
def test_answers_come_back(classes):
    answers = torch.randint(classes, (500,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    answers[0] = classes - 1
    text = packed(answers)
    assert unpacked(text).tolist() == answers.tolist()
    assert text.isascii()
    assert unpacked(packed(torch.zeros(0, dtype=torch.int32))).tolist() == []
    assert len(packed(torch.zeros(10000, dtype=torch.int32))) < 100


def test_a_result_keeps_its_answers(tiny, live):
    """Those of its weights to the test images; its bits and its top-1 are theirs."""
    done, trace = live(tiny)
    images = tiny.data.load()
    x, labels = images.on(CPU, "test")
    with torch.no_grad():
        due = done.model.eval()(images.normalised(x.float())).argmax(1)
    seen = unpacked(done.result["answers"])
    assert (seen == due.numpy()).mean() > 0.999
    assert 100 * (seen == labels.numpy()).mean() == pytest.approx(done.result["metrics"]["top1"])
    assert trace.exams.answers == done.result["answers"]


# --- an evaluation --------------------------------------------------------------------------------------------------


def examined(tiny, **changes):
    """A network that was begun and one epoch of it, as the loop has it before its evaluation."""
    spec = tiny.but(epochs=1, model=Dense(hidden=(8,), size=8), augment=(), **changes)
    run = loop.begin(spec, 0, CPU, 2, 10, lambda up: pytest.fail("no upstream here"))
    train_epoch(spec, run, spec.data.load())
    return spec, run


def failed(spec, run, scores=None, right=None):
    """The checks of the evaluation that do not hold."""
    run.trace.history = [{"epoch": 0, "loss": run.total.item() / 2}]
    reported = scores if scores is not None else run.reported
    rows = list(
        checks_of(spec, run.trace, reported, run.answered if right is None else run.answered | {"correct": right})
    )
    assert len(rows) == 17
    return {row.what.partition(":")[0].partition(",")[0] for row in rows if not row.ok}


def test_a_right_evaluation(tiny):
    spec, run = examined(tiny)
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    assert failed(spec, run) == set()
    (row,) = run.trace.exams.found
    assert row["n"] == row["due"] == 300
    assert row["strangers"] == row["right"] == 0
    assert row["marks"] < 1e-6
    assert row["answered"] < 1e-5
    assert row["weight"] == row["trained"] == row["kept"] == weighed(run.model)


def served(change):
    """`Cached.test`, with its batches changed."""
    test = Cached.test

    def other(self, batch_size, device, split="test"):
        yield from change(list(test(self, batch_size, device, split)))

    return other


def missing(batches):
    *first, (x, y) = batches
    return [*first, (x[:-1], y[:-1])]


def twice(batches):
    *first, (x, y) = batches
    return [*first, (x[[*range(len(x) - 1), 0]], y[[*range(len(y) - 1), 0]])]


def reordered(batches):
    return batches[::-1]


def mirrored(batches):
    return [(x.flip(3), y) for x, y in batches]


def easy(batches):
    """One image again and again."""
    return [(x[:1].expand_as(x), y[:1].expand_as(y)) for x, y in batches]


STRANGERS = "images evaluated that are not the split's own"
MARKS = "losses and accuracies"
RIGHT = "evaluations whose images reported right were answered otherwise"
TOP1, BITS = "top-1 that is reported", "images that are reported right are those answered right"
LABELS = "labels kept with the logits that are not the data's"
FEW = "evaluations that were not of every image of their split"
SERVED = {
    "missing": (missing, {FEW, MARKS, RIGHT, TOP1, BITS, LABELS, "logits kept"}),
    "twice": (twice, {STRANGERS, MARKS, LABELS}),
    "reordered": (reordered, {STRANGERS, MARKS, RIGHT, TOP1, BITS, LABELS}),
    "mirrored": (mirrored, {STRANGERS}),
    "easy": (easy, {STRANGERS, MARKS, RIGHT, TOP1, BITS, LABELS}),
}


@pytest.mark.parametrize("fault", SERVED)
def test_other_images_are_told(fault, tiny, monkeypatch):
    spec, run = examined(tiny)
    change, due = SERVED[fault]
    with monkeypatch.context() as patch:
        patch.setattr(Cached, "test", served(change))
        run.reported = loop.test(spec, run, spec.data.load(), "test")
    told = failed(spec, run)
    assert due & {FEW, STRANGERS} <= told <= due


def test_other_weights_are_told(tiny):
    """Changed before the evaluation; after it; and those that answered are not those that there were."""
    spec, run = examined(tiny)
    run.model.get_submodule("1").weight.data[0, 0] += 0.01
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    assert failed(spec, run) == {"evaluations by other weights than those trained"}
    spec, run = examined(tiny)
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    run.model.get_submodule("1").weight.data[0, 0] += 0.01
    assert failed(spec, run) == {
        "the weights that are kept are those tested last",
        "they are those of epoch 1",
    }


def test_answers_of_another_network_are_told(tiny):
    """One that sees the same images, by the same weights, and says something else."""
    spec, run = examined(tiny)
    forward = run.model.forward
    run.model.forward = lambda x: forward(x) + 0.05
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    assert failed(spec, run) == {"answers of a batch drawn at random"}


@pytest.mark.parametrize(
    ("change", "due"),
    [
        (lambda s, right: ({**s, "test_loss": s["test_loss"] - 0.001}, right), {MARKS}),
        (lambda s, right: ({**s, "top1": s["top1"] + 100 / 300}, right), {MARKS, TOP1}),
        (lambda s, right: ({**s, "top5": 100.0}, right), {MARKS}),
        (lambda s, right: (s, f"{int(right[0], 16) ^ 1:x}{right[1:]}"), {RIGHT, BITS}),
    ],
    ids=["loss", "top-1", "top-5", "bits"],
)
def test_wrong_marks_are_told(change, due, tiny, monkeypatch):
    spec, run = examined(tiny)
    evaluate = loop.evaluate

    def other(*args):
        scores, kept = evaluate(*args)
        scores, right = change(scores, kept["correct"])
        return scores, kept | {"correct": right}

    monkeypatch.setattr(loop, "evaluate", other)
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    assert failed(spec, run) == due


def test_reported_otherwise_than_evaluated_is_told(tiny):
    spec, run = examined(tiny)
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    assert failed(spec, run, {**run.reported, "top1": run.reported["top1"] + 1}) == {TOP1}
    assert failed(spec, run, right="00" * 150) == {BITS}


def test_an_evaluation_that_was_left_out_is_told(tiny):
    spec, run = examined(tiny)
    run.trace.history = [{}]
    (row,) = checks_of(spec, run.trace, {}, {})
    assert (row.what, row.expected, row.seen, row.ok) == ("evaluations", "1", "0", False)


def test_training_that_goes_on_from_other_weights_is_told(tiny):
    spec, run = examined(tiny)
    spec = spec.but(epochs=2)
    run.reported = loop.test(spec, run, spec.data.load(), "test")
    run.epoch, run.batch = 1, 0
    with torch.no_grad():
        run.model.get_submodule("1").bias += 1e-4
    train_epoch(spec, run, spec.data.load())
    assert run.trace.exams.resumed == 1


def test_losses_are_scipys(tiny):
    """Also of logits far apart, where float32 would lose them."""
    net = nn.Flatten()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    trace = Trace(1, 64, model=net, optimizer=optimizer, task=Classify())
    labels = np.arange(6)
    z = 200 * np.random.default_rng(0).normal(size=(6, 64))
    data = SimpleNamespace(
        labels=lambda split: labels, size=8, classes=range(64), canvas=(8, 8), counts={"test": 6}, looks=None
    )
    spec = SimpleNamespace(data=SimpleNamespace(load=lambda: data), epochs=1, evaluation=None, precision=FP32())
    exams = Exams(spec, trace, Replay(spec, trace))
    exams._known["test"] = np.arange(6.0)  # strangers, whatever they are
    net.eval()
    net(torch.from_numpy(z).float().view(6, 1, 8, 8))
    order = np.argsort(-z, axis=1)
    scores = {
        "test_loss": -log_softmax(z, axis=1)[labels, labels].mean(),
        "top1": 100 * (order[:, 0] == labels).mean(),
        "top5": 100 * (order[:, :5] == labels[:, None]).any(1).mean(),
    }
    exams.saw("test", scores, {"correct": np.packbits(order[:, 0] == labels).tobytes().hex()})
    assert exams.found[0]["marks"] < 1e-6
    assert exams.found[0]["right"] == 0
