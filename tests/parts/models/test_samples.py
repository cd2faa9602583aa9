"""Samples of a detector: anchors and offsets against torchvision's, and answers that are changed."""

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from harness.parts.models import FasterRCNN, ResNet, samples
from harness.parts.models.faster_rcnn import lengths

C4 = FasterRCNN(
    backbone=ResNet(blocks=(1, 1, 1), bottleneck=False, width=4),
    **{"anchors": (8, 16), "anchor_samples": 24, "region_samples": 16, "pooled": 3, "before_nms": (80, 80)},
)
FPN = C4.but(pyramid=True, anchors=(8, 16, 24, 32))


def known():
    """On three images of 50 x 70 px: two objects, one, and none."""
    y = torch.zeros(3, 4, 6)
    y[:, 0, :5] = torch.tensor([50, 70, 100, 140, 0])
    y[0, 1, :5] = torch.tensor([1, 4, 6, 30.5, 40])
    y[0, 2, :5] = torch.tensor([2, 30, 10, 66, 45])
    y[1, 1, :5] = torch.tensor([2, 20, 12, 36, 28])
    return y


def answered(part, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(3, 3, 50, 70)
    return x, part.build(3, 2).train()(x, known()).detach().double().numpy()


@pytest.mark.parametrize("part", [C4, FPN], ids=["C4", "pyramid"])
@pytest.mark.parametrize("size", [(50, 70), (64, 48), (33, 95), (600, 800)], ids=str)
def test_anchors_are_torchvisions(part, size):
    """As it has them where it pads images to whole cells, as its own transform does, and cut to the cells there are."""
    net = part.build(3, 2)
    levels = net.base(torch.zeros(1, 3, *size))
    if net.neck is not None:
        levels = list(net.neck({str(i): level for i, level in enumerate(levels)}).values())
    padded, due = [-(-side // 32) * 32 for side in size], []
    whole = [
        torch.zeros(1, 1, *(side // step for side in padded)) for step in ((4, 8, 16, 32) if part.pyramid else (8,))
    ]
    every = net.rpn.anchor_generator(ImageList(torch.zeros(1, 3, *padded), [size]), whole)[0]
    for level, larger in zip(levels, whole, strict=True):
        rows, columns = larger.shape[2:]
        own, every = every.split([n := rows * columns * (3 if part.pyramid else 6), len(every) - n])
        due.append(own.view(rows, columns, -1)[: level.shape[2], : level.shape[3]].reshape(-1, 4))
    assert torch.equal(net.anchored(levels), torch.cat(due))
    assert np.array_equal(samples.anchors_of(part, *size), torch.cat(due).numpy())


def test_overlaps_and_offsets_are_torchvisions():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 30, (40, 2))], 1)
    a, b = torch.from_numpy(boxes[:20]), torch.from_numpy(boxes[20:])
    assert samples.overlaps(boxes[:20], boxes[20:]) == pytest.approx(box_iou(a, b).numpy())
    due = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(b, a).numpy()
    assert samples.offsets(boxes[:20], boxes[20:]) == pytest.approx(due)


@pytest.mark.parametrize("part", [C4, FPN], ids=["C4", "pyramid"])
@pytest.mark.parametrize("seed", range(4))
def test_an_answer_as_it_is_has_nothing_amiss(part, seed):
    x, z = answered(part, seed)
    assert samples.amiss(part, x, known().numpy(), z) == 0


def changed(z, piece, change):
    """An answer with one of its pieces changed, image by image."""
    a, r, k = (int(number) for number in z[0, :3])
    ends = np.cumsum([0, *lengths(a, r, k)])
    other = z.copy()
    change(other[:, ends[piece] : ends[piece + 1]])
    return other


def first(kind):
    """One sample of that label becomes another."""

    def change(labels):
        row = next(row for row in labels if (row == kind).any())
        row[np.flatnonzero(row == kind)[0]] = 1 - kind if kind < 2 else 1

    return change


@pytest.mark.parametrize(
    ("piece", "change"),
    [
        (2, lambda labels: np.putmask(labels, labels == 1, 0)),
        (2, first(0)),
        (2, lambda labels: labels.fill(-1)),
        (2, lambda labels: np.putmask(labels, labels == -1, 0)),
        (4, lambda due: np.multiply(due, 0.9, out=due)),
        (6, first(2)),
        (6, lambda labels: np.minimum(labels, 0, out=labels)),
        (8, lambda aims: np.add(aims, 0.5, out=aims)),  # of a true box itself all are 0
    ],
)
def test_an_answer_that_was_changed_has(piece, change):
    x, z = answered(C4)
    assert samples.amiss(C4, x, known().numpy(), changed(z, piece, change)) > 0


def test_boxes_of_another_batch_do_not_fit():
    x, z = answered(C4)
    moved = known().numpy()
    moved[:, 1:, 1:5] += 2
    assert samples.amiss(C4, x, moved, z) > 0


@pytest.mark.parametrize("part", [C4, FPN], ids=["C4", "pyramid"])
def test_the_settings_of_torchvisions_pieces_are_those_of_the_part(part):
    net = part.build(3, 2)
    assert samples.settings(net) == samples.due_settings(part)
    net.roi.nms_thresh = 0.9
    assert samples.settings(net) != samples.due_settings(part)
