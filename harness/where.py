"""Where a command's runs execute, as its options say: on this machine, or by Ray or Slurm on others."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from harness import Problem

if TYPE_CHECKING:  # torch is not loaded for --help
    from harness.engine import Engine
    from harness.engine.posted import Posted
    from harness.engine.sharing import Shared
    from harness.engine.slurm import Slurm
    from harness.store import Store
    from harness.study import Run
    from harness.train import How

AUTO = "auto"  # of --jobs


def add(parser: argparse.ArgumentParser) -> None:
    p = parser.add_argument_group("where runs execute")
    p.add_argument(
        "--jobs",
        type=_jobs,
        metavar="N",
        help="runs at once (default: one a core on CPU, one a GPU on CUDA; slurm: 1); auto: as many on each GPU as its "
        "memory and the cores bear, and as train more images a second, which is measured in a minute or so",
    )
    p.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add_engine(p)


def add_engine(p: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    p.add_argument(
        "--engine",
        default="local",
        metavar="WHERE",
        help="local: processes of this machine (default); slurm: jobs, of --slurm's kind; ray: a cluster that is "
        "started here, or RAY_ADDRESS's; ray://HEAD:10001: that one",
    )
    p.add_argument(
        "--slurm", metavar="OPTIONS", help='of each job, in sbatch\'s words: "partition=gpu time=24:00:00 gres=gpu:1"'
    )
    p.add_argument(
        "--per-job", type=_count, metavar="N", help="slurm, ray: a worker ends after N runs (default: with the last)"
    )


def add_graphs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cuda-graphs",
        action="store_true",
        help="on CUDA, play each pass again as one CUDA graph: the same bits, in less time where Python is waited "
        "for; a record says how many were, or why none",
    )


def add_submit(parser: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--submit",
        action="store_true",
        help="slurm: submit the workers and leave; the same command later tells how it stands, and ends in the report",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1 and at most 10,000")
    return int(text)


def _jobs(text: str) -> int | str:
    try:
        return text if text == AUTO else _count(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def check(options: argparse.Namespace) -> str:
    """The kind of engine. Raises Problem on options that do not go together."""
    kind = "ray" if options.engine.startswith("ray://") else options.engine
    if kind not in ("local", "ray", "slurm"):
        raise Problem(f"--engine {options.engine}: local, slurm, ray or ray://HEAD:PORT is needed")
    if kind != "slurm" and (options.slurm is not None or getattr(options, "submit", False)):
        raise Problem("--slurm and --submit go with --engine slurm")
    if kind != "local" and options.jobs == AUTO:
        raise Problem(f"--jobs auto measures the GPUs of this machine: with --engine {kind} say how many, --jobs N")
    if kind == "local" and options.per_job:
        raise Problem("--per-job goes with --engine slurm or ray")
    return kind


def places(options: argparse.Namespace) -> list[str]:
    """A device name for each run at once; of other machines', what this machine has for it.

    Of --jobs auto those of the default, which `shared` makes more of once the runs are known.
    """
    from harness.engine import places as here
    from harness.store import Store

    kind = check(options)
    if kind == "local":
        at = here(options.device, None if options.jobs == AUTO else options.jobs)
        if at[0] == "cpu" and getattr(options, "cuda_graphs", False):
            print("--cuda-graphs: a CPU has none, passes are done as they are written", file=sys.stderr)
        return at
    if kind == "slurm":  # what is wrong with it is said before the plan is made
        slurm(options, Store())
    if not re.fullmatch(r"cpu|cuda(:\d+)?", options.device or "cpu"):
        raise Problem(f"--device {options.device}: only cpu and cuda are supported")
    return here("cpu" if options.device == "cpu" else None, options.jobs or 1)  # where jobs are given need be no GPU


@contextmanager
def shared(options: argparse.Namespace, runs: "Sequence[Run]", store: "Store", at: Sequence[str]) -> "Iterator[Shared]":
    """The places of `runs`: `at`, and with --jobs auto as many on each GPU as pay, of which it tells on stderr.

    What it starts for them, MPS, ends with it; before a dry run, which leaves the telling to its plan.
    """
    from harness.engine.sharing import Shared, shared

    def say(text: str) -> None:
        print(f"--jobs auto: {text}", file=sys.stderr, flush=True)

    if options.jobs != AUTO or at[0] == "cpu" or not runs:
        yield Shared(list(at))
        return
    with ExitStack() as stack:
        found = stack.enter_context(shared(runs, store, at, say, how(options)))
        if getattr(options, "dry_run", False):
            stack.close()
        else:
            for line in found.lines:
                say(line)
        yield found


def engine(options: argparse.Namespace, store: "Store", at: Sequence[str]) -> "Engine":
    """Raises Problem where the cluster cannot be reached."""
    from harness.engine import Engine

    if check(options) == "local":
        return Engine(store, at, seconds_between(options), how=how(options))
    made = cluster(options, store)
    return Engine(store, [at[0]] * made.jobs, launcher=made)


def cluster(options: argparse.Namespace, store: "Store") -> "Posted":
    """The launcher of other machines. Raises Problem where there are none to be had from here."""
    import os

    if check(options) == "slurm":
        return slurm(options, store).check()
    from harness.engine.ray import Ray

    head = options.engine if "://" in options.engine else os.environ.get("RAY_ADDRESS", "")
    every = seconds_between(options)
    return Ray(store, options.jobs or 0, every, options.device, head=head, per_job=options.per_job, how=how(options))


def slurm(options: argparse.Namespace, store: "Store") -> "Slurm":
    """Jobs as the options ask for them, whether or not any can be submitted from here."""
    from harness.engine.slurm import Slurm

    every, text = seconds_between(options), options.slurm or ""
    return Slurm(
        store, options.jobs or 1, every, options.device, asked_for=text, per_job=options.per_job, how=how(options)
    )


def seconds_between(options: argparse.Namespace) -> float:
    """From one checkpoint within an epoch to the next."""
    from harness.store import EVERY

    asked: float | None = getattr(options, "checkpoint", None)
    return EVERY if asked is None else asked


def how(options: argparse.Namespace) -> "How":
    """How runs are watched and executed, as the options of a command say that has them."""
    from harness.train import How

    asked = {name: getattr(options, name, None) for name in ("curve_every", "curve_images", "cuda_graphs")}
    return How(**{name: value for name, value in asked.items() if value})
