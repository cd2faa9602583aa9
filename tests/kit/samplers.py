"""`python -m tests.kit.samplers`: what a sampler finds in as many trials as another, over repeats of whole searches.

Searches of the digits baseline, in half its data and a third of its epochs, so that a trial takes under a second. Each
repeat has a seed of its own, which draws the trials and trains them. As a Markdown table: the best held-out top-1 after
so many trials, mean with 95 % t-interval over repeats, and the difference, paired by repeat.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import optuna

from harness import stats
from harness.search import objective
from harness.spec import Spec
from harness.store import Store
from harness.study import Study

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
}
EPOCHS, SHARE = 5, 0.5  # half held out: 300 images tell accuracies apart by a third of a point


def searched(root: str, trials: int, task: tuple[str, int]) -> list[float]:
    """The best score after each trial of one search."""
    import torch

    from experiments import digits

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    sampler, repeat = task
    space = {path: digits.SPACE[path] for path in ("optimizer.lr", "optimizer.momentum", "decay.weight", "batch_size")}
    baseline: Spec = digits.BASELINE.but(epochs=EPOCHS)
    study = Study("samplers", "", baseline, (), (repeat,), space)
    own = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](repeat))
    own.optimize(objective(study, share=SHARE, store=Store(Path(root))), n_trials=trials)
    return np.maximum.accumulate([trial.value or 0.0 for trial in own.trials]).tolist()


def gain(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def compared(best: dict[str, np.ndarray], looks: Sequence[int]) -> str:
    """`best` maps a sampler to repeats x trials."""
    lines = ["| trials | random | TPE | TPE less random |", "|---:|---:|---:|---:|"]
    for n in looks:
        at = {name: found[:, n - 1] for name, found in best.items()}
        cells = [gain(float(values.mean()), *stats.t_interval(values)) for values in at.values()]
        mean, low, high, _ = stats.paired_t(at["tpe"] - at["random"])
        lines.append(f"| {n} | {' | '.join(cells)} | {gain(mean, low, high, '+')} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(prog="tests.kit.samplers", description="Random search against TPE at equal budget.")
    p.add_argument("--repeats", type=int, default=10)
    p.add_argument("--trials", type=int, default=30)
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = p.parse_args()
    tasks = [(sampler, repeat) for repeat in range(options.repeats) for sampler in SAMPLERS]
    with tempfile.TemporaryDirectory() as root, multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        found = []
        for task, best in zip(tasks, pool.imap(partial(searched, root, options.trials), tasks), strict=True):
            print(f"{task[0]}, repeat {task[1]}: {best[-1]:.2f}", file=sys.stderr, flush=True)
            found.append(best)
    best = {name: np.array([f for t, f in zip(tasks, found, strict=True) if t[0] == name]) for name in SAMPLERS}
    looks = [n for n in (5, 10, 15, 20, 25, 30, 40, 60, 80, 100) if n <= options.trials]
    print(f"Best held-out top-1, {options.repeats} repeats, mean with 95 % t-interval:\n")
    print(compared(best, looks))


if __name__ == "__main__":
    main()
