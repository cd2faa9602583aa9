"""`python -m tests.kit.engines STUDY …`: a study by each engine, on this machine. Records must be equal but for times.

By two processes, by a Slurm of two nodes, and by a Ray of four; then what each launcher takes for a run. Words after
the study are those of `harness.ablate`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

import torch

from harness.store import Store
from tests.engine.test_local import timeless
from tests.faults.cluster import cluster
from tests.kit.rays import Rays, isolated

NODES = 4


def trained(folder: Path, engine: str, jobs: int, words: Sequence[str], count: int) -> None:
    """The study, and what the launcher takes; nothing is said but by the second."""
    own = ["--engine", engine, "--jobs", str(jobs)]
    around = {**os.environ, "HARNESS_RUNS": str(folder / engine), "HARNESS_LEASE": "20"}
    for line in (["harness.ablate", *words, *own], ["harness.bench", "--launcher", str(count), *own]):
        quiet = subprocess.DEVNULL if line[0] == "harness.ablate" else None
        subprocess.run([sys.executable, "-m", *line], env=around, stdout=quiet, stderr=quiet, check=True)


def by_slurm(folder: Path, words: Sequence[str], count: int) -> None:
    with cluster():
        trained(folder, "slurm", NODES, words, count)


def by_ray(folder: Path, words: Sequence[str], count: int) -> None:
    done = isolated([sys.executable, "-m", "tests.kit.engines", *words, "--count", str(count), "--within", str(folder)])
    print(done.stdout, end="", flush=True)
    assert done.returncode == 0, done.stderr[-3000:]


def within(folder: Path, words: Sequence[str], count: int) -> None:
    with Rays(NODES) as rays:
        os.environ["RAY_ADDRESS"] = rays.address
        trained(folder, "ray", NODES, words, count)


def unlike(folder: Path, engine: str) -> tuple[int, list[str]]:
    """How many runs there are, and which of another engine are not as `local` has them."""
    here, there = (Store(folder / name / "store") for name in ("local", engine))
    found = [run_of(here, path) for path in sorted(here.root.glob("*/*/result.json"))]
    others = {run_of(there, path) for path in there.root.glob("*/*/result.json")}
    odd = [f"{spec}/{seed}: one of two alone" for spec, seed in others ^ {*found}]
    for spec, seed in (run for run in found if run in others):
        if timeless(here.read(spec, seed)) != timeless(there.read(spec, seed)):
            odd.append(f"{spec}/{seed}: another record")
        mine, theirs = here.weights(spec, seed), there.weights(spec, seed)
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[name], theirs[name]) for name in mine):
            odd.append(f"{spec}/{seed}: other weights")
    return len(found), odd


def run_of(store: Store, record: Path) -> tuple[str, int]:
    return record.parent.parent.name, int(record.parent.name)


def main() -> int:
    p = argparse.ArgumentParser(prog="tests.kit.engines", description=__doc__)
    p.add_argument("--count", type=int, default=20, help="runs that a launcher is measured by (default: %(default)s)")
    p.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options, words = p.parse_known_args()
    if options.within:
        within(options.within, words, options.count)
        return 0
    failed = 0
    with tempfile.TemporaryDirectory(prefix="harness-engines-") as name:
        folder = Path(name)
        trained(folder, "local", 2, words, options.count)
        others: dict[str, Any] = {"slurm": by_slurm, "ray": by_ray}
        for engine, begin in others.items():
            try:
                begin(folder, words, options.count)
            except SkipTest as why:
                print(f"{engine}: not tried: {why}", flush=True)
                continue
            count, odd = unlike(folder, engine)
            failed += len(odd)
            print(f"{engine}: {count} runs, " + ("; ".join(odd) or "equal to local's but for times"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
