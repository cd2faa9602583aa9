"""Detectors and segmenters: what they take over, what they are, what they are trained on; `judged` has their scores."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import _utils as sampling
from torchvision.models.detection.roi_heads import RoIHeads

from harness.evidence import Upstream
from harness.parts.augment import Flip
from harness.parts.clipping import ClipValue
from harness.parts.data import boxes as boxes_room
from harness.parts.data.boxes import Boxes
from harness.parts.data.images import Images
from harness.parts.data.masks import Masks
from harness.parts.data.scenes import Scenes
from harness.parts.grouping import HeadRates
from harness.parts.models import FCN, FasterRCNN, base
from harness.parts.models.base import FrozenNorm, OnBackbone
from harness.parts.models.faster_rcnn import Detector
from harness.parts.models.fcn import Segmenter
from harness.parts.schedules import Poly
from harness.tasks import detect
from harness.tasks.detect import Found
from harness.tasks.segment import PixelCrossEntropy
from tests.kit.dense import BACKBONE, DETECTOR, SEGMENTER
from tests.mutants.breaking import RATE, Broken, Inject, both, edited, method, room, text
from tests.mutants.tensors import at_start, each_epoch, each_step, hooked

HANDED = "inner(value) for _, value in spec.model if isinstance(value, Spec)"
FROZEN = "if spec.frozen(name):"
STILL = DETECTOR.but(model=DETECTOR.model.but(frozen_norms=True))
RATED = DETECTOR.but(rates=HeadRates(backbone=0.5, heads=2.0))
CLIPPED = DETECTOR.but(clip=(ClipValue(most=0.02),))
POOLED = SEGMENTER.but(model=SEGMENTER.model.but(backbone=BACKBONE.but(model=BACKBONE.model.but(variant="D"))))
SCRATCH = STILL.but(model=STILL.model.but(backbone=BACKBONE.model))


def adopted(condition: str) -> Inject:
    return edited(OnBackbone, "adopt", "if place in live:", f"if place in live and {condition}:")


def of_another_run(run: Upstream) -> Upstream:
    """Its weights drawn, its record the right one's."""
    torch.manual_seed(7)
    for tensor in run.model.parameters():
        tensor.data.copy_(0.1 * torch.randn_like(tensor))
    return run


def built(part: type, *pairs: str) -> Inject:
    return edited(part, "build", *pairs)


def paired(*pairs: str) -> Inject:
    return edited(Flip, "pair", *pairs)


def sampler(change: Callable[[Any], None]) -> Inject:
    """The samples that a detector's loss is of."""
    right = sampling.BalancedPositiveNegativeSampler.__call__

    def call(self: Any, labels: list[Tensor]) -> Any:
        kept = self.batch_size_per_image, self.positive_fraction
        change(self)
        found = right(self, labels)
        self.batch_size_per_image, self.positive_fraction = kept
        return found

    return method(sampling.BalancedPositiveNegativeSampler, "__call__", call)


def all_of_them(self: Any) -> None:
    if self.batch_size_per_image == DETECTOR.model.anchor_samples:
        self.batch_size_per_image = 10**6


def negatives_alone(self: Any) -> None:
    self.positive_fraction = 0.0


def batch_norm(self: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return nn.BatchNorm2d.forward(self, x)


LATER = "run.epoch > 0 and"
TAKEN: Broken = {
    "a backbone": [
        ("not taken over", DETECTOR, method(OnBackbone, "adopt", lambda self, net, upstream: None)),
        ("not taken over by a segmenter", SEGMENTER, method(OnBackbone, "adopt", lambda self, net, upstream: None)),
        ("one tensor left out", DETECTOR, adopted("place != 'base.stage2.0.body.3.weight'")),
        ("its last stage left out", SEGMENTER, adopted("'stage3' not in place")),
        ("the head's stage left out", DETECTOR, adopted("'box_head' not in place")),
        ("running statistics left out", DETECTOR, adopted("'running' not in place")),
        ("γ and β left out", SEGMENTER, adopted("live[place].ndim != 1")),
        (
            "half of it, half as drawn",
            SEGMENTER,
            edited(OnBackbone, "adopt", "live[place].copy_(tensor)", "live[place].copy_(0.5 * (live[place] + tensor))"),
        ),
        ("frozen stages that learn", DETECTOR, text(FROZEN, "if False:")),
        ("the stem alone frozen", DETECTOR, text(FROZEN, f"{FROZEN[:-1]} and 'stem' in name:")),
        ("one stage more frozen", DETECTOR, text(FROZEN, f"{FROZEN[:-1]} or name.startswith('base.stage2'):")),
        (
            "one stage less frozen, as it says",
            DETECTOR,
            edited(OnBackbone, "frozen", ": self.frozen_stages]", ": self.frozen_stages - 1]"),
        ),
        ("frozen stages drawn with the heads", SCRATCH, each_epoch("run.model.base.stem[0].weight.data.mul_(0.9)")),
        ("frozen weights decayed by hand", DETECTOR, each_step(after="run.model.base.stem[0].weight.data.mul_(0.999)")),
        (
            "frozen stages that learn later",
            DETECTOR,
            each_epoch(f"[p.requires_grad_({LATER} True) for p in run.model.base.stem.parameters()]"),
        ),
        (
            "frozen norms that are live",
            STILL,
            edited(room(FasterRCNN), "stages_of", "if part.frozen_norms:", "if False:"),
        ),
        ("frozen norms by the batch", STILL, method(FrozenNorm, "forward", batch_norm)),
        (
            "frozen norms whose γ and β learn",
            STILL,
            edited(OnBackbone, "frozen", " or (self.frozen_norms and name in _names(self)[1])", ""),
        ),
        (
            "frozen norms of another ε",
            STILL,
            edited(
                base, "freeze_norms", "FrozenNorm(child.num_features, child.eps)", "FrozenNorm(child.num_features, 0.1)"
            ),
        ),
        (
            "taken over again each epoch",
            DETECTOR,
            each_epoch(f"{LATER} spec.model.adopt(run.model, run.trace.below.model)"),
        ),
        ("its last layer's gradient doubled", SEGMENTER, hooked("base.stage3.0.body.3.weight", "2 * g")),
        ("its norms' statistics stand still", SEGMENTER, at_start("model.base.stem[1].momentum = 0.0")),
    ],
    "detectors and segmenters": [
        ("the auxiliary head frozen", SEGMENTER, at_start("model.aux.requires_grad_(False)")),
        ("the head on anchors frozen", DETECTOR, at_start("model.rpn.head.requires_grad_(False)")),
        ("the offsets' gradient halved", DETECTOR, hooked("roi.box_predictor.bbox_pred.weight", "0.5 * g")),
    ],
}
RUNS: Broken = {
    "a backbone": [
        ("of another seed", DETECTOR, text(HANDED, HANDED.replace("(value)", "(value, 7)"))),
        ("of seed 0 whatever the seed", SEGMENTER, text(HANDED, HANDED.replace("(value)", "(value, 0)")), 1),
        ("of another specification", SEGMENTER, text(HANDED, HANDED.replace("(value)", "(value.but(epochs=1))"))),
        (
            "of another run, under its record",
            DETECTOR,
            text(HANDED, f"of_another_run({HANDED.replace(' for', ') for', 1)}", of_another_run=of_another_run),
        ),
        (
            "drawn by torch's own seed",
            SCRATCH,
            at_start("nn.init.kaiming_normal_(model.base.stage2[0].body[0].weight)"),
        ),
    ],
    "boxes and masks": [
        (
            "the order of seed 0",
            DETECTOR,
            edited(Images, "order", 'rng("order", epoch)', 'rng.func(0, "order", epoch)'),
            1,
        )
    ],
}
SERVED_AS: Broken = {
    "boxes and masks": [
        ("boxes not mirrored with their image", DETECTOR, paired("width - y[i, :, 1:4:2].flip(1)", "y[i, :, 1:4:2]")),
        ("masks not mirrored with their image", SEGMENTER, paired("y[i, :, :width].flip(1)", "y[i, :, :width]")),
        (
            "images mirrored twice",
            SEGMENTER,
            paired("x[i, :, :, :width].flip(2)", "x[i, :, :, :width].flip(2).flip(2)"),
        ),
        ("boxes mirrored a pixel off", DETECTOR, paired("width - y[i, :, 1:4:2]", "width - 1 - y[i, :, 1:4:2]")),
        ("left and right edges exchanged", DETECTOR, paired("y[i, :, 1:4:2].flip(1)", "y[i, :, 1:4:2]")),
        (
            "boxes mirrored within the padded width",
            DETECTOR,
            paired("width - y[i, :, 1:4:2]", "x.shape[3] - y[i, :, 1:4:2]"),
        ),
        (
            "masks mirrored with their padding",
            SEGMENTER,
            paired("y[i, :, :width] = y[i, :, :width].flip(1)", "y[i] = y[i].flip(1)"),
        ),
        (
            "boxes counted from 1",
            DETECTOR,
            edited(boxes_room, "usable", "- (0, 1, 1, 0, 0, 0)", "- (0, 0, 0, 0, 0, 0)"),
        ),
        (
            "boxes of the image as it is stored",
            DETECTOR,
            edited(Boxes, "answers", "(cut.wide / scene.width, cut.tall / scene.height)", "(1, 1)"),
        ),
        (
            "labels of boxes a class late",
            DETECTOR,
            edited(
                Boxes,
                "answers",
                "row[: len(boxes)] = boxes * ",
                "row[: len(boxes)] = (boxes * (0, 1, 1, 1, 1, 1) + (boxes[:, :1] % 2 + 1) * (1, 0, 0, 0, 0, 0)) * ",
            ),
        ),
        (
            "difficult boxes left out",
            DETECTOR,
            edited(
                boxes_room,
                "usable",
                "kept: np.ndarray = boxes[",
                "boxes = boxes[boxes[:, 5] == 0]\n    kept: np.ndarray = boxes[",
            ),
        ),
        (
            "boxes without area trained on",
            DETECTOR,
            both(
                method(Boxes, "most", property(lambda self: 4)),
                edited(
                    boxes_room,
                    "usable",
                    "(scene.truth[:, 3:5] > scene.truth[:, 1:3])",
                    "(scene.truth[:, 3:5] >= scene.truth[:, 1:3])",
                ),
            ),
        ),
        (
            "padding trained on",
            SEGMENTER,
            edited(
                Masks,
                "answers",
                "np.full((len(places), *canvas), -1, np.int64)",
                "np.zeros((len(places), *canvas), np.int64)",
            ),
        ),
        (
            "what is not labelled trained on",
            SEGMENTER,
            edited(
                Masks,
                "answers",
                "into[: cut.height, : cut.width] = mask",
                "into[: cut.height, : cut.width] = np.maximum(mask, 0)",
            ),
        ),
        (
            "labels of pixels a class late",
            SEGMENTER,
            edited(
                Masks,
                "answers",
                "into[: cut.height, : cut.width] = mask[",
                "into[: cut.height, : cut.width] = np.where(mask < 0, -1, (mask + 1) % 3)[",
            ),
        ),
        (
            "masks a pixel down",
            SEGMENTER,
            edited(Masks, "answers", "mask[np.ix_(rows, columns)]", "mask[np.ix_(np.roll(rows, 1), columns)]"),
        ),
        (
            "padding not blank",
            DETECTOR,
            edited(Scenes, "train", "blank(self.normalised(x), sizes)", "self.normalised(x)"),
        ),
        ("not mirrored at all", SEGMENTER, method(Flip, "pair", lambda self, x, y, sizes, rng: (x, y))),
    ],
    "detectors and segmenters": [
        ("anchors of twice the size", DETECTOR, built(FasterRCNN, "= each_level or (self.anchors,)", "= ((32, 64),)")),
        ("square anchors for the tall ones", DETECTOR, built(FasterRCNN, "(self.ratios,)", "((1.0, 1.0, 2.0),)")),
        ("regions of 2 x 2", DETECTOR, built(FasterRCNN, "self.pooled, 2)", "2, 2)")),
        ("one sample a cell", DETECTOR, built(FasterRCNN, "self.pooled, 2)", "self.pooled, 1)")),
        (
            "another NMS of proposals",
            DETECTOR,
            built(FasterRCNN, "strict=True)),\n        0.7,", "strict=True)),\n        0.99,"),
        ),
        (
            "another NMS of detections",
            DETECTOR,
            built(FasterRCNN, "(self.least_score, self.nms,", "(self.least_score, 0.9,"),
        ),
        (
            "as many proposals in training as in test",
            DETECTOR,
            built(
                FasterRCNN,
                'zip(("training", "testing"), self.proposals, strict=True)',
                '(("training", self.proposals[1]), ("testing", self.proposals[1]))',
            ),
        ),
        ("half of the regions objects", DETECTOR, built(FasterRCNN, "self.positive, None", "0.5, None")),
        ("objects from an IoU of .3 on", DETECTOR, built(FasterRCNN, "*(0.5, 0.5,", "*(0.3, 0.3,")),
        (
            "twice the anchors sampled",
            DETECTOR,
            built(FasterRCNN, "0.3, self.anchor_samples", "0.3, 2 * self.anchor_samples"),
        ),
        ("all negatives sampled", DETECTOR, sampler(all_of_them)),
        ("negatives alone sampled", DETECTOR, sampler(negatives_alone)),
        (
            "true boxes are no proposals",
            DETECTOR,
            method(RoIHeads, "add_gt_proposals", lambda self, proposals, boxes: proposals),
        ),
        (
            "offsets due of anchors from the first box",
            DETECTOR,
            edited(
                Detector,
                "sampled",
                "self.rpn.box_coder.encode(matched, anchors)",
                "self.rpn.box_coder.encode([(b['boxes'][:1] if len(b['boxes']) else m[:1]).expand_as(m)"
                " for b, m in zip(due, matched)], anchors)",
            ),
        ),
        (
            "offsets due that are 0",
            DETECTOR,
            edited(
                Detector,
                "sampled",
                "wanted = torch.where(drawn[..., None] == 1, wanted, 0.0)",
                "wanted = torch.zeros_like(wanted)",
            ),
        ),
        (
            "regions of class 2 taken for class 1",
            DETECTOR,
            edited(Detector, "answered", "label.float(),", "label.clamp(max=1).float(),"),
        ),
        (
            "regions' offsets due that are halved",
            DETECTOR,
            edited(Detector, "answered", "torch.stack(targets), 0.0)", "torch.stack(targets) / 2, 0.0)"),
        ),
        (
            "difficult boxes are background",
            DETECTOR,
            edited(Detector, "forward", "own[own[:, 0] > 0]", "own[(own[:, 0] > 0) & (own[:, 5] == 0)]"),
        ),
        (
            "boxes a pixel right",
            DETECTOR,
            edited(Detector, "forward", 'own[:, 1:5], "labels"', 'own[:, 1:5] + 1, "labels"'),
        ),
        (
            "the dilation of the last stage lacking",
            SEGMENTER,
            edited(
                room(FCN),
                "dilate",
                "layer.dilation = layer.padding = (reach, reach)",
                "layer.dilation = layer.padding = (reach, reach) if stage < 3 else (2, 2)",
            ),
        ),
        (
            "all dilated by 2",
            SEGMENTER,
            edited(room(FCN), "dilate", "before, rate = rate, 2 * rate", "before, rate = rate, 2"),
        ),
        (
            "a stage's first block dilated as its others",
            SEGMENTER,
            edited(room(FCN), "dilate", "reach = before if place == 0 else rate", "reach = rate"),
        ),
        (
            "an output stride of 8",
            SEGMENTER,
            built(FCN, "dilate(named, network, self.output_stride)", "dilate(named, network, 8)"),
        ),
        (
            "no stride, and no dilation",
            SEGMENTER,
            edited(room(FCN), "dilate", "layer.dilation = layer.padding = (reach, reach)", "pass"),
        ),
        (
            "the pool of D gone",
            POOLED,
            edited(
                base,
                "_unstride",
                "nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))",
                "nn.Identity()",
            ),
        ),
        (
            "the pool of D of 3 x 3",
            POOLED,
            edited(
                base,
                "_unstride",
                "nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))",
                "nn.AvgPool2d(3, 1, 1)",
            ),
        ),
        ("no dropout", SEGMENTER, edited(FCN, "_head", "nn.Dropout(self.dropout)", "nn.Dropout(0.0)")),
        ("a head without its ReLU", SEGMENTER, edited(FCN, "_head", "nn.ReLU(inplace=True)", "nn.Identity()")),
        ("the head of 1 x 1 for 3 x 3", SEGMENTER, edited(FCN, "_head", "3, padding=1, bias=False", "1, bias=False")),
        (
            "the auxiliary head is the head",
            SEGMENTER,
            edited(Segmenter, "forward", "torch.cat([z, more], 1)", "torch.cat([z, z], 1)"),
        ),
        (
            "the auxiliary head's gradient stops at it",
            SEGMENTER,
            edited(Segmenter, "forward", "self.aux(before)", "self.aux(before.detach())"),
        ),
    ],
    "their losses": [
        (
            "without the offsets of regions",
            DETECTOR,
            edited(Found, "__call__", "(second + _smooth(own, due[objects]))", "second"),
        ),
        (
            "without the offsets of anchors",
            DETECTOR,
            edited(Found, "__call__", "(loss + _smooth(offsets[labels == 1], due[labels == 1]))", "loss"),
        ),
        (
            "anchors by the mean over all",
            DETECTOR,
            edited(
                Found,
                "__call__",
                "some.sum().clamp(min=1)\n    logits, labels, offsets, due = regions",
                "labels.numel()\n    logits, labels, offsets, due = regions",
            ),
        ),
        (
            "offsets by the mean over objects",
            DETECTOR,
            edited(
                Found,
                "__call__",
                "_smooth(own, due[objects]))",
                "_smooth(own, due[objects]) * some.sum() / objects.sum().clamp(min=1))",
            ),
        ),
        ("β of 1", DETECTOR, edited(detect, "_smooth", "beta=BETA", "beta=1.0")),
        (
            "offsets of the first class",
            DETECTOR,
            edited(Found, "__call__", "label[objects][:, None, None]", "label[objects].clamp(max=1)[:, None, None]"),
        ),
        (
            "without the auxiliary head",
            SEGMENTER,
            edited(PixelCrossEntropy, "__call__", "self.aux * self._of(aux, y)", "0 * self._of(aux, y)"),
        ),
        ("the auxiliary head at weight 1", SEGMENTER, edited(PixelCrossEntropy, "__call__", "self.aux *", "1.0 *")),
        (
            "by the mean over all pixels",
            SEGMENTER,
            edited(PixelCrossEntropy, "_of", "(y >= 0).sum().clamp(min=1)", "y.numel()"),
        ),
        ("pixels by corners", SEGMENTER, edited(PixelCrossEntropy, "_of", "align_corners=False", "align_corners=True")),
        (
            "at the cells' size",
            SEGMENTER,
            edited(
                PixelCrossEntropy,
                "_of",
                'grown = nn.functional.interpolate(z, y.shape[1:], mode="bilinear", align_corners=False)',
                "grown, y = z, middles(y, z.shape[2:])",
            ),
        ),
        ("poly by the epoch", SEGMENTER, text(RATE, RATE.replace("(step,", "(run.epoch * steps,"))),
        ("poly by a power of 1", SEGMENTER, edited(Poly, "factor", "self.power", "1.0")),
        ("heads at the backbone's rate", RATED, method(HeadRates, "factor", lambda self, name, layer: self.backbone)),
        (
            "the head's stage at the heads' rate",
            RATED,
            edited(HeadRates, "factor", '("base.", "roi.box_head.stage")', '"base."'),
        ),
        (
            "values of gradients cut at another bound",
            CLIPPED,
            method(
                ClipValue, "__call__", lambda self, parameters: nn.utils.clip_grad_value_(parameters, 2 * self.most)
            ),
        ),
        (
            "gradients cut by their norm",
            CLIPPED,
            method(ClipValue, "__call__", lambda self, parameters: nn.utils.clip_grad_norm_(parameters, self.most)),
        ),
    ],
}
BY_KIND = {"B": SERVED_AS, "D": TAKEN, "E": RUNS}
