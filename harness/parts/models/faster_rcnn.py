"""Faster R-CNN (Ren et al. 2015) on a classifier: C4, as the paper's code has it, or with a feature pyramid.

Anchors, proposals, sampling, RoIAlign and the coding of boxes are torchvision's. Its losses are not used: what they are
made of is the network's answer, so that the task's loss, and the evidence, go by one tensor.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

import harness.parts.models.layers as layers
import harness.parts.models.samples as samples
from harness.evidence import Check, Trace
from harness.parts.models.base import OnBackbone, Stages, stages_of, strides, timm_features, widths
from harness.parts.models.resnet import ResNet
from harness.spec import Spec

HEADER = 4  # numbers before the others: anchors, regions, classes with the background, and 0
PYRAMID = 256  # channels (Lin et al. 2017)


def lengths(anchors: int, regions: int, classes: int) -> tuple[int, ...]:
    """Numbers an image of each piece of a training answer, in order.

    Of each anchor the logit, its label (1, 0; -1 where it was not sampled), four offsets and the four due; of each
    region the same, with logits of all classes, and offsets of each; and last the regions themselves.
    """
    return (
        *(HEADER, anchors, anchors, 4 * anchors, 4 * anchors),
        *(regions * classes, regions, 4 * regions * classes, 4 * regions, 4 * regions),
    )


class Detector(nn.Module):
    """Images and what is known of them to an answer.

    With boxes y N x (1 + B) x 6, the first row of an image its frame, as in training: N x M, pieces of `lengths`. With
    frames alone, N x 6: detections N x D x 6, (label, score, x1, y1, x2, y2) in px of the image as it came, best first,
    label 0 where there are no more.
    """

    def __init__(
        self, base: nn.Module, neck: nn.Module | None, rpn: Any, roi: Any, steps: list[int], most: int, regions: int
    ) -> None:
        super().__init__()
        self.base, self.neck, self.rpn, self.roi = base, neck, rpn, roi
        self.steps, self.most, self.regions = steps, most, regions

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        frames = y if y.ndim == 2 else y[:, 0]
        sizes = [(int(height), int(width)) for height, width in frames[:, :2].tolist()]
        levels = OrderedDict((str(i), level) for i, level in enumerate(self.base(x)))
        if self.neck is not None:
            levels = self.neck(levels)
        found, anchors, objectness, offsets = self.proposed(sizes, levels)
        if y.ndim == 2:
            return self.detected(levels, found, sizes)
        due = [{"boxes": own[:, 1:5], "labels": own[:, 0].long()} for own in (own[own[:, 0] > 0] for own in y[:, 1:])]
        first = self.sampled(anchors, objectness, offsets, due)
        return torch.cat([*first, *self.answered(levels, found, sizes, due)], 1)

    def anchored(self, levels: list[Tensor]) -> Tensor:
        """The anchors of an image, A x 4, of all levels; those of neighbouring cells are a stride of the level apart.

        torchvision's own forward divides the sides of the batch by those of the map, which are rounded up. It pads
        images to 32 px first; of 600 px unpadded it would make 15 px of a stride of 16, 37 px off at the last row.
        """
        made = self.rpn.anchor_generator
        made.set_cell_anchors(torch.float32, levels[0].device)
        return torch.cat(
            made.grid_anchors([level.shape[2:] for level in levels], [(step, step) for step in self.steps])
        )

    def proposed(self, sizes: Any, levels: Any) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """(Proposals of each image, its anchors, their logits N x A, offsets N x A x 4)."""
        from torchvision.models.detection.rpn import concat_box_prediction_layers

        features = list(levels.values())
        told, moved = self.rpn.head(features)
        anchors = [self.anchored(features)] * len(sizes)
        each = [level[0].shape[0] * level[0].shape[1] * level[0].shape[2] for level in told]
        objectness, offsets = (t.float() for t in concat_box_prediction_layers(told, moved))
        boxes = self.rpn.box_coder.decode(offsets.detach(), anchors).view(len(anchors), -1, 4)
        proposals: list[Tensor] = self.rpn.filter_proposals(boxes, objectness, sizes, each)[0]
        return proposals, anchors, objectness.view(len(anchors), -1), offsets.view(len(anchors), -1, 4)

    def sampled(self, anchors: list[Tensor], objectness: Tensor, offsets: Tensor, due: Any) -> list[Tensor]:
        """The header, and what the loss needs of the anchors; of those not sampled too, labelled -1."""
        labels, matched = self.rpn.assign_targets_to_anchors(anchors, due)
        wanted = torch.stack(list(self.rpn.box_coder.encode(matched, anchors)))
        drawn = torch.full_like(objectness, -1.0)
        for row, positive, negative in zip(drawn, *self.rpn.fg_bg_sampler(labels), strict=True):
            row[torch.where(negative)[0]] = 0.0
            row[torch.where(positive)[0]] = 1.0
        classes = self.roi.box_predictor.cls_score.out_features
        header = objectness.new_tensor([objectness.shape[1], self.regions, classes, 0]).expand(len(anchors), HEADER)
        wanted = torch.where(drawn[..., None] == 1, wanted, 0.0)  # of others it says nothing, and may be infinite
        return [header, objectness, drawn, offsets.flatten(1), wanted.flatten(1)]

    def answered(self, levels: Any, proposals: list[Tensor], sizes: Any, due: Any) -> list[Tensor]:
        """What the loss needs of the regions: `regions` an image, the last ones labelled -1 where there are fewer."""
        some, _, labels, wanted = self.roi.select_training_samples(proposals, due)
        boxes, drawn, targets = [], [], []
        for own, label, target in zip(some, labels, wanted, strict=True):
            short = self.regions - len(own)
            spare = own.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(short, 4)
            boxes.append(torch.cat([own, spare]))
            drawn.append(torch.cat([label.float(), label.new_full((short,), -1).float()]))
            targets.append(torch.cat([target, torch.zeros_like(spare)]))
        logits, offsets = self.told(levels, boxes, sizes)
        n, chosen = len(boxes), torch.stack(drawn)
        aims = torch.where(chosen[..., None] > 0, torch.stack(targets), 0.0)
        return [logits.view(n, -1), chosen, offsets.view(n, -1), aims.flatten(1), torch.stack(boxes).flatten(1)]

    def told(self, levels: Any, boxes: list[Tensor], sizes: Any) -> tuple[Tensor, Tensor]:
        """Of each region the logits of all classes, and the offsets of each."""
        logits, offsets = self.roi.box_predictor(self.roi.box_head(self.roi.box_roi_pool(levels, boxes, sizes)))
        return logits.float(), offsets.float()

    @torch.no_grad()
    def detected(self, levels: Any, proposals: list[Tensor], sizes: Any) -> Tensor:
        boxes, scores, labels = self.roi.postprocess_detections(*self.told(levels, proposals, sizes), proposals, sizes)
        z: Tensor = boxes[0].new_zeros(len(boxes), self.most, 6)
        for row, *found in zip(z, labels, scores, boxes, strict=True):
            label, score, box = found
            row[: len(box)] = torch.cat([label[:, None].float(), score[:, None], box], 1)
        return z


class Pooled(nn.Module):
    """A classifier's last stage on regions R x C x h x w, and the mean over what it gives: R x C."""

    def __init__(self, name: str, stage: nn.Module) -> None:
        super().__init__()
        self.add_module(name, stage)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():
            x = stage(x)
        return x.mean((2, 3))


class FasterRCNN(OnBackbone):
    """Faster R-CNN. Slot: `model`.

    C4: the stages but the last give one map of features; the last is the head, on regions of `pooled` px a side, cut by
    RoIAlign. With `pyramid` all stages give maps (FPN), the head is two linear layers of 1,024, and a scale of anchors
    is of one level. Defaults are those of gluon-cv of December 2018, which the paper ran: anchors, samples an image and
    their share of objects, proposals in training and in test before and after NMS, NMS of detections. torchvision's
    differ: 2,000 and 1,000 proposals, 512 regions, NMS .5. Boxes marked difficult are trained on, as gluon-cv does.
    """

    pyramid: bool = False
    anchors: tuple[PositiveInt, ...] = (32, 64, 128, 256, 512)  # px a side
    ratios: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0)  # height by width
    anchor_samples: PositiveInt = 256
    region_samples: PositiveInt = 128
    positive: float = Field(0.25, gt=0, lt=1)  # of the regions sampled, at most
    proposals: tuple[PositiveInt, PositiveInt] = (2000, 300)  # in training, in test
    before_nms: tuple[PositiveInt, PositiveInt] = (12000, 6000)
    pooled: PositiveInt = 14
    nms: float = Field(0.3, gt=0, lt=1)
    least_score: float = Field(0.05, ge=0, lt=1)
    detections: PositiveInt = 100

    def check(self, spec: Spec) -> None:
        if isinstance(self.network, ResNet) and len(self.network.blocks) < 2:
            raise ValueError("model.backbone: C4 needs a last stage for its head, and one before")
        super().check(spec)
        if getattr(spec.task, "headline", "") != "mAP":
            raise ValueError("model=FasterRCNN finds boxes: set task=Detect")
        if not isinstance(self.network, ResNet) and not self.pyramid:
            raise ValueError(
                "model.backbone: of timm's networks no last stage is told for a head: set model.pyramid=True"
            )
        if not isinstance(self.network, ResNet):
            timm_features(self.network, 3, 4)  # type: ignore[arg-type]

    def place(self, name: str) -> str:
        last = self.stage_names[-1:] if not self.pyramid else ()
        if (last and name.startswith((f"{last[0]}.",))) or (last and name == last[0]):
            return f"roi.box_head.{name}"
        return super().place(name)

    def build(self, channels: int, classes: int) -> nn.Module:
        import torchvision.models.detection as detection
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
        from torchvision.models.detection.roi_heads import RoIHeads
        from torchvision.ops import MultiScaleRoIAlign

        base, neck, head, width, wide, steps = self._parts(channels, TwoMLPHead)
        levels = [str(i) for i in range(len(steps))]
        steps = [*steps, 2 * steps[-1]] if self.pyramid else steps  # the pyramid's last level is of anchors alone
        each_level = tuple((size,) for size in self._of_levels(len(steps))) if self.pyramid else ()
        sizes: tuple[tuple[int, ...], ...] = each_level or (self.anchors,)
        each = len(sizes[0]) * len(self.ratios)
        rpn = detection.rpn.RegionProposalNetwork(
            AnchorGenerator(sizes, (self.ratios,) * len(sizes)),
            detection.rpn.RPNHead(width, each),
            *(0.7, 0.3, self.anchor_samples, 0.5),
            dict(zip(("training", "testing"), self.before_nms, strict=True)),
            dict(zip(("training", "testing"), self.proposals, strict=True)),
            0.7,
        )
        roi = RoIHeads(
            MultiScaleRoIAlign(levels, self.pooled, 2),
            head,
            FastRCNNPredictor(wide, classes + 1),
            *(0.5, 0.5, self.region_samples, self.positive, None),
            *(self.least_score, self.nms, self.detections),
        )
        return Detector(base, neck, rpn, roi, steps, self.detections, self.region_samples)

    def _of_levels(self, levels: int) -> tuple[int, ...]:
        """A scale for each level; the last is the greatest anchors'."""
        if len(self.anchors) != levels:
            raise ValueError(f"model.anchors: a pyramid of {levels} levels takes a scale for each, in order")
        return self.anchors

    def _parts(self, channels: int, two: Any) -> tuple[nn.Module, nn.Module | None, nn.Module, int, int, list[int]]:
        """(Base, neck, head, channels of the levels, of the head's answer, strides of the levels)."""
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        network = self.network
        base: nn.Module
        if isinstance(network, ResNet):
            named, wide, steps = stages_of(self, channels), widths(network), strides(network)
            if not self.pyramid:
                name = self.stage_names[-1]
                head = Pooled(name, named.pop(name))
                return Stages(named, 1), None, head, wide[-2], wide[-1], steps[-2:-1]
            base, kept = Stages(named, len(wide)), wide
        else:
            base, kept, steps = timm_features(network, channels, 4)  # type: ignore[arg-type]
        neck = FeaturePyramidNetwork(kept, PYRAMID, LastLevelMaxPool())
        return base, neck, two(PYRAMID * self.pooled**2, 1024), PYRAMID, 1024, steps

    def due_layers(self) -> layers.Layers:
        if not isinstance(self.network, ResNet):
            return {}
        each = len(self.network.blocks)
        due = {self.place(n): told for n, told in layers.stages(self.network, self.frozen_norms).items()}
        heads = {"rpn.head.conv.0.0": 3, "rpn.head.cls_logits": 1, "rpn.head.bbox_pred": 1}
        if self.pyramid:
            heads |= {f"neck.inner_blocks.{i}.0": 1 for i in range(each)}
            heads |= {f"neck.layer_blocks.{i}.0": 3 for i in range(each)}
        return due | {name: ("conv", side, 1, side // 2, 1, 1) for name, side in heads.items()}

    def amiss(self, x: Tensor, y: np.ndarray, z: np.ndarray) -> float | None:
        return samples.amiss(self, x, y, z)

    def blank(self, channels: int, classes: int, height: int, width: int) -> tuple[Tensor, ...]:
        return torch.zeros(1, channels, height, width), boxed(1, height, width)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield from super().proof(spec, trace)
        made: Any = trace.model.get_submodule("rpn.anchor_generator")
        seen = sorted((float(x2 - x1), float(y2 - y1)) for level in made.cell_anchors for x1, y1, x2, y2 in level)
        due = sorted(
            (2.0 * round(size / math.sqrt(ratio) / 2), 2.0 * round(size * math.sqrt(ratio) / 2))
            for size in self.anchors
            for ratio in self.ratios
        )
        amiss = abs(len(due) - len(seen)) + sum(a != b for a, b in zip(due, seen, strict=False))
        yield Check(f"anchors of another size than the {len(due)} due", "0", f"{amiss}", amiss == 0)
        live, wanted = samples.settings(trace.model), samples.due_settings(self)
        other = [f"{name} {live[name]}, not {value}" for name, value in wanted.items() if live[name] != value]
        yield Check("settings of its pieces that are not its own", "none", "; ".join(other) or "none", not other)
        if trace.auditor and isinstance(self.network, ResNet):
            told = [gaps["samples"] for gaps in trace.auditor.found if "samples" in gaps]
            what = "samples of audited steps that are not what their boxes make due"
            yield Check(what, "0", f"{sum(told):.0f}", sum(told) == 0)


def boxed(n: int, height: int, width: int) -> Tensor:
    """What is known of `n` images of that size that show one object each, in the middle."""
    y = torch.zeros(n, 2, 6)
    y[:, 0, :4] = torch.tensor([height, width, height, width])
    y[:, 1, :5] = torch.tensor([1.0, width / 4, height / 4, 3 * width / 4, 3 * height / 4])
    return y
