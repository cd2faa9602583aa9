"""Losses and scores of detection: by torchvision, by hand, and by their second writing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import fastrcnn_loss

from harness.parts.models import FasterRCNN, ResNet
from harness.parts.models.faster_rcnn import boxed, lengths
from harness.tasks.detect import Detect, Found
from tests.kit.scored import DETECTION

TASK = Detect()
PART = FasterRCNN(
    backbone=ResNet(blocks=(1, 1), bottleneck=False, width=4),
    **{"anchors": (8, 16), "anchor_samples": 12, "region_samples": 10, "pooled": 3, "before_nms": (60, 60)},
)


def known(n=2):
    """Boxes on `n` images of 48 x 64 px: two objects, one, two, …; frames first."""
    y = torch.zeros(n, 4, 6)
    y[:, 0, :5] = torch.tensor([48, 64, 96, 128, 0])
    y[:, 0, 4] = torch.arange(n)
    for i in range(n):
        y[i, 1, :5] = torch.tensor([1, 4 + i, 6, 20 + i, 30])
        if i % 2 == 0:
            y[i, 2, :5] = torch.tensor([2, 30, 10, 60, 40])
    return y


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return PART.build(3, 2).train()


def answered(net, y, seed=3):
    torch.manual_seed(seed)
    return net(torch.randn(len(y), 3, 48, 64), y)


def test_an_answer_has_the_pieces_that_are_told(net):
    z = answered(net, known())
    anchors, regions, classes = (int(number) for number in z[0, :3])
    assert (anchors, regions, classes) == (12 * 16 * 6, 10, 3), "a map of stride 4, 2 scales, 3 shapes"
    assert z.shape == (2, sum(lengths(anchors, regions, classes)))
    _, _, drawn, *_, label, _, _, _ = z.split(lengths(anchors, regions, classes), 1)
    assert ((drawn >= 0).sum(1) <= 12).all()
    assert {*drawn.unique().tolist()} == {-1.0, 0.0, 1.0}
    assert {*label.unique().tolist()} <= {-1.0, 0.0, 1.0, 2.0}
    assert (label > 0).any()


def test_the_loss_is_torchvisions(net):
    """Of the same samples: `compute_loss` of its RPN, and `fastrcnn_loss`."""
    y = known()
    z = answered(net, y)
    a, r, k = (int(number) for number in z[0, :3])
    _, score, drawn, moved, due, told, label, shifts, aims, _ = z.split(lengths(a, r, k), 1)
    sampled = [torch.where(row == kind)[0] for row in drawn for kind in (1, 0)]
    masks = [[], []]
    for i, places in enumerate(sampled):
        mask = torch.zeros(a, dtype=torch.uint8)
        mask[places] = 1
        masks[i % 2].append(mask)
    net.rpn.fg_bg_sampler, kept = (lambda labels: masks), net.rpn.fg_bg_sampler
    objectness, boxes = net.rpn.compute_loss(
        score.reshape(-1, 1), moved.reshape(-1, 4), list(drawn), list(due.view(2, a, 4))
    )
    net.rpn.fg_bg_sampler = kept
    some = label.flatten() >= 0
    labels = [row[row >= 0].long() for row in label]
    targets = [row[own >= 0] for row, own in zip(aims.view(2, r, 4), label, strict=True)]
    classes, offsets = fastrcnn_loss(told.reshape(-1, k)[some], shifts.reshape(-1, 4 * k)[some], labels, targets)
    assert Found()(z, y).item() == pytest.approx((objectness + boxes + classes + offsets).item(), rel=1e-5)


def test_its_reference_has_its_value_and_its_gradient(net):
    z = answered(net, known(3)).detach().double().requires_grad_()
    loss = Found()(z, known(3))
    loss.backward()
    value, slope = Found().reference(known(3).numpy(), z.detach().numpy())
    assert value == pytest.approx(loss.item(), rel=1e-9)
    assert slope == pytest.approx(z.grad.numpy(), abs=1e-9)
    assert np.abs(slope).sum() > 0


def test_images_without_a_box_are_trained_on(net):
    y = known(1)
    y[:, 1:] = 0
    z = answered(net, y)
    loss = Found()(z, y)
    loss.backward()
    assert torch.isfinite(loss)
    _, _, drawn, *_, label, _, _, _ = z.split(lengths(*(int(n) for n in z[0, :3])), 1)
    assert drawn.max() == 0
    assert label.max() == 0


def test_regions_that_are_lacking_are_filled_up_and_count_for_nothing():
    torch.manual_seed(0)
    few = PART.but(proposals=(3, 3), region_samples=10).build(3, 2).train()
    z = answered(few, known())
    *_, label, _, _, _ = z.split(lengths(*(int(n) for n in z[0, :3])), 1)
    assert (label == -1).sum(1).min() >= 4, "3 proposals and up to 2 true boxes of 10"
    assert TASK.hits(z, known()).item() == pytest.approx(TASK.right(TASK.guesses(z), known()).item())
    value, _ = Found().reference(known().numpy(), z.detach().double().numpy())
    assert value == pytest.approx(Found()(z, known()).item(), rel=1e-5)


def test_detections_are_the_best_first_and_padded(net):
    torch.manual_seed(0)
    eager = PART.but(least_score=0.0, detections=7).build(3, 2).eval()
    with torch.no_grad():
        z = eager(torch.randn(2, 3, 48, 64), known()[:, 0])
    assert torch.equal(eager(torch.ones(2, 3, 48, 64), known()[:, 0]), eager(torch.ones(2, 3, 48, 64), known()[:, 0]))
    assert z.shape == (2, 7, 6)
    assert (z[:, :-1, 1] >= z[:, 1:, 1]).all()
    assert {*z[:, :, 0].unique().tolist()} <= {0.0, 1.0, 2.0}
    assert (z[:, :, [2, 4]] <= 64).all()
    assert (z[:, :, [3, 5]] <= 48).all()


@pytest.mark.parametrize("name", list(DETECTION))
def test_scores_of_the_cases_by_both_writings(name):
    """Boxes as the network gives them, at half the size of the file: brought back to the devkit's inclusive pixels."""
    truth, found_of, area, eleven = DETECTION[name]
    truth = [
        np.asarray(rows, dtype=float).reshape(-1, 6) + np.array([0, 1, 1, 1, 1, 0]) for rows in truth
    ]  # 1-based, as files
    frames = torch.tensor([[400.0, 400, 800, 800, i, 0] for i in range(len(truth))])
    images = SimpleNamespace(
        classes=("a",), truth=lambda split, place: truth[place], frames=lambda split: frames.double().numpy()
    )
    marking, examiner = TASK.marking(images, "test"), TASK.examiner(images)
    z = torch.zeros(len(truth), 8, 6)
    for row, found in zip(z, found_of, strict=True):
        best_first = sorted(found, key=lambda one: -one[1])
        for place, (label, score, left, top, right, bottom) in enumerate(best_first):
            row[place] = torch.tensor([label, score, left / 2, top / 2, (right + 1) / 2, (bottom + 1) / 2])
    marking.add(z, frames)
    examiner.saw((torch.zeros(1), frames), z)
    scores, kept = marking.scores("test")
    assert scores == {"mAP": pytest.approx(float(100 * eleven)), "mAP_area": pytest.approx(float(100 * area))}
    due, otherwise = examiner.marked("test", kept)
    assert due == {name: pytest.approx(value) for name, value in scores.items()}
    assert otherwise == 0.0
    assert next(examiner.confirmed(kept, {})).ok
    kept["by_class"]["a"]["AP_area"] += 1
    assert not next(examiner.confirmed(kept, {})).ok
    assert all(check.ok for check in examiner.checks(scores, kept))
    assert not any(check.ok for check in examiner.checks({"mAP": scores["mAP"] + 1}, kept))


def test_places_tell_the_order():
    assert TASK.order(known(3)).tolist() == [0, 1, 2]
    assert TASK.ordered(SimpleNamespace(counts={"train": 4})).tolist() == [0, 1, 2, 3]


def test_noise_is_one_object_an_image():
    assert TASK.noise(2, 3, 40, 60).shape == boxed(2, 40, 60).shape == (2, 2, 6)
