"""The simulation beside reality: the same runs, simulated and trained, on 2, 4 and 8 workers.

Training would want the cores that a small machine lacks, so these runs sleep: what differs is what the engine itself
adds. Lengths are those that the first study's records tell, as for any other study; by the lengths that each run then
had, what is left is what the engine takes between runs, and what a busy machine adds is out.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from torch import Tensor

from harness import Problem
from harness.spec import Augment, Spec
from harness.study import Run

WORKERS = 2, 4, 8
RUNGS, SEEDS = 9, 4  # and one rung with a teacher: 40 runs, and that


class Sleeping(Augment):
    """Negatives of images, `seconds` later; as they were, evidence would refuse the run."""

    seconds: float

    def __call__(self, x: Tensor, rng: object) -> Tensor:
        time.sleep(self.seconds)
        return 255 - x


def sleeping(seconds: float) -> Spec:
    """A run of two steps that sleeps for so long."""
    from harness import study
    from harness.parts.data import Digits

    loaded = study.load("digits").baseline
    small = loaded.but(data=Digits(limit=128, limit_test=100), batch_size=64, epochs=1)
    return small.but(model=small.model.but(blocks=(1,), width=4), augment=(Sleeping(seconds=seconds / 2),))


def runs(unit: float) -> list[Run]:
    """41 short runs of 1 to 5 units, the last four of which have the first as their teacher."""
    from harness.spec import needed
    from harness.tricks.distillation import distillation

    specs = [sleeping(unit * (1 + i / 2)) for i in range(RUNGS)]
    specs.append(distillation(specs[0], model=specs[0].model.but(width=8)))
    asked = [(spec, seed) for spec in specs for seed in range(SEEDS)]
    return [*needed(*asked[-1]), *asked]


def studies(unit: float, workers: tuple[int, ...] = WORKERS) -> Iterator[tuple[int, float, float, float]]:
    """(workers, seconds simulated, simulated again by each run's own length, real) from the first start to the end."""
    from harness.engine import Engine
    from harness.simulate.cluster import Cluster
    from harness.store import Store

    asked = runs(unit)
    mean: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory(prefix="harness-simulate-") as folder:
        for count in workers:
            store = Store(Path(folder, f"{count}"))
            engine = Engine(store, ["cpu"] * count, method="forkserver")
            began = 0.0
            for event in engine.events(asked):
                began = began or (time.monotonic() if event["kind"] == "started" else 0.0)
                if event["kind"] == "failed":
                    raise Problem(f"a run failed: {event['why']}")
                if event["kind"] == "interrupted":
                    raise KeyboardInterrupt
            real = time.monotonic() - began
            took = {at: float(store.read(*at)["seconds"]) for at in store}
            if not mean:
                mean = {at: fmean(took[other] for other in took if other[0] == at[0]) for at in took}
            yield count, Cluster(count, mean).train(asked).makespan, Cluster(count, took).train(asked).makespan, real


def show_check(unit: float = 1.0) -> None:
    print(f"{'workers':>8}{'simulated s':>13}{'real s':>9}{'real / simulated':>18}{'by own lengths':>16}", flush=True)
    for count, simulated, own, real in studies(unit):
        print(f"{count:8}{simulated:13.1f}{real:9.1f}{real / simulated:18.3f}{real / own:16.3f}", flush=True)
