"""What a search is: a rung, its space, and how many trials of what kind."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution

from harness import Problem, file_name, tasks, without_password
from harness.metrics import Metric, Told, labelled
from harness.parts.data.holdout import blinded
from harness.paths import runs
from harness.report.frames.measured import value_of
from harness.search.space import assigned, cut, samples
from harness.spec import Spec, assign, sources
from harness.store import Store
from harness.study import Rung, Study, asked, plan


@dataclass(frozen=True)
class Search:
    """A search of `space` for the values of one rung, by the mean score of `seeds` on held-out training images.

    The greatest score is the best. By a metric which lower is better a trial's score is its negative.

    Its label and its `definition` say what it is: the number of trials may grow, all else stays.
    """

    study: str
    rung: Rung
    space: Mapping[str, BaseDistribution]  # of the rung: the study's paths that it has
    seeds: tuple[int, ...]  # that score a trial
    final: tuple[int, ...]  # that the chosen values are tested with
    trials: int = 20
    sampler: str = "tpe"
    pruner: str = "hyperband"
    seed: int = 0
    share: float = 0.2
    minimize: str | None = None
    storage: str | None = None  # a URL; None for a journal
    settings: tuple[str, ...] = ()
    accept_stale: bool = False  # go on, and take runs, though the user's code has changed since
    called: str = ""  # how a command calls the study, where that is not its name
    metric: str = ""  # that trials are scored by, where that is not the headline of their task
    measure: Metric | Told | None = None  # the same, as it is worked out

    @cached_property
    def label(self) -> str:
        """The study's and the rung's name, and a hash of the settings: one search an address."""
        rung = re.sub(r"[^\w-]+", "-", self.rung.name)
        told = [*self.settings, *([self.rung.name] if rung != self.rung.name else [])]
        mark = hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()[:6]
        return file_name(labelled(f"{self.study}@search-{rung}" + (f"-{mark}" if told else ""), self.metric))

    @property
    def aim(self) -> str:
        """What trials are scored by."""
        return self.metric or tasks.of(self.rung.spec).headline

    @property
    def sign(self) -> int:
        """What a score is times the metric: -1 where lower is better."""
        return -1 if self.measure and self.measure.better == "lower" else 1

    def value(self, store: Store, spec: Spec, seed: int) -> float:
        """The metric of a finished run, on its test images. Raises Problem where the run does not tell it."""
        record = store.read(spec.id, seed)
        if self.measure is None:
            return float(record["metrics"][self.aim])
        if isinstance(self.measure, Told):
            return self.measure.of(record)
        kept = store.logits(spec.id, seed)
        if kept is None:
            raise Problem(f"--metric {self.metric}: the record of {spec.id}/{seed} has no logits: move it aside")
        return value_of(self.metric, self.measure.of, *kept)

    @property
    def folder(self) -> Path:
        """Of the locks that its processes on this machine hold."""
        return runs() / "searches" / self.label

    @property
    def path(self) -> Path:
        """The journal."""
        return self.folder.with_suffix(".log")

    @property
    def address(self) -> str:
        """What `optuna-dashboard` opens: the journal, or the URL without its password."""
        return without_password(self.storage, self.storage) if self.storage else str(self.path)

    @property
    def words(self) -> list[str]:
        """The words after `harness.search` that ask for it."""
        options = {"--rung": self.rung.name, "--trials": self.trials, "--sampler": self.sampler, "--seed": self.seed}
        options |= {"--seeds": len(self.seeds), "--share": self.share, "--storage": self.storage and self.address}
        options |= {"--metric": self.metric or None}
        options |= {"--minimize": self.minimize} if self.minimize else {"--pruner": self.pruner}
        given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
        return [self.called or self.study, *given, *(word for setting in self.settings for word in ("--set", setting))]

    @cached_property
    def definition(self) -> dict[str, Any]:
        """All that makes it this search, JSON-ready."""
        spec = assigned(self.rung.spec, {path: samples(d)[0] for path, d in self.space.items()})  # what is searched
        brief = blinded(spec, self.share).brief  # is said by the space
        own = {name: getattr(self, name) for name in ("sampler", "pruner", "seed", "seeds", "share", "minimize")}
        own |= {"metric": self.metric} if self.metric else {}
        space = {path: repr(distribution) for path, distribution in self.space.items()}
        code = {"sources": found} if (found := sources.of(spec)) else {}
        made: dict[str, Any] = json.loads(json.dumps({"space": space, **own, "spec": brief, **code}, default=str))
        return made


def make(
    study: Study,
    rung: str | None = None,
    settings: Sequence[tuple[str, Any]] = (),
    *,
    trials: int | None = None,
    seeds: int | None = None,
    sampler: str = "tpe",
    pruner: str | None = None,
    share: float = 0.2,
    minimize: str | None = None,
    storage: str | None = None,
    seed: int = 0,
    accept_stale: bool = False,
    metric: str = "",
) -> Search:
    """A search of the study's SPACE, by default for its last rung. Raises Problem where it cannot be made."""
    if minimize and pruner not in (None, "none"):
        raise Problem(f"--minimize has no early stopping: leave out --pruner {pruner}")
    if not 0 < share < 1:
        raise Problem(f"--share {share:g}: must be above 0 and below 1")
    if not 0 <= seed < 2**63:
        raise Problem(f"--seed {seed}: must be 0 or more")
    if storage and "://" not in storage:
        raise Problem(
            f"--storage {without_password(storage, storage)}: write a URL, as sqlite:///search.db or postgresql://user@host/base"
        )
    made = plan(study, settings)
    names = [each.name for each in made.rungs]
    if rung and rung not in names:
        raise Problem(f"--rung {rung}: no such rung in {study.name}; there are: {', '.join(names)}")
    chosen = made.rungs[names.index(rung) if rung else -1]
    measure = asked(metric, study.metrics, chosen.spec)
    if measure and pruner in ("hyperband", "median"):
        raise Problem(f"--metric {metric} is not told each epoch: leave out --pruner {pruner}, or take wilcoxon")
    space = fitting(study, made.rungs, chosen, [path for path, _ in settings])
    if sampler == "grid":
        points = prod(len(cut(distribution)) for distribution in space.values())
        trials = min(trials or points, points)
    more = plan(study, settings, seeds or 1).seeds
    final = more if len(more) > 1 else study.seeds
    chosen_pruner = "none" if minimize else pruner or ("none" if measure else "hyperband")
    if chosen_pruner == "wilcoxon" and len(more) < 5:
        raise Problem(
            f"--pruner wilcoxon can end a trial after its 4th seed: --seeds {len(more)} leaves nothing to end"
        )
    return Search(
        *(study.name, chosen, space, more, final, trials or 20, sampler, chosen_pruner, seed, share, minimize, storage),
        made.settings,
        accept_stale,
        study.address,
        metric if measure else "",
        measure,
    )


def fitting(
    study: Study, rungs: Sequence[Rung], chosen: Rung, fixed: Sequence[str] = ()
) -> dict[str, BaseDistribution]:
    """What of the study's SPACE the chosen rung has, but for what is `fixed`, paths that are set.

    Raises Problem where a path is in none of `rungs`, where a field refuses an end of a range, or a choice, and where
    nothing is left.
    """
    if not study.space:
        raise Problem(f"{study.name} has no SPACE: see experiments/digits.py for one")
    space = {}
    for path, distribution in study.space.items():
        for value in samples(distribution):
            try:
                had = [rung for rung in rungs if assign(rung.spec, path, value)]
            except Problem as problem:
                raise Problem(f"{study.name}, SPACE: {str(problem).removeprefix('--set ')}") from None
            if not had:
                raise Problem(f"{study.name}, SPACE: {path}: no rung has it")
        if chosen in had and not any(path == own or path.startswith(f"{own}.") for own in fixed):
            space[path] = distribution
    if not space:
        left = " left to search" if fixed else ""
        raise Problem(f"{study.name}: {chosen.name} has none of the paths of SPACE{left}: {', '.join(study.space)}")
    return space
