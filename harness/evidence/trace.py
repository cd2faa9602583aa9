"""The trace of a run: what its live objects showed, as the loop and their hooks tell it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence.numbers import digest, distance, held_by, narrow, rounded, weighed
from harness.ranks import Alone
from harness.rng import Stream, streams
from harness.spec import Spec, referenced

KEPT_BATCHES = 16  # target batches kept: enough to see λ vary, small next to one batch of images
KEPT_IMAGES = 4  # of those batches, how many keep their images too: a checkpoint carries them
TELLING = 64  # numbers: so many are not all short by chance
FEWER = {"float16": "bfloat16", "bfloat16": "float8_e5m2"}  # a float with fewer bits
KEPT_PIXELS = 32  # a side: images are subsampled to about this, which mixing commutes with
GATHERED = (  # what of a `Trace` a checkpoint holds, beside the rates
    *("first_gammas", "first_weights", "outputs", "gradients", "macs", "fed", "images"),
    *("forwards", "awake", "aways", "amiss", "drawn", "losses", "total", "accuracies", "hits", "longest", "cut"),
    *("answered", "canvas", "sizes", "shapes", "taken"),
)


Away = tuple[float, float, int, int]  # length, cosine to the gradient; tensors that did not come back; gradients amiss


@dataclass(frozen=True)
class Upstream:
    """A trained inner run: its network, the id of its specification, its result and seed, as its record has them."""

    model: nn.Module
    id: str
    result: dict[str, Any]
    seed: int | None = None  # None of a run that is no record's


@dataclass
class Trace:
    """What the loop saw. Lists grow as it trains; `model` and `optimizer` are the live objects.

    `harness.evidence.watch` sets an auditor to work; without one, as in tests of a part, only the first steps are seen.
    """

    steps_per_epoch: int
    classes: int
    model: nn.Module = field(default_factory=nn.Identity)
    optimizer: Any = None
    runner: Any = None
    rng: Stream = field(default_factory=lambda: streams(0))
    teachers: tuple[Any, ...] = ()
    averages: tuple[Any, ...] = ()
    task: Any = None  # of `harness.tasks`
    below: Upstream | None = None  # the run that the network takes weights over from
    seed: int | None = None
    ranks: Alone = field(default_factory=Alone)  # of which this is one; it has hooks on its own network alone
    canvas: tuple[int, ...] = ()  # px, height and width of the first images
    sizes: list[tuple[int, ...]] = field(default_factory=list)  # the same of each of the batches kept
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # (step, height, width), where they change
    taken: tuple[int, int, int] = (0, 0, 0)  # tensors that were to be taken over, those that were, frozen ones
    lr: list[float] = field(default_factory=list)  # of each step; nan where the parameter groups differed
    first_gammas: dict[str, tuple[float, float]] = field(default_factory=dict)
    first_weights: dict[str, tuple[float, float]] = field(default_factory=dict)  # greatest |w| and |bias| of a layer
    outputs: dict[str, str] = field(default_factory=dict)  # what each conv and linear layer gave at step 1
    gradients: dict[str, str] = field(default_factory=dict)  # and what its weight got
    macs: dict[str, int] = field(default_factory=dict)  # multiply-adds of each for one image
    fed: list[tuple[Tensor, ...]] = field(default_factory=list)  # (labels, targets, those after each mixer)
    answered: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # logits, and loss, of the first batches
    images: list[tuple[Tensor, ...]] = field(default_factory=list)  # (before each mixer, as the network got them)
    drawn: list[float] = field(default_factory=list)  # initial weights: parameters, those set, and how far off
    forwards: int = 0  # in training mode
    awake: int = 0  # modules that were in training mode in a forward that was not, over all of those
    aways: list[Away] = field(default_factory=list)  # of gradients taken at other weights
    losses: list[float] = field(default_factory=list)  # the mean of each epoch's
    accuracies: list[float] = field(default_factory=list)  # of its training images, in percent
    amiss: int = 0  # labels of other images than the order's, over the epochs before
    curve: int | None = None  # test images that are measured before the last epoch, where not all are
    diverged: bool = False  # the loss was no number, and the run ended with that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # the loop's report of each epoch
    kept: dict[str, float] = field(default_factory=dict)  # what was measured with the weights kept, at the end
    spec: Spec | None = None  # of a run that is watched
    auditor: Any = None  # a `harness.evidence.audit.Auditor`
    passes: Any = None  # a `harness.passes.Plain`: how they are executed
    exams: Any = None  # a `harness.evidence.tested.Exams`

    def __post_init__(self) -> None:
        self.initial = digest(self.model.named_parameters())
        self.before = {name: p.detach().clone() for name, p in self.model.named_parameters() if p.ndim == 2}
        self.is_away = False
        self.is_aside = False  # in passes that are no training and no test: they renew statistics
        self.others: list[tuple[int, int, float]] = []  # of each rank, at the end: forwards, modules awake, weights
        self.longest = torch.zeros(())  # norm of gradients that were clipped
        self.cut = torch.zeros(())  # steps by gradients as long as they may be
        self.total, self.hits = torch.zeros(1), torch.zeros(1)  # of this epoch: losses, and images answered right
        self._said: list[tuple[Tensor, Tensor]] = []  # logits and losses of this step's passes
        self._guesses: list[Tensor] = []  # of this step's passes
        self._batch = 1  # images of this forward
        self._size: tuple[int, ...] = ()  # of this step's images
        self._got: list[Tensor] = []  # images of this step's forwards
        self._due: Tensor | None = None  # labels of this epoch, in its order
        self._off: Tensor | None = None  # of this epoch, on the device
        self._taken: list[tuple[nn.Parameter, Tensor]] = []  # parameters, and their gradients at other weights
        self.model.register_forward_pre_hook(self._note_input)
        self._of_step_1: list[Any] = []
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._note_output_of(name, module)
                if module.weight.requires_grad:  # else it has no gradient, which audits tell
                    self._note_gradient_of(name, module.weight)

    def _note_input(self, model: nn.Module, args: tuple[Tensor, ...]) -> None:
        """At the first forward the layers' weights and every batch norm's γ; in training the images that came."""
        self._batch = len(args[0])
        if self.is_aside:
            return
        if self.forwards == 0:
            self.canvas = self.canvas or tuple(args[0].shape[2:])
            due = handed_over(self)
            for name, module in model.named_modules():
                if f"{name}.weight" in due:
                    continue
                if isinstance(module, nn.BatchNorm2d):
                    low, high = module.weight.detach().aminmax()
                    self.first_gammas[name] = (low.item(), high.item())
                elif isinstance(module, nn.Conv2d | nn.Linear):
                    bias = 0.0 if module.bias is None else module.bias.detach().abs().max().item()
                    self.first_weights[name] = (module.weight.detach().abs().max().item(), bias)
            if self.spec and not self.drawn:
                self.drawn = list(initial_gap(self.spec, model, self.rng, due))
                self.taken = taken(self.spec, model, due)
        if not model.training:
            self.awake += sum(module.training for module in model.modules())
            return
        self.forwards += 1
        if not self.shapes or self.shapes[-1][1:] != tuple(args[0].shape[2:]):
            self.shapes.append((len(self.lr), *args[0].shape[2:]))
        if not self.is_away and len(self.images) < KEPT_IMAGES:
            self._got.append(thinned(args[0]))

    def watches(self) -> bool:
        """Whether this step is looked at more closely than others: one of the first, or one that is audited."""
        step = len(self.lr) - self.is_away  # a gradient at other weights comes after the step was seen
        return step < KEPT_BATCHES or (self.auditor is not None and step in self.auditor.due)

    def saw_forward(self, x: Tensor, y: Tensor) -> None:
        """Before a forward in training that hooks do not see, of a step that is not watched."""
        given = self.task.given(x, y) if self.task else (x,)
        self._note_input(self.model, given)
        for watcher in filter(None, (self.auditor, self.exams)):
            watcher.saw_forward(self.model, given)

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Around passes that are neither training nor test: those that are done a second time."""
        self.is_aside = True
        try:
            yield
        finally:  # where no graph of a pass can be made, the run goes on
            self.is_aside = False

    @property
    def narrow(self) -> str:
        """The float of 16 bits that tensors are held against."""
        return narrow(self.spec.precision) if self.spec else "float16"

    def _note_gradient_of(self, name: str, weight: Tensor) -> None:
        """Note, at step 1, whether the gradient of every pass is one that the precision's narrow float holds."""

        def note(gradient: Tensor) -> None:
            kind = self.narrow  # which is known by now
            exact = self.gradients.get(name, kind) == kind and held_by(gradient, kind)
            if gradient.numel() >= TELLING and gradient.any():  # fewer bits than that float's, and it is another's
                exact = exact and not torch.equal(gradient, rounded(gradient, FEWER[kind]).to(gradient.dtype))
            self.gradients[name] = kind if exact else str(gradient.dtype).removeprefix("torch.")

        self._of_step_1.append(weight.register_hook(note))

    def _note_output_of(self, name: str, module: nn.Conv2d | nn.Linear) -> None:
        """Note, once, whether a layer's output is of the precision's narrow float, or this can hold all its numbers."""

        def note(layer: nn.Module, args: Any, out: Tensor) -> None:
            if name not in self.outputs:  # else this is a resumed run's trace, and step 1 is over
                exact = held_by(out, self.narrow)
                self.outputs[name] = self.narrow if exact else str(out.dtype).removeprefix("torch.")
                each = out.numel() // self._batch  # not out[0]: attention may fold windows into the batch
                self.macs[name] = each * module.weight[0].numel()  # each output is one filter's product
            handle.remove()  # also, a hook that stayed would tie the model to this trace for good

        handle = module.register_forward_hook(note)

    def saw_pass(self, z: Tensor, loss: Tensor) -> None:
        """After a forward: its logits, and its share of the step's loss."""
        self.total = self.total.to(loss.device) + loss.detach().float()
        if self.task:
            self._guesses.append(self.task.guesses(z.detach()))
        if len(self.answered) < KEPT_IMAGES and (self.task is None or self.task.brief):
            self._said.append((z.detach().float(), loss.detach().float()))
        if self.auditor:
            self.auditor.saw_pass(loss)

    def stage(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images and targets between two mixers, kept as they are now: the next may change them in place."""
        self._size = tuple(x.shape[2:])
        if len(self.fed) >= KEPT_BATCHES:
            return x, y
        return thinned(x) if len(self.images) < KEPT_IMAGES else x, y.clone()

    def saw_step(self, labels: Tensor, stages: Sequence[tuple[Tensor, Tensor]]) -> None:
        """After the passes of a step: labels N, and images and targets N x K before each mixer and after the last."""
        fed = stages[-1][1]
        if self._guesses:
            (right,) = self.ranks.sum(self.task.right(torch.cat(self._guesses), self._own(labels)))
            self.hits = self.hits.to(labels.device) + right
            self._guesses = []
        if self.auditor:
            self.auditor.saw_step(labels, fed)
            self._compare(labels)
        if self._said:
            logits, losses = zip(*self._said, strict=True)
            self.answered.append((torch.cat([self.ranks.gather(z) for z in logits]), torch.stack(losses).sum()))
            self._said = []
        moving = [group for group in self.optimizer.param_groups if group.get("factor", 1.0)]  # 0 is frozen
        rates = [group["lr"] / group.get("factor", 1.0) for group in moving] or [0.0]
        self.lr.append(rates[0] if all(math.isclose(rate, rates[0]) for rate in rates) else float("nan"))
        self._past_step_1()
        if len(self.fed) < KEPT_BATCHES:
            told = (labels, stages[0][1], *(y for _, y in stages[1:] or stages))
            self.sizes.append(self._size)
            brief = self.task is None or self.task.brief
            self.fed.append(told if brief else tuple(thinned(y) for y in told))
        if self._got:
            self.images.append(
                (*(x for x, _ in stages[:-1] or stages), torch.cat([self.ranks.gather(x) for x in self._got]))
            )
            self._got = []

    def _own(self, labels: Tensor) -> Tensor:
        """Those of a batch that this rank has: of every pass, an even share."""
        size = (self.spec.microbatch if self.spec else None) or len(labels)
        return torch.cat([some.chunk(self.ranks.size)[self.ranks.rank] for some in labels.split(size)])

    def drew(self, spec: Spec, place: int, batch: int) -> np.random.Generator:
        """The stream of the mixer at `place`, at one of the batches kept."""
        kinds = [type(part).__name__ for part in spec.mix[: place + 1]]
        again = kinds.count(kinds[-1]) - 1
        return self.rng("mix", kinds[-1], *divmod(batch, self.steps_per_epoch), *([again] if again else []))

    def through(self, place: int) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, Tensor]]]:
        """By batch, what came into and out of the mixer at `place`: (labels, targets before, after), and images."""
        targets = [(labels, *mixed[place : place + 2]) for labels, *mixed in self.fed]
        return targets, [(mixed[place], mixed[place + 1]) for mixed in self.images]

    def every(self, batch: int) -> int:
        """Of a kept batch's images every so many-th pixel is kept, each way."""
        return step(self.size(batch)[1])

    def size(self, batch: int) -> tuple[int, int]:
        """Height and width of a kept batch's images, in px."""
        height, width = self.sizes[batch] if batch < len(self.sizes) else self.canvas
        return height, width

    def _compare(self, labels: Tensor) -> None:
        """Count the labels that are not those of the order drawn; on the device, which is not waited for."""
        assert self.spec
        epoch, batch = divmod(len(self.lr), self.steps_per_epoch)
        labels = self.task.order(labels)
        if labels is None:
            return
        if self._due is None or batch == 0:
            self.tally()
            images = self.spec.data.load()
            order = ordered(self.spec, images.strata("train"), self.rng, epoch)
            self._due = torch.from_numpy(self.task.ordered(images)[order]).to(labels.device)
        due = self._due[batch * self.spec.batch_size :][: self.spec.batch_size]
        off = (labels != due).sum() if labels.shape == due.shape else torch.tensor(len(due), device=labels.device)
        self._off = off if self._off is None else self._off + off

    def tally(self) -> int:
        """Labels so far that were of other images than the order's."""
        if self._off is not None:
            self.amiss += int(self._off)
            self._off = None
        return self.amiss

    def saw_gradient(self) -> None:
        """Before the optimizer's step, with the gradients that it goes by."""
        if self._taken:
            *away, amiss = self.aways[-1]
            amiss += sum(not torch.equal(g, p.grad) for p, g in self._taken if p.grad is not None)
            self.aways[-1], self._taken = (*away, amiss), []  # type: ignore[assignment]
        if self.auditor:
            self.auditor.saw_gradient()
        if self.exams:
            self.exams.saw_gradient()

    def saw_clipped(self) -> None:
        """After what is done to the gradients, before the optimizer goes by them."""
        for bound in filter(None, (part.bound for part in (self.spec.clip if self.spec else ()))):
            norms = torch._foreach_norm([p.grad for p in self.model.parameters() if p.grad is not None])
            norm = torch.stack(norms).norm().nan_to_num(0.0, 0.0)  # of half precision, a step that is left out
            self.longest = torch.maximum(self.longest.to(norm.device), norm)
            self.cut = self.cut.to(norm.device) + ((norm / bound - 1).abs() < 1e-3)
        if self.auditor:
            self.auditor.saw_clipped()

    def saw_averaged(self) -> None:
        """After a step, and after what goes into averages of it."""
        if len(self.lr) % self.steps_per_epoch == 0:
            self._saw_epoch()
        if self.auditor:
            self.auditor.saw_averaged()
        if self.exams:
            self.exams.saw_averaged()

    def _saw_epoch(self) -> None:
        self.losses.append(float(self.total) / self.steps_per_epoch)
        images = self.steps_per_epoch * (self.spec.batch_size if self.spec else 1)
        self.accuracies.append(100 * float(self.hits) / images)
        self.total, self.hits = torch.zeros(1), torch.zeros(1)

    def saw_returned(self) -> None:
        """After weights became an average, where they did."""
        if self.auditor:
            self.auditor.saw_returned()
        if self.exams:
            self.exams.saw_returned()

    @contextmanager
    def renewing(self, epoch: int) -> Iterator[None]:
        """Around passes that work batch norm's statistics out anew, of the average that the network has."""
        self.is_aside = True
        if self.auditor:
            self.auditor.saw_renewing(epoch)
        yield
        self.is_aside = False
        if self.auditor:
            self.auditor.saw_renewed(epoch)
        if self.exams:
            self.exams.saw_renewed()

    def saw_test(self, split: str, scores: dict[str, float], kept: dict[str, Any]) -> None:
        """After an evaluation: of which images, and what the loop makes of it."""
        if self.exams:
            self.exams.saw(split, scores, kept)

    def saw_answers(self) -> None:
        """In an evaluation, after each rank answered a batch."""
        if self.exams:
            self.exams.saw_answers()

    def over(self) -> None:
        """After the last step and test, while all ranks are there."""
        if self.auditor:
            self.auditor.ended()
            self.auditor.judged()
            self.others = self.ranks.told((self.forwards, self.awake, weighed(self.model)))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Around a gradient that is taken at other weights: of the first steps, where it was, and that all came back.

        On entering, the gradients are those by which the weights will move.
        """
        self.is_away = True
        if self.auditor:
            self.auditor.saw_leaving()
        if len(self.aways) >= KEPT_BATCHES:
            yield
            self.is_away = False
            return
        live = [*self.model.parameters(), *self.model.buffers()]
        before = [t.detach().clone() for t in live]
        slopes = [None if p.grad is None else p.grad.detach().clone() for p in self.model.parameters()]
        seen: list[Tensor] = []
        amiss = 0

        def look(model: nn.Module, args: Any) -> None:  # the weights as the first forward finds them
            nonlocal amiss
            if not seen:
                seen.extend(p.detach().clone() for p in model.parameters())
                amiss = sum(p.grad is not None and bool(p.grad.any()) for p in model.parameters())

        handle = self.model.register_forward_pre_hook(look)
        yield
        handle.remove()
        self._taken = [(p, p.grad.clone()) for p in self.model.parameters() if p.grad is not None]
        self.is_away = False
        pairs = [(w - b, g) for w, b, g in zip(seen, before, slopes, strict=False) if g is not None]
        if not pairs:  # no forward there
            self.aways.append((0.0, 0.0, 0, 1))
            return
        offset, slope = (torch.cat([t.flatten() for t in side]).double().cpu() for side in zip(*pairs, strict=True))
        length, steepness = float(offset.norm()), float(slope.norm())
        cosine = float(offset @ slope) / (length * steepness) if length and steepness else float("nan")
        left = sum(not torch.equal(a, b.detach()) for a, b in zip(before, live, strict=True))
        self.aways.append((length, cosine, left, amiss))

    def _past_step_1(self) -> None:
        for handle in self._of_step_1:
            handle.remove()
        self._of_step_1 = []

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that a resumed run is judged by all it did.

        `before` and `initial` are made anew, from the same seed.
        """
        self.tally()
        watched = {"audits": self.auditor.state(), "exams": self.exams.state()} if self.auditor and self.exams else {}
        seen = {name: getattr(self, name) for name in GATHERED}
        return {"lr": torch.tensor(self.lr, dtype=torch.float64), **seen, **watched}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint's `state`."""
        for name in GATHERED:
            setattr(self, name, state[name])
        if self.auditor and self.exams:
            self.auditor.restore(state["audits"])
            self.exams.restore(state["exams"])
        self.lr = state["lr"].tolist()
        if self.lr:
            self._past_step_1()
        for name in ("fed", "images", "answered"):
            setattr(self, name, [tuple(item.to(device) for item in kept) for kept in state[name]])


def handed_over(trace: Trace) -> dict[str, Tensor]:
    """The weights and buffers that the network should have of its upstream run, or of a file, by their names in it."""
    if trace.spec is None:
        return {}
    of: dict[str, Tensor] = trace.spec.model.adopted(trace.below.model.state_dict()) if trace.below else {}
    if any(part.loads for part in trace.spec.init):
        shapes = {name: tensor.shape for name, tensor in trace.model.state_dict().items()}
        for part in filter(referenced, trace.spec.init):  # the last that sets a tensor is the one
            own = part.knowing(trace.spec.data.load()).reference(shapes, trace.model, trace.rng)
            loaded = {n: torch.from_numpy(values).float() for n, values in own.items()} if part.loads else {}
            of = {name: tensor for name, tensor in of.items() if name not in own} | loaded
    return of


def taken(spec: Spec, model: nn.Module, due: dict[str, Tensor]) -> tuple[int, int, int]:
    """(Tensors to be taken over, those that are there to the bit, parameters that ask for no gradient)."""
    live = model.state_dict()
    there = sum(name in live and torch.equal(live[name].cpu(), tensor.cpu()) for name, tensor in due.items())
    return len(due), there, sum(not p.requires_grad for p in model.parameters())


def initial_gap(spec: Spec, model: nn.Module, rng: Stream, handed: dict[str, Tensor]) -> tuple[float, float, float]:
    """(Parameters, those that `init` sets by its references, their greatest gap from them before the first step).

    Those `handed` over from another run are not `init`'s.
    """
    live = {n: p.detach().cpu().double().numpy() for n, p in model.named_parameters() if n not in handed}
    every = {name: p.shape for name, p in model.named_parameters()}
    due = {name: values for name, values in spec.model.starts(every).items() if name in live}
    for part in spec.init:
        if not referenced(part):
            return float(len(live)), 0.0, 0.0  # whatever it did to the others' weights is not known
        own = part.knowing(spec.data.load()).reference(every, model, rng)
        due |= {name: laid(values, due.get(name)) for name, values in own.items() if name in live}
    gaps = [distance(live[name], values) for name, values in due.items()]
    return float(len(live)), float(len(due)), max(gaps, default=0.0)


def laid(values: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The values that a part sets: where it has nan, those that were there before."""
    return values if before is None else np.where(np.isnan(values), before, values)


def ordered(spec: Spec, labels: np.ndarray, rng: Stream, epoch: int) -> np.ndarray:
    """The places of an epoch's images among the training images, of these `labels`."""
    if spec.sampler is None:
        return rng("order", epoch).permutation(len(labels))
    sampler: Any = spec.sampler
    draw = rng("order", epoch) if sampler.anew else rng("order", 0)
    order: np.ndarray = (sampler.reference if referenced(sampler) else sampler.order)(labels, draw)
    return order


def thinned(images: Tensor) -> Tensor:
    if images.ndim < 3 or not images.numel():
        return images.clone()
    every = step(images.shape[-1])
    return images[..., ::every, ::every].clone()


def step(width: int) -> int:
    """Of images that wide every so many-th pixel is kept, each way."""
    return max(1, width // KEPT_PIXELS)
