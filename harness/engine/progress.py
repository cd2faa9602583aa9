"""What a user sees while runs train: how many are done, what is in flight, the loss, an honest time left."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from harness import cli, one_line
from harness.report.words import METRICS, SECOND
from harness.study import Plan, Run, work
from harness.study.shown import clock


class Progress:
    """`see` events; use as a context. On a terminal a live block, elsewhere a line a finished run.

    The time left is the work left at the pace so far, work in multiply-adds corrected by what each specification's
    own finished runs took; none is given before the first pace is known.
    """

    def __init__(self, plan: Plan, runs: Sequence[Run], reused: int, jobs: int) -> None:
        self.titles = plan.names()
        self.total, self.reused, self.jobs = len(runs), reused, jobs
        self.work = {run: work(run[0]) for run in runs}
        self.part: dict[Run, float] = {}  # the share done of each run begun
        self.at: dict[Run, dict[str, Any]] = {}
        self.began: dict[Run, float] = {}
        self.took: dict[str, float] = {}  # seconds of a finished run, by specification
        self.done = 0
        self.console = Console(stderr=True)
        self.quiet = cli.output.quiet
        shown = self.console.is_terminal and not self.quiet
        self.live = Live(console=self.console, refresh_per_second=2) if shown else None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.update(Text(""))
            self.live.stop()

    def see(self, event: dict[str, Any]) -> None:
        run: Run = event["run"]
        if run not in self.work:  # an upstream run whose record is gone
            self.work[run] = work(run[0])
            self.total += 1
        match event["kind"]:
            case "started":
                self.part[run], self.began[run] = 0.0, time.monotonic()
            case "epoch" | "batch":
                at = self.at[run] = event["at"]
                within = at["batch"] / at["batches"] if "batch" in at else 1.0
                self.part[run] = (at["epoch"] + within) / run[0].epochs
            case "note":
                self._say(f"{self._name(run)} {event['text']}")
            case "interrupted":
                self.began.pop(run, None)
            case "finished" | "failed":
                self.part[run] = 1.0
                self.done += 1
                begun = self.began.pop(run, None)
                if event["kind"] == "failed":
                    self._say(f"{self._name(run)} failed: {event['why']}")
                elif begun is not None:
                    self.took[run[0].id] = time.monotonic() - begun
                    if not self.live and not self.quiet:
                        at = self.at.get(run, {})
                        names = {name: METRICS[name] for name in SECOND}
                        names |= {f"val_{name}": f"held-out {told}" for name, told in names.items()}
                        score = next((f"{told} {at[name]:.2f}" for name, told in names.items() if name in at), "reused")
                        self._say(f"[{self.done}/{self.total}] {self._name(run)}: {score}{self._left()}")
        if self.live:
            self.live.update(Group(*map(Text, self._block())))

    def _say(self, line: str) -> None:
        self.console.print(one_line(line, 1000), markup=False, highlight=False, soft_wrap=True)
        sys.stderr.flush()

    def _name(self, run: Run) -> str:
        return f"{self.titles[run[0].id]}, seed {run[1]}"

    def _block(self) -> list[str]:
        reused = f" ({self.reused} reused)" if self.reused else ""
        lines = [f"{self.done}/{self.total} runs done{reused}{self._left()}"]
        for run in self.began:
            at = self.at.get(run)
            where = f"epoch {at['epoch'] + 1}/{run[0].epochs}, loss {at['loss']:.4g}" if at else "starting"
            lines.append(f"  {self._name(run)}: {where}")
        return lines

    def _left(self) -> str:
        seconds = self.left()
        return "" if seconds is None else f", about {clock(seconds)} left"

    def left(self) -> float | None:
        """Seconds until all runs are done; None before there is a pace."""
        behind = sum(self.work[run] * share for run, share in self.part.items())
        if behind == 0:
            return None
        measured = [(self.work_of(spec_id), seconds) for spec_id, seconds in self.took.items()]
        if measured:
            per_work = sum(s for _, s in measured) / sum(w for w, _ in measured)
        else:
            now = time.monotonic()
            per_work = sum(now - begun for begun in self.began.values()) / behind
        seconds = sum(
            (1 - self.part.get(run, 0.0)) * self.took.get(run[0].id, per_work * amount)
            for run, amount in self.work.items()
        )
        return seconds / max(1, min(self.jobs, self.total - self.done))

    def work_of(self, spec_id: str) -> float:
        return next(amount for (spec, _), amount in self.work.items() if spec.id == spec_id)
