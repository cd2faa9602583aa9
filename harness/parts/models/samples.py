"""What a detector's training answer must be, said again in numpy: its anchors, its samples, what is due of them.

It shares no code with the network nor with torchvision, but for the pieces that an answer has.
"""

import math
from typing import Any

import numpy as np

from harness.parts.models.resnet import ResNet

NEAR = 1e-3  # of an overlap: float32 may put a box on the other side of a bound
HIGH, LOW, OBJECT = 0.7, 0.3, 0.5  # overlaps: anchors that are objects, background; regions that are objects
CODED = (10.0, 10.0, 5.0, 5.0)  # by which offsets of regions are multiplied (Girshick 2015)


def anchors_of(part: Any, height: int, width: int) -> np.ndarray:
    """All anchors of a batch of that size, A x 4, in the order of an answer."""
    steps = [(1 if part.network.small else 4) * 2**i for i in range(len(part.network.blocks))]
    levels = [*steps, 2 * steps[-1]] if part.pyramid else steps[-2:-1]
    scales = [[size] for size in part.anchors] if part.pyramid else [list(part.anchors)]
    found = []
    for step, sizes in zip(levels, scales, strict=True):
        rows, columns = -(-height // step), -(-width // step)
        shapes = [(size / math.sqrt(r), size * math.sqrt(r)) for r in part.ratios for size in sizes]
        for row in range(rows):
            for column in range(columns):
                x, y = column * step, row * step
                for wide, tall in shapes:
                    w, h = round(wide / 2), round(tall / 2)
                    found.append((x - w, y - h, x + w, y + h))
    return np.array(found, dtype=np.float64)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of continuous boxes, N x M."""
    sides = [
        np.minimum(boxes[:, None, i + 2], others[None, :, i + 2]) - np.maximum(boxes[:, None, i], others[None, :, i])
        for i in (0, 1)
    ]
    shared = sides[0].clip(0) * sides[1].clip(0)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, others)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12))


def offsets(boxes: np.ndarray, due: np.ndarray) -> np.ndarray:
    """From `boxes` to those `due`, N x 4: shifts in units of the box, and logarithms of the ratios of sides."""
    old, new = boxes[:, 2:] - boxes[:, :2], due[:, 2:] - due[:, :2]
    shift = ((due[:, :2] + due[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) / (2 * old)
    return np.concatenate([shift, np.log(new / old)], 1)


def amiss(part: Any, x: Any, y: np.ndarray, z: np.ndarray) -> float | None:
    """How many samples of a pass are not as its boxes `y`, N x (1 + B) x 6, make them due; None of timm's networks.

    `z` is the answer, N x M, to images `x`.
    """
    if not isinstance(part.network, ResNet):
        return None
    a, r, k = z[0, :3].astype(int)
    every = anchors_of(part, *x.shape[2:])
    if len(every) != a or r != part.region_samples:
        return float(a)
    ends = np.cumsum((4, a, a, 4 * a, 4 * a, r * k, r, 4 * r * k, 4 * r, 4 * r))
    wrong = 0
    for row, known in zip(z, y[:, 1:], strict=True):
        known = known[known[:, 0] > 0]
        drawn, due = row[ends[1] : ends[2]], row[ends[3] : ends[4]].reshape(a, 4)
        wrong += _anchors(part, every, known[:, 1:5], drawn, due)
        labels, aims = row[ends[5] : ends[6]], row[ends[7] : ends[8]].reshape(r, 4)
        wrong += _regions(part, row[ends[8] : ends[9]].reshape(r, 4), known, labels, aims)
    return float(wrong)


def _anchors(part: Any, every: np.ndarray, boxes: np.ndarray, drawn: np.ndarray, due: np.ndarray) -> int:
    """Anchors drawn as what they are not, offsets that are others', and how many too few or too many."""
    if len(boxes):
        shared = overlaps(boxes, every)
        best, most = shared.max(0), shared.max(1, keepdims=True)
        nearly = (shared > most - NEAR) & (most > 0)
        rescued = nearly.any(0)  # the best of a box that none fits
        surely = (best > HIGH + NEAR) | (nearly & (nearly.sum(1, keepdims=True) == 1)).any(0)
    else:
        best = np.zeros(len(every))
        rescued = surely = np.zeros(len(every), dtype=bool)
    objects, others = drawn == 1, drawn == 0
    wrong = int((objects & ~((best > HIGH - NEAR) | rescued)).sum() + (others & ((best > LOW + NEAR) | surely)).sum())
    if objects.any() and len(boxes):
        own = shared[:, objects]
        gaps = [
            np.abs(offsets(every[objects], np.broadcast_to(box, (objects.sum(), 4))) - due[objects]) for box in boxes
        ]
        fits = [(gap.max(1) < NEAR) & (near > best[objects] - NEAR) for gap, near in zip(gaps, own, strict=True)]
        wrong += int((~np.any(fits, axis=0)).sum())
    few = min(int(surely.sum()), part.anchor_samples // 2)
    wrong += max(0, few - int(objects.sum())) + max(0, int(objects.sum()) - part.anchor_samples // 2)
    room = min(part.anchor_samples, int(objects.sum()) + int(((best < LOW - NEAR) & ~rescued).sum()))
    many = int((drawn >= 0).sum())
    return int(wrong + max(0, room - many) + max(0, many - part.anchor_samples))


def _regions(part: Any, regions: np.ndarray, known: np.ndarray, labels: np.ndarray, aims: np.ndarray) -> int:
    """The same of regions; the true boxes are among those to draw from."""
    there, objects = labels >= 0, labels > 0
    most = int(part.region_samples * part.positive)
    wrong = max(0, int(objects.sum()) - most)
    if not len(known):
        return wrong + int(objects.sum())
    shared = overlaps(known[:, 1:5], regions)
    best = shared.max(0)
    wrong += int((there & ((objects & (best < OBJECT - NEAR)) | (~objects & (best > OBJECT + NEAR)))).sum())
    for place in np.flatnonzero(objects):
        wrong += not any(
            label == labels[place]
            and shared[i, place] > best[place] - NEAR
            and np.abs(offsets(regions[place : place + 1], box[None]) * CODED - aims[place]).max() < 10 * NEAR
            for i, (label, *box) in enumerate(known[:, :5])
            for box in [np.array(box)]
        )
    return int(wrong) + max(0, min(len(known), most) - int(objects.sum()))


def settings(net: Any) -> dict[str, Any]:
    """What torchvision's pieces of a detector go by."""
    rpn, roi = net.get_submodule("rpn"), net.get_submodule("roi")
    return {
        "overlaps of anchors": (rpn.proposal_matcher.high_threshold, rpn.proposal_matcher.low_threshold),
        "samples of anchors": (rpn.fg_bg_sampler.batch_size_per_image, rpn.fg_bg_sampler.positive_fraction),
        "proposals before NMS": tuple(rpn._pre_nms_top_n.values()),
        "proposals": tuple(rpn._post_nms_top_n.values()),
        "NMS of proposals": (rpn.nms_thresh, rpn.score_thresh),
        "overlaps of regions": (roi.proposal_matcher.high_threshold, roi.proposal_matcher.low_threshold),
        "samples of regions": (roi.fg_bg_sampler.batch_size_per_image, roi.fg_bg_sampler.positive_fraction),
        "RoIAlign": (*roi.box_roi_pool.output_size, roi.box_roi_pool.sampling_ratio),
        "detections": (roi.score_thresh, roi.nms_thresh, roi.detections_per_img),
        "coding": (*roi.box_coder.weights, *rpn.box_coder.weights),
    }


def due_settings(part: Any) -> dict[str, Any]:
    return {
        "overlaps of anchors": (HIGH, LOW),
        "samples of anchors": (part.anchor_samples, 0.5),
        "proposals before NMS": part.before_nms,
        "proposals": part.proposals,
        "NMS of proposals": (0.7, 0.0),
        "overlaps of regions": (OBJECT, OBJECT),
        "samples of regions": (part.region_samples, part.positive),
        "RoIAlign": (part.pooled, part.pooled, 2),
        "detections": (part.least_score, part.nms, part.detections),
        "coding": (*CODED, 1.0, 1.0, 1.0, 1.0),
    }
