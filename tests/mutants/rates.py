"""How often a deviation at some steps, each by its own chance, is met by an audit; and that what is met is refused."""

from collections import Counter

import numpy as np
from torch import Tensor

from harness.evidence import audited
from harness.parts.models import Dense
from harness.rng import stream, streams
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from tests.mutants.breaking import TINY, Patch, refusal

SHARES = (7, 16, 50)  # one step in so many
RUNS = ((10, 10), (20, 100), (50, 200))  # epochs, and steps of each
SEEDS, TRAINED = 200, 30
CHEAP = label_smoothing(TINY.but(model=Dense(hidden=(8,), size=8), batch_size=59, epochs=10))  # 100 steps


def deviating(seed: int, steps: int, one_in: int) -> np.ndarray:
    """At which steps of a run it deviates; of a stream that audits do not draw from."""
    chosen: np.ndarray = stream(seed, "deviation", one_in).random(steps) < 1 / one_in
    return chosen


def meets(seed: int, epochs: int, per_epoch: int, one_in: int) -> bool:
    """Whether an audited step deviates."""
    steps = epochs * per_epoch
    return bool(deviating(seed, steps, one_in)[sorted(audited(streams(seed), steps, per_epoch))].any())


def refused(seed: int, one_in: int) -> bool:
    """Whether a run of 100 steps is refused that leaves smoothing out at those that deviate."""
    off = iter(deviating(seed, 100, one_in))
    right = Smoothing.__call__

    def forgetful(self: Smoothing, y: Tensor) -> Tensor:
        return y if next(off) else right(self, y)

    def inject(patch: Patch) -> None:
        patch.setattr(Smoothing, "__call__", forgetful)

    return refusal(CHEAP, inject, seed)[0] == "refused"


def print_rates() -> int:
    """Prints both tables; 1 where a run that was met was not refused, or one that was not met was."""
    print(f"Runs in which an audit meets a deviating step, of {SEEDS}, and 1 - (1 - q)ᵏ for k audits:\n")
    print(f"| steps | audits | {' | '.join(f'q = 1/{n}' for n in SHARES)} |\n|---|---|{'---|' * len(SHARES)}")
    for epochs, per_epoch in RUNS:
        k = round(np.mean([len(audited(streams(seed), epochs * per_epoch, per_epoch)) for seed in range(SEEDS)]))
        cells = []
        for n in SHARES:
            met = np.mean([meets(seed, epochs, per_epoch, n) for seed in range(SEEDS)])
            cells.append(f"{met:.3f} ({1 - (1 - 1 / n) ** k:.3f})")
        print(f"| {epochs * per_epoch:,} | {k} | {' | '.join(cells)} |")
    print(f"\n{TRAINED} real runs of 100 steps each, smoothing left out at the steps that deviate:\n")
    print("| q | met and refused | met, not refused | not met, refused | not met, not refused |\n|---|---|---|---|---|")
    wrong = 0
    for n in SHARES:
        found = Counter((meets(seed, 10, 10, n), refused(seed, n)) for seed in range(TRAINED))
        wrong += found[True, False] + found[False, True]
        cells = [found[True, True], found[True, False], found[False, True], found[False, False]]
        print(f"| 1/{n} | {' | '.join(map(str, cells))} |", flush=True)
    return 1 if wrong else 0
