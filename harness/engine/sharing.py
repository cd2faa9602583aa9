"""How many runs share a card: as many as its memory and the cores bear, and as make it train more images a second.

Small networks leave a card idle while Python launches kernels. How far that goes depends on the network, the card and
the driver, so it is measured: the loop itself trains the plan's dearest specification for `SECONDS` in one process, in
two, in four, in eight, as long as that pays. Other cards of its kind are idle meanwhile.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness import Problem, one_line
from harness.engine.local import decoders
from harness.engine.mps import served
from harness.engine.ranks import widest
from harness.engine.together import together
from harness.engine.worker import settle
from harness.evidence import Upstream
from harness.spec import Spec
from harness.store import Store
from harness.study import Run
from harness.study.costs import Market, Price
from harness.study.shown import amount
from harness.train import PLAIN, How, Keeper, train

COUNTS = 1, 2, 4, 8  # runs a card that are tried
WORTH = 1.15  # times the images a second of the number before: with less, a run takes longer for next to nothing
SECONDS = 3.0  # of timed batches, for each number
WARM = 10  # batches before the clock starts: caches fill, cuDNN and the allocator settle, the first step is audited
MARGIN = 1.25  # of memory: blocks of the allocator that fit nothing, and estimates that are too low
CONTEXT = 0.6e9  # bytes of CUDA's context of a process: some 0.3 to 0.5e9 are usual, by card and driver

Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """How many runs share a card as far as is known, and which number is to be measured next; None where all is."""

    runs: int
    ask: int | None
    why: str = ""


def choose(memory: float, there: float, cores: int, rates: Mapping[int, float]) -> Choice:
    """The choice for one card.

    A run takes `memory` bytes of the `there` that are free on the card, and a core of the `cores` that the card's runs
    have. `rates` are images a second of all together, by how many there are; 0 where so many could not run.
    """
    room = math.floor(there / (MARGIN * memory))
    fits = [n for n in COUNTS if n <= max(1, min(room, cores))]
    best = 1
    for n in fits if len(fits) > 1 else ():
        if n not in rates:
            return Choice(best, n)
        if not rates[n] or rates[n] < WORTH * rates[best] * (n > 1):
            break
        best = n
    gain = f"{rates[best] / rates[1]:.2g} times the images/s of one" if best > 1 else ""
    return Choice(best, None, "; ".join(filter(None, (gain, _limit(memory, there, cores, rates, best, fits)))))


def _limit(memory: float, there: float, cores: int, rates: Mapping[int, float], best: int, fits: Sequence[int]) -> str:
    """Why there are no more than `best`."""
    tried = next((n for n in fits if n in rates and (n > best or not rates[n])), None)
    if tried == 1:
        return "how fast one is could not be measured"
    if tried:
        often = f"{rates[tried] / rates[1]:.2g}{'' if best > 1 else ' times the images/s'}"
        return f"{tried} would give {often}" if rates[tried] else f"{tried} at once did not run"
    if best == COUNTS[-1]:
        return ""
    if there < MARGIN * memory * 2 * best:
        return f"{2 * best} do not fit: one is given {amount(MARGIN * memory)}, and {amount(there)} are free"
    return f"more want more cores: there {'is' if cores == 1 else 'are'} {cores} for each card"


@dataclass(frozen=True)
class Shared:
    """Places of runs, and why they are so many: a line for each kind of card."""

    places: list[str]
    lines: list[str] = field(default_factory=list)
    slower: float = 1.0  # times the seconds of a run that has its card alone


@dataclass(frozen=True)
class Card:
    place: str
    kind: str
    free: int  # bytes


@contextmanager
def shared(runs: Sequence[Run], store: Store, places: Sequence[str], say: Say, how: How = PLAIN) -> Iterator[Shared]:
    """Places on CUDA devices for `runs`, as many on each of `places` as pay; MPS, if there is any, is up meanwhile.

    It takes a minute or so, and says what it does. Raises Problem where a device cannot be used.
    """
    if (ranks := widest(runs)) > 1:
        yield Shared(list(places), [f"1 run a card: its {ranks} ranks want one each"])
        return
    with served(say) as server:
        ask = partial(_looked_at, tuple(places), [spec for spec, _ in runs], store)
        try:
            ((cards, prices),) = together(ask, places[:1])
        except Problem as problem:
            if not (server and server.folder):
                raise
            server.end()  # it answered, and serves nobody: in a container, say
            say(f"MPS did not serve, going on without: {problem}")
            server, ((cards, prices),) = None, together(ask, places[:1])
        found = chosen(runs, cards, prices, partial(_measured, how=how, cards=len(cards)), say)
        if server and len(found.places) == len(places):
            server.end()
        elif server:
            whose = "MPS is started for this command" if server.folder else "by the MPS that is there"
            found.lines.append(f"sharing a card: {whose}")
        yield found


def chosen(
    runs: Sequence[Run],
    cards: Sequence[Card],
    prices: Mapping[str, Price],
    measure: Callable[[Spec, Card, int], tuple[float, float]],
    say: Say,
) -> Shared:
    """How many of `runs` share each of `cards`.

    `measure(spec, card, n)` gives images a second of `n` processes, and bytes of one beside its context and tensors.
    """
    times = Counter(spec.id for spec, _ in runs)
    dear = max(times, key=lambda own: times[own] * prices[own].seconds)
    spec = next(spec for spec, _ in runs if spec.id == dear)
    memory = max(price.memory for price in prices.values())
    cores = max(1, len(os.sched_getaffinity(0)) // len(cards))
    kinds: dict[str, list[Card]] = {}
    for card in cards:
        kinds.setdefault(card.kind, []).append(card)
    lines, on, gained = [], dict[str, int](), 0.0
    for kind, own in kinds.items():
        rates, beside = dict[int, float](), 0.0
        there, first, which = min(card.free for card in own), own[0], ", ".join(card.place for card in own)
        while n := (choice := choose(memory + CONTEXT + beside, there, cores, rates)).ask:
            say(f"timing {n} {'runs' if n > 1 else 'run'} on {first.place}")
            try:
                rates[n], seen = measure(spec, first, n)
                beside = max(beside, seen)
            except Problem as problem:
                say(f"{n} on {first.place}: {problem}")
                rates[n] = 0.0
        on |= dict.fromkeys((card.place for card in own), choice.runs)
        gained += len(own) * (rates[choice.runs] / rates[1] if choice.runs > 1 else 1.0)
        each = "" if len(own) == 1 else " each"
        named = which if len(kinds) == 1 else f"{which} ({one_line(kind, 60)})"
        many = f"{choice.runs} runs share {named}{each}" if choice.runs > 1 else f"1 run on {named}{each}"
        lines.append(f"{many}: {choice.why}" if choice.why else many)
    made = [card.place for turn in range(max(on.values())) for card in cards if turn < on[card.place]]
    return Shared(made, lines, len(made) / gained)


def _looked_at(
    places: Sequence[str], specs: Sequence[Spec], store: Store, place: str, ready: Any
) -> tuple[list[Card], dict[str, Price]]:
    """The cards, and what runs take: in a process of its own, so that the command has no context on any of them."""
    import torch

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    cards, device = [], settle(place)
    for each in places:
        free, _ = torch.cuda.mem_get_info(each)  # beside this process's context: it leaves more than it found
        cards.append(Card(each, torch.cuda.get_device_name(each), free))
    return cards, Market(store, device, 1, decoders(len(places)), say).prices(specs)


def _measured(spec: Spec, card: Card, n: int, how: How, cards: int) -> tuple[float, float]:
    """Images a second of `n` processes that train on one of `cards` cards, and bytes of one beside context and tensors.

    Kernels that were loaded, workspaces, blocks of the allocator that nothing filled: what a process that trains alone
    took from the card, and has not in its tensors.
    """
    seen = together(partial(_trained, spec, how, SECONDS, decoders(n * cards)), [card.place] * n)
    _, free, tensors = seen[0]
    return sum(rate for rate, _, _ in seen), card.free - free - tensors if n == 1 and free else 0.0


class _Enough(Exception):
    """Of training: the time is up."""


class _Clock(Keeper):
    """Lets a run of `total` batches train for so many seconds, from when all are `ready`."""

    def __init__(self, total: int, seconds: float, ready: Callable[[], Any], wait: Callable[[], None]) -> None:
        self.total, self.seconds, self.ready, self.wait = total, seconds, ready, wait
        self.warm, self.batches = min(WARM, total // 2), 0
        self.began = self.took = 0.0

    def due(self, epoch_done: bool) -> bool:
        self.batches += not epoch_done
        if epoch_done or self.batches < self.warm:
            return False
        if self.batches == self.warm:
            self.wait()
            self.ready()
            self.began = time.monotonic()
        elif self.batches == self.total or time.monotonic() - self.began >= self.seconds:
            self.wait()  # until what was launched is done
            self.took = time.monotonic() - self.began
            raise _Enough
        return False

    def rate(self) -> float:
        """Batches a second."""
        return (self.batches - self.warm) / self.took


def _trained(
    spec: Spec, how: How, seconds: float, decoding: int, place: str, ready: Callable[[], Any]
) -> tuple[float, int, int]:
    """Images a second of the loop as it trains `spec`; bytes free on its card then, and of tensors at the peak.

    What it builds on need not be trained yet: networks of the same shapes stand for that.
    """
    import torch

    os.environ.setdefault("HARNESS_DECODERS", str(decoding))
    device = settle(place)
    cuda, total = device.type == "cuda", spec.epochs * (spec.data.load().counts["train"] // spec.batch_size)
    if total < 2:
        raise Problem("a run is a single step, too short to be timed")
    clock = _Clock(total, seconds, ready, lambda: torch.cuda.synchronize(device) if cuda else None)
    clock.how = how
    try:
        train(spec, 0, device, _untrained, clock)
    except _Enough:
        free = torch.cuda.mem_get_info(device)[0] if cuda else 0
        return clock.rate() * spec.batch_size, free, torch.cuda.max_memory_allocated(device) if cuda else 0
    raise Problem("the run ended before it could be timed")


def _untrained(spec: Spec, seed: int | None = None) -> Upstream:
    return Upstream(spec.model.build(spec.data.channels, len(spec.data.load().classes)), spec.id, {}, seed)
