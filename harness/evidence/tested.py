"""The test is evidence too: which images the network answered, by which weights, and what of that was reported.

Every image that comes in evaluation leaves a print, its product with one fixed random image: that of the data's own
image, as it is stored and normalised in numpy, is compared. The answers are kept, and accuracy and loss are worked out
again from them and from the labels as the data has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence.numbers import (
    array,
    distance,
    held_by,
    is_layer,
    narrow,
    on_cpu,
    own_numbers,
    same,
    some,
    weighed,
)
from harness.evidence.products import Products, multiplies
from harness.evidence.replay import Given, Replay, emulated, precisely
from harness.evidence.trace import Trace
from harness.rng import stream
from harness.spec import Spec, referenced

SMALL = 64  # px: up to here all images are at hand, and all prints known
SAMPLE = 32  # images: of photos so many are decoded again, the others are to be the same at each evaluation
LOOKED = 4  # evaluations, drawn, of which one batch is answered again; and the last ones


class Exams:
    """Watches every evaluation."""

    def __init__(self, spec: Spec, trace: Trace, replay: Replay) -> None:
        self.spec, self.trace, self.replay = spec, trace, replay
        whole, most = replay.images, trace.curve
        if most:
            count = whole.counts["test"]
            chosen = {split: (split, np.arange(n)) for split, n in whole.counts.items()}
            few = np.array([place * count // most for place in range(most)])
            whole = whole.regrouped({**chosen, "curve": ("test", few)})
        self.images = spec.evaluation.view(whole) if spec.evaluation else whole
        self.examiner = trace.task.examiner(self.images)
        self.found: list[dict[str, float]] = []  # one an evaluation
        self.scores: list[dict[str, float]] = []  # of each, worked out here
        self.epochs: list[int] = []  # of each, the epoch that it came after
        self.sides: set[int] = set()  # px, of the images that were tested
        self.views: set[int] = set()  # of an image, that were answered
        self.resumed = 0.0  # trainings that went on with other weights than were tested
        self.device = next(trace.model.parameters(), torch.zeros(0)).device
        self._looked = {int(epoch) for epoch in trace.rng("audit", "test").integers(0, spec.epochs, LOOKED)}
        self._known: dict[str, np.ndarray] = {}  # prints, by split; nan where they are not known
        self._first: dict[str, np.ndarray] = {}  # those of the first evaluation, by split and number
        self._shares: list[float] = []  # of each view of an image, once one was seen
        self._live = math.nan  # weight of the network after the last step
        self._trained = math.nan  # and of what is tested: that, or its average
        self._testing = False
        self._clear()
        trace.model.register_forward_pre_hook(self.saw_forward)
        trace.model.register_forward_hook(self._answered)
        if trace.optimizer is not None:
            trace.optimizer.register_step_post_hook(self._stepped)

    def _clear(self) -> None:
        self._prints: list[Tensor] = []
        self._met = 0  # batches that this rank answered
        self._heard: list[tuple[Given, Tensor, Tensor]] = []  # (what the network got, logits, prints), not yet marked
        self._rounded: list[bool] = []  # outputs of the first batch's layers: whether float16 holds them
        self._products: Products | None = None  # of the same
        self._handles: list[Any] = []
        self._weight = math.nan
        self._batches: list[tuple[Given, Tensor]] = []  # (images, logits) of the batch to answer again
        self._place = -1

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._at_end():
            self._live = self._trained = weighed(self.trace.model)

    def _at_end(self) -> bool:
        """Of an epoch."""
        return len(self.trace.lr) % self.trace.steps_per_epoch == 0

    def saw_gradient(self) -> None:
        if self._at_end():
            self._live = self._trained = math.nan  # half precision may leave the step out

    def saw_averaged(self) -> None:
        if self._at_end():
            for average in self.trace.averages:
                with average.on():
                    self._trained = weighed(self.trace.model)

    def saw_returned(self) -> None:
        if self._at_end() and any(map(handed_back, self.trace.averages)):
            self._live = weighed(self.trace.model)

    def saw_renewed(self) -> None:
        """Of the average that is about to be tested the statistics are others now."""
        self._trained = weighed(self.trace.model)

    def saw_forward(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        if self.trace.is_aside:
            return
        if model.training:
            if self._testing and self.found and not self.trace.is_away:  # the first step after an evaluation
                self._testing = False
                due = self._live if self.trace.averages else self.found[-1]["weight"]
                self.resumed += math.isfinite(due) and not same(weighed(model), due)
        elif not self._met:
            self._testing = True
            self._weight = weighed(model)
            self._handles = [m.register_forward_hook(self._note_rounding) for m in model.modules() if is_layer(m)]
            self._products = Products(len(self.found)) if multiplies(self.spec.precision) else None
            if self._products:
                self._products.watch(model)
            self._place = int(self.trace.rng("audit", "batch", len(self.found)).integers(2**31))

    def _looks(self, x: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """The views of test images that are due, and how much each counts: by the second writing, if there is one."""
        part: Any = self.images.looks
        if part is None:
            return [(1.0, x)]
        if referenced(part):
            found: list[tuple[float, np.ndarray]] = part.reference(x)
            return found
        return [(share, view.double().numpy()) for share, view in part.views(torch.from_numpy(x).float())]

    def _note_rounding(self, layer: nn.Module, args: Any, out: Tensor) -> None:
        self._rounded.append(held_by(some(out), narrow(self.spec.precision)))

    def _answered(self, model: nn.Module, args: tuple[Tensor, ...], z: Tensor) -> None:
        if model.training or self.trace.is_aside:
            return
        for handle in self._handles:
            handle.remove()
        if self._products:
            self._products.answered()
        x, z = args[0].detach(), z.detach().float()
        self.sides |= {*x.shape[2:]}
        if self._heard and len(self._heard[-1][1]) != len(z) and self.trace.ranks.size == 1:
            self._heard = []  # views of another batch, some of which never came
        self._heard.append((args, z, x.flatten(1) @ shadow(x, self.images.canvas)))
        self._met += 1
        # of all batches so far each is the one that is kept with the same chance, and none is known beforehand
        if np.random.default_rng([self._place, self._met]).random() < 1 / self._met:
            self._batches = [(tuple(tensor.detach().clone() for tensor in args), z.clone())]
        if self.trace.ranks.size == 1 and len(self._heard) == self._count(x):
            self._mark(self._heard)

    def saw_answers(self) -> None:
        """After every rank has answered a batch, or had none: mark them in order. Of images the shape is sent."""
        ranks, own = self.trace.ranks, self._heard
        if ranks.size == 1:
            return
        sent = [((x.to("meta"), *map(on_cpu, more)), on_cpu(z), on_cpu(prints)) for (x, *more), z, prints in own]
        self._mark([batch for told in ranks.told(sent) for batch in told])

    def _count(self, x: Tensor) -> int:
        """How many views of an image are due."""
        self._shares = self._shares or [share for share, _ in self._looks(np.zeros((1, *x.shape[1:])))]
        return len(self._shares)

    def _mark(self, heard: list[tuple[Given, Tensor, Tensor]]) -> None:
        """Batches that were answered, in order: of each all views, one after the other, count as one answer."""
        self._heard = []
        if not heard:
            return
        count = self._count(heard[0][1].new_zeros(1, *heard[0][0][0].shape[1:]))
        for place in range(0, len(heard) - count + 1, count):
            batch = heard[place : place + count]
            views = [share * z.to(self.device) for share, (_, z, _) in zip(self._shares, batch, strict=True)]
            self.examiner.saw(batch[0][0], torch.stack(views).sum(0) if count > 1 else views[0])
            self._prints.append(torch.stack([prints.to(self.device) for _, _, prints in batch]))

    def saw(self, split: str, scores: Mapping[str, float], kept: Mapping[str, Any]) -> None:
        """An evaluation is over: `scores` by their names, and what is `kept` of its images."""
        due = self.images.counts[split]
        count = max(1, len(self._shares))
        empty = torch.zeros(count, 0, device=self.device)
        prints = torch.cat([empty, *self._prints], 1).double().cpu().numpy()
        if prints.size:
            self.views.add(count)
        row = {"n": float(prints.shape[1]), "due": float(due), "split": float(split == "test")}
        row["rounded"] = sum(self._rounded) / len(self._rounded) if self._rounded else math.nan
        if self._products:
            self._products.work_out()
            row |= {name: float(count) for name, count in self._products.found.items()}
        row |= {"weight": self._weight, "trained": self._trained, "kept": weighed(self.trace.model)}
        self.scores.append({})
        self.epochs.append(epoch := len(self.trace.lr) // self.trace.steps_per_epoch - 1)
        if prints.shape[1] == due:
            which = f"{split} of {due}"  # a run that goes on may be watched by another number of images
            row["strangers"] = float((~close(prints, self._due(split), self._first.get(which))).sum())
            self._first.setdefault(which, prints)
            self.scores[-1], row["right"] = self.examiner.marked(split, kept)
            off = [apart(scores.get(key, math.nan), value) for key, value in self.scores[-1].items()]
            row["marks"] = max(off)
        looked = epoch in self._looked or epoch >= self.spec.epochs - 1
        again = self._again() if looked and self._batches else 0.0
        every = self.trace.ranks.told((again, self._weight))
        if looked and self._batches:
            row["answered"] = max(gap for gap, _ in every)
        row["apart"] = float(sum(not same(weight, self._weight) for _, weight in every if math.isfinite(weight)))
        self.examiner.over(split)
        self.found.append(row)
        self._clear()

    def _again(self) -> float:
        """How far one batch's answers are from a reference's, of the weights that the network has."""
        trace, ((given, z),) = self.trace, self._batches
        weights = dict((*trace.model.named_parameters(), *trace.model.named_buffers()))
        with own_numbers(self.device), torch.no_grad(), precisely(self.replay):
            try:
                due = self.replay.network(weights, given, False, emulated(self.replay)).float()
            except Exception:  # a network of another make
                return math.inf
        return distance(array(z), array(due))

    def _due(self, split: str) -> np.ndarray:
        """The prints of a split's images, from the data as it is stored; nan of those that are not looked at."""
        if split not in self._known:
            n = self.images.counts[split]
            mean, std = (
                np.asarray(v, dtype=np.float64).reshape(1, -1, 1, 1) for v in (self.images.mean, self.images.std)
            )
            looked = np.arange(n)
            if self.images.size > SMALL:
                looked = np.sort(self.trace.rng("audit", "photos").permutation(n)[:SAMPLE])
            found = np.full((max(1, len(self._shares)), n), math.nan)
            for places in np.split(looked, range(256, len(looked), 256)):
                whole = (self.images.reference(split, places, []) - mean) / std
                for row, (_, view) in zip(found, self._looks(whole), strict=True):
                    x = torch.from_numpy(np.ascontiguousarray(view)).float()
                    row[places] = (x.flatten(1).double() @ shadow(x, self.images.canvas).double()).numpy()
            self._known[split] = found
        return self._known[split]

    def of(self, epoch: int) -> int:
        """The place of the first evaluation after an epoch; -1 where there was none."""
        return self.epochs.index(epoch) if epoch in self.epochs else -1

    @property
    def answers(self) -> str:
        """To the test images, the last time, as a record has them."""
        told: str = self.examiner.record()["answers"]
        return told

    def state(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in ("found", "resumed", "scores", "epochs", "sides", "views")}
        state["first"] = {split: torch.from_numpy(prints) for split, prints in self._first.items()}
        weights = {"trained": self._trained, "live": self._live, "testing": self._testing}
        return state | weights | {"examiner": self.examiner.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name in ("found", "resumed", "scores", "epochs", "sides", "views"):
            setattr(self, name, state[name])
        self.examiner.restore(state["examiner"])
        self._first = {split: prints.numpy() for split, prints in state["first"].items()}
        self._trained, self._live, self._testing = state["trained"], state["live"], state["testing"]


def handed_back(average: Any) -> bool:
    """Whether training goes on from the average, after the last update."""
    return bool(average.part.returns and average.share)


def apart(seen: float, due: float) -> float:
    """A relative gap; 0 where neither is a number."""
    if not math.isfinite(due):
        return 0.0 if not math.isfinite(seen) else math.inf
    return abs(seen - due) / max(1.0, abs(due)) if math.isfinite(seen) else math.inf


_shadows: dict[tuple[int, int, int, torch.device], Tensor] = {}


def shadow(x: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The fixed random image, flat, that images are multiplied with: that of the set's greatest, cut to theirs.

    An image's print is then the same in any batch, whose images are padded with 0 to the greatest among them.
    """
    _, channels, height, width = x.shape
    most = max(canvas[0], height), max(canvas[1], width)
    key = channels, *most, x.device
    if key not in _shadows:
        drawn = stream(0, "print").standard_normal(channels * most[0] * most[1])
        _shadows[key] = torch.from_numpy(drawn).float().view(channels, *most).to(x.device)
    return _shadows[key][:, :height, :width].flatten()


def close(prints: np.ndarray, due: np.ndarray, first: np.ndarray | None) -> np.ndarray:
    """Which prints are those due, or, where that is not known, those of the first evaluation."""
    known = np.isfinite(due)
    spread = float(np.nanstd(due)) or float(np.nanmax(np.abs(due), initial=0)) or 1.0
    near = np.abs(prints - np.where(known, due, prints)) <= 1e-4 * spread
    again = np.abs(prints - first) <= 1e-4 * spread if first is not None else np.ones_like(known)
    right: np.ndarray = np.where(known, near, again)
    return right
