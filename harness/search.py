"""`python -m harness.search STUDY`: search for the best values of one rung's slots, on images held out of training.

From code, under an Optuna study of your own:

    from harness.search import objective
    from harness.study import load

    study = optuna.create_study(direction="maximize")
    study.optimize(objective(load("digits"), rung="cosine"), n_trials=20, catch=Problem)
"""

import argparse
import hashlib
import json
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import main

if TYPE_CHECKING:
    from optuna import Study as Trials
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from harness.spec import Spec
    from harness.store import Store
    from harness.study import Rung, Study
    from harness.tracking import Tracker
    from harness.trials import Objective

SAMPLERS = ("tpe", "random", "grid", "cmaes", "gp")
PRUNERS = ("hyperband", "median", "wilcoxon", "none")
AIMS = ("seconds", "gmacs")
Event = dict[str, Any]
See = Callable[[Event], None]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.search",
        description="Search for the values of a rung's slots, by validation top-1: a share of the training images is "
        "held out, and the test set is looked at once, by the chosen values. The study's SPACE says what to search.",
        epilog="The same command goes on where an interrupted one was, until there are as many trials as asked for. "
        "Runs are in the store like any other, and no run is trained twice.",
    )
    p.add_argument("study", nargs="?", default="digits", help="a file of experiments/, by name (default: %(default)s)")
    p.add_argument("--rung", metavar="NAME", help="the rung to search (default: the last of the ladder)")
    p.add_argument("--trials", type=_count, metavar="N", help="trials in all (default: 20; grid: all points)")
    p.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="begin no trial after so long")
    p.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="tpe",
        help="how values are drawn (default: %(default)s; grid cuts a range without a step in 5, even, or even in the "
        "logarithm)",
    )
    p.add_argument(
        "--pruner",
        choices=PRUNERS,
        help="what ends a poor trial early (default: hyperband, by epochs; wilcoxon: between seeds)",
    )
    p.add_argument(
        "--storage",
        metavar="URL",
        help="a database for Optuna, which machines may share (default: a journal file)",
    )
    p.add_argument("--jobs", type=_count, metavar="N", help="processes (default: one a core on CPU, one a GPU on CUDA)")
    p.add_argument(
        "--seeds",
        type=_count,
        metavar="N",
        help="seeds that score a trial (default: 1); if more, they test the chosen values too",
    )
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the search (default: %(default)s); with --jobs 1 the same trials each time",
    )
    p.add_argument("--share", type=float, default=0.2, help="of the training images, held out (default: %(default)s)")
    p.add_argument("--minimize", choices=AIMS, help="a second aim: seconds of training, or multiply-adds an image")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SLOT.FIELD=VALUE",
        help="change a value in every rung; repeatable",
    )
    p.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    p.add_argument(
        "--accept-stale",
        action="store_true",
        help="go on though the source of your own parts has changed, and take runs as they are",
    )
    return p


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1 and at most 100,000")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")


@dataclass(frozen=True)
class Search:
    """A search of `space` for the values of one rung, by the mean top-1 of `seeds` on held-out training images.

    Its label and its `definition` say what it is: the number of trials may grow, all else stays.
    """

    study: str
    rung: "Rung"
    space: Mapping[str, "BaseDistribution"]  # of the rung: the study's paths that it has
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

    @cached_property
    def label(self) -> str:
        """The study's and the rung's name, and a hash of the settings: one search an address."""
        from harness import file_name

        rung = re.sub(r"[^\w-]+", "-", self.rung.name)
        told = [*self.settings, *([self.rung.name] if rung != self.rung.name else [])]
        mark = hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()[:6]
        return file_name(f"{self.study}@search-{rung}" + (f"-{mark}" if told else ""))

    @property
    def folder(self) -> Path:
        """Of the locks that its processes on this machine hold."""
        from harness.paths import runs

        return runs() / "searches" / self.label

    @property
    def path(self) -> Path:
        """The journal."""
        return self.folder.with_suffix(".log")

    @property
    def address(self) -> str:
        """What `optuna-dashboard` opens: the journal, or the URL without its password."""
        from harness import without_password

        return without_password(self.storage, self.storage) if self.storage else str(self.path)

    @property
    def words(self) -> list[str]:
        """The words after `harness.search` that ask for it."""
        options = {"--rung": self.rung.name, "--trials": self.trials, "--sampler": self.sampler, "--seed": self.seed}
        options |= {"--seeds": len(self.seeds), "--share": self.share, "--storage": self.storage and self.address}
        options |= {"--minimize": self.minimize} if self.minimize else {"--pruner": self.pruner}
        given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
        return [self.study, *given, *(word for setting in self.settings for word in ("--set", setting))]

    @cached_property
    def definition(self) -> dict[str, Any]:
        """All that makes it this search, JSON-ready."""
        from harness import sources
        from harness.parts.holdout import blinded
        from harness.trials import assigned, samples

        spec = assigned(self.rung.spec, {path: samples(d)[0] for path, d in self.space.items()})  # what is searched
        brief = blinded(spec, self.share).brief  # is said by the space
        own = {name: getattr(self, name) for name in ("sampler", "pruner", "seed", "seeds", "share", "minimize")}
        space = {path: repr(distribution) for path, distribution in self.space.items()}
        code = {"sources": found} if (found := sources.of(spec)) else {}
        made: dict[str, Any] = json.loads(json.dumps({"space": space, **own, "spec": brief, **code}, default=str))
        return made


def make(
    study: "Study",
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
) -> Search:
    """A search of the study's SPACE, by default for its last rung. Raises Problem where it cannot be made."""
    from math import prod

    from harness import Problem, without_password
    from harness.study import plan
    from harness.trials import cut

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
    space = fitting(study, made.rungs, chosen, [path for path, _ in settings])
    if sampler == "grid":
        points = prod(len(cut(distribution)) for distribution in space.values())
        trials = min(trials or points, points)
    more = plan(study, settings, seeds or 1).seeds
    final = more if len(more) > 1 else study.seeds
    chosen_pruner = "none" if minimize else pruner or "hyperband"
    if chosen_pruner == "wilcoxon" and len(more) < 5:
        raise Problem(
            f"--pruner wilcoxon can end a trial after its 4th seed: --seeds {len(more)} leaves nothing to end"
        )
    return Search(
        *(study.name, chosen, space, more, final, trials or 20, sampler, chosen_pruner, seed, share, minimize, storage),
        made.settings,
        accept_stale,
    )


def fitting(
    study: "Study", rungs: Sequence["Rung"], chosen: "Rung", fixed: Sequence[str] = ()
) -> dict[str, "BaseDistribution"]:
    """What of the study's SPACE the chosen rung has, but for what is `fixed`, paths that are set.

    Raises Problem where a path is in none of `rungs`, where a field refuses an end of a range, or a choice, and where
    nothing is left.
    """
    from harness import Problem
    from harness.spec import assign
    from harness.trials import samples

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


def objective(
    study: "Study | str",
    rung: str | None = None,
    seeds: int = 1,
    share: float = 0.2,
    store: "Store | None" = None,
    device: str = "cpu",
    settings: Sequence[tuple[str, Any]] = (),
) -> "Objective":
    """A function of an Optuna trial, to maximize: validation top-1 in percent; see `harness.trials.Objective`.

    study = optuna.create_study(direction="maximize")
    study.optimize(objective("digits", rung="cosine"), n_trials=20, catch=Problem)
    """
    from harness.store import Store
    from harness.study import load
    from harness.trials import Objective

    search = make(load(study) if isinstance(study, str) else study, rung, settings, seeds=seeds, share=share)
    return Objective(search.study, search.rung.spec, search.space, search.seeds, share, store or Store(), device)


# --- the trials -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Best:
    """What a search came to."""

    described: dict[str, Any]
    trial: "FrozenTrial | None"  # the best; None where none is complete, and on a front of several
    spec: "Spec | None"  # the rung with its values, on all training images
    left: int  # trials that are still to be done
    stopped: bool  # by Ctrl-C, or SIGTERM


def run_search(
    search: Search,
    store: "Store",
    places: Sequence[str],
    see: See = lambda event: None,
    timeout: float | None = None,
) -> Best:
    """Do what is left of the trials, a process at each of `places`; `see` is told what happens, as an engine's events,
    and "trial" with its `number` once one is done. Trains nothing on all the data: see `tested`.

    Raises Problem where the storage cannot be used, holds another search, or goes away.
    """
    from harness import trials

    study = trials.opened(search)
    driver = _Driver(search, store, places, see, time.monotonic() + timeout if timeout else float("inf"))
    due = trials.left(search, study.trials)
    if due:
        driver.run(min(due, len(places)))
    best = choice(search, study)
    spec = trials.assigned(search.rung.spec, best.params) if best else None
    return Best(describe(search, study), best, spec, trials.left(search, study.trials), driver.stopping)


def choice(search: Search, study: "Trials") -> "FrozenTrial | None":
    """The best complete trial, of equals the first; with a second aim the front, where it is one trial."""
    from optuna.trial import TrialState

    if search.minimize:
        front = study.best_trials
        return front[0] if len(front) == 1 else None
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


@dataclass
class _Worker:
    connection: Any
    process: Any
    place: str
    heard: bool = False  # has said anything


@dataclass
class _Driver:
    """The processes of a search; the first Ctrl-C, or SIGTERM, stops each at a checkpoint, the second kills."""

    search: Search
    store: "Store"
    places: Sequence[str]
    see: See
    until: float
    stopping: bool = False
    workers: list[_Worker] = field(default_factory=list)

    def run(self, count: int) -> None:
        from multiprocessing.connection import wait

        from harness.engine import RETRY, asked_to_stop

        asked = False
        try:
            with asked_to_stop(self):
                self.workers = [self._start(place) for place in self.places[:count]]
                while self.workers:
                    if self.stopping and not asked:
                        asked = True
                        for worker in self.workers:
                            with suppress(OSError):
                                worker.connection.send(None)
                    by_connection = {worker.connection: worker for worker in self.workers}
                    for connection in wait(list(by_connection), RETRY):
                        self._hear(by_connection[connection])
        finally:
            for worker in self.workers:
                worker.process.kill()  # nothing it writes can be torn
                worker.process.join()

    def _hear(self, worker: _Worker) -> None:
        from harness import Problem

        try:
            event: Event = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            event = {"kind": "dead"}
        match event["kind"]:
            case "over" | "broken" | "dead":
                self._bury(worker, replaced=event["kind"] == "dead" and not self.stopping)
                if event["kind"] == "broken" and not self.stopping:
                    raise Problem(event["why"])
            case _:
                worker.heard = True
                self.see(event)

    def _bury(self, worker: _Worker, replaced: bool) -> None:
        from harness import Problem

        worker.connection.close()
        worker.process.join()
        self.workers.remove(worker)
        if not replaced:
            return
        code = worker.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended ({code})"
        if not worker.heard:
            raise Problem(f"a process of the search {how} before it began a trial")
        self.see({"kind": "remark", "text": f"a process {how}: another takes its trial up again"})
        self.workers.append(self._start(worker.place))

    def _start(self, place: str) -> _Worker:
        import multiprocessing
        from multiprocessing import resource_tracker

        from harness.engine import STOPS, decoders
        from harness.trials import work

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = theirs, self.search, self.store, place, decoders(len(self.places)), self.until
        process = context.Process(target=work, args=arguments)
        resource_tracker.ensure_running()  # else starting it, on the way to the process, would unblock them again
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        process.start()  # it inherits what is blocked: Ctrl-C goes to the whole group, and is the parent's to handle
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return _Worker(ours, process, place)


# --- what came of it --------------------------------------------------------------------------------------------------


def describe(search: Search, study: "Trials") -> dict[str, Any]:
    """The search as one JSON-ready object."""
    from harness.trials import assigned

    best = choice(search, study)
    states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
    own = {"trial": best.number, "values": best.params, "score": best.values[0], "test": {}} if best else None
    return {
        "study": search.study,
        "rung": search.rung.name,
        "title": f"{search.study}, {search.rung.title}",
        "label": search.label,
        "settings": list(search.settings),
        **search.definition,
        "trials": search.trials,
        "objectives": ["top1", *([search.minimize] if search.minimize else [])],
        "storage": search.address,
        "command": f"python -m harness.search {shlex.join(search.words)}",
        "counts": {name: states.count(name) for name in ("complete", "pruned", "fail", "running", "waiting")},
        "chosen": own and {**own, "spec_id": assigned(search.rung.spec, own["values"]).id},
        "tested": study.user_attrs.get("tested", []),
    }


def tested(search: Search, best: Best, engine: Any, tracker: "Tracker") -> dict[str, Any]:
    """The described search with the test top-1 of the chosen values, trained on all training images unless they are.

    The specifications that were so looked at are kept with the search. Stops where the engine is asked to.
    """
    from harness import Problem, trials
    from harness.engine.progress import Progress
    from harness.spec import upstream
    from harness.store import Held
    from harness.study import Plan, Rung, check, missing, stale

    assert best.spec
    store, study = engine.store, trials.opened(search)
    plan = Plan(search.study, (Rung("chosen", "chosen values", best.spec),), search.final)
    check(plan)
    for each in (*upstream(best.spec), best.spec):
        trials.named_by(search.label, each, "chosen" if each is best.spec else "upstream")
    for run in () if search.accept_stale else stale(plan.runs(), store):
        with suppress(Held):  # somebody else is about to
            store.set_aside(*run)
    looked = list(dict.fromkeys([*study.user_attrs.get("tested", []), best.spec.id]))
    study.set_user_attr("tested", looked)  # before: each epoch is measured, and shown
    todo = missing(plan.runs(), store)
    failed = 0
    with Progress(plan, todo, reused=len(plan.runs()) - len(todo), jobs=len(engine.places)) as progress:
        for event in engine.events(todo):
            progress.see(event)
            tracker.see(event)
            failed += event["kind"] == "failed"
    if failed:  # why was said when they did
        raise Problem(f"the chosen values cannot be tested: {failed} of {len(todo)} runs failed")
    had = [seed for seed in search.final if (best.spec.id, seed) in store]
    test = {str(seed): store.read(best.spec.id, seed)["metrics"]["top1"] for seed in had}
    return {**best.described, "chosen": {**best.described["chosen"], "test": test}, "tested": looked}


class Lines:
    """Says a line a finished trial, and names the trials' runs for MLflow."""

    def __init__(self, search: Search, tracker: "Tracker", titles: dict[str, str]) -> None:
        from harness import trials

        self.search, self.tracker, self.titles = search, tracker, titles
        self.study = trials.opened(search)

    def __call__(self, event: Event) -> None:
        match event["kind"]:
            case "begun":
                from harness.spec import upstream

                spec = event["run"][0]
                self.titles.setdefault(spec.id, f"{self.search.rung.title}, trial {event['number']}")
                for inner in upstream(spec):
                    self.titles.setdefault(inner.id, f"upstream of {self.search.rung.name}, held out")
            case "note":
                self._say(f"{self.titles.get(event['run'][0].id, 'a run')}, seed {event['run'][1]} {event['text']}")
            case "remark":
                self._say(event["text"])
            case "trial":
                self._say(self._line(event["number"]))
            case _:
                self.tracker.see(event)

    def _line(self, number: int) -> str:
        from harness import trials

        every = self.study.get_trials(deepcopy=False)
        trial, done = every[number], sum(trial.state in trials.DONE for trial in every)
        values = ", ".join(f"{path}={_short(value)}" for path, value in trial.params.items())
        head = f"[{done}/{self.search.trials}] trial {number}"
        if trial.state not in trials.DONE:
            return f"{head} failed: {trial.user_attrs.get('why')} ({values})"
        if trial.state.name == "PRUNED":
            text = f"ended early at top-1 {trial.value:.2f}" if trial.values else "ended early"
        else:
            assert trial.values
            text = f"top-1 {trial.values[0]:.2f}"
            text += f", {_aim(self.search, trial)}" if self.search.minimize else ""
        best = choice(self.search, self.study)
        so_far = ""
        if best:
            so_far = (
                "; the best so far" if best.number == number else f"; best {best.values[0]:.2f}, trial {best.number}"
            )
        return f"{head}: {text} ({values}){so_far}"

    def _say(self, line: str) -> None:
        from harness import one_line

        print(one_line(line, 1000), file=sys.stderr, flush=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _aim(search: Search, trial: "FrozenTrial") -> str:
    assert trial.values
    return f"{trial.values[1]:.4g} {'s' if search.minimize == 'seconds' else 'GMACs'}"


def as_text(search: Search, described: dict[str, Any]) -> str:
    """The chosen values, and what they came to on the test set."""
    from harness.stats import mean_sd

    chosen = described["chosen"]
    if not chosen:
        if search.minimize and described["counts"]["complete"]:
            return "chosen: nothing, and nothing tested: no trial of the front beats the others in both"
        return "chosen: nothing, for no trial is complete"
    values = ", ".join(f"{path}={_short(value)}" for path, value in chosen["values"].items())
    lines = [f"chosen: trial {chosen['trial']}, {values}"]
    if chosen["test"]:
        mean, sd = mean_sd(list(chosen["test"].values()))
        n = len(chosen["test"])
        spread = f" ± {sd:.2f} (mean ± s.d., {n} seeds)" if n > 1 else " (1 seed)"
        lines.append(f"test:   top-1 {mean:.2f}{spread}, trained on all training images")
    return "\n".join(lines)


def remember(search: Search, described: dict[str, Any]) -> None:
    from harness.paths import write_atomic

    write_atomic(search.folder.with_suffix(".json"), json.dumps(described, indent=1).encode())


def run(options: argparse.Namespace) -> int:
    from harness import one_line, study, trials
    from harness.engine import places

    search = make(
        study.load(options.study),
        options.rung,
        list(map(study.setting, options.set)),
        **{name: getattr(options, name) for name in ("trials", "seeds", "sampler", "pruner", "share", "minimize")},
        storage=options.storage,
        seed=options.seed,
        accept_stale=options.accept_stale,
    )
    where = places(options.device, options.jobs)
    for note in study.check(study.Plan(search.study, (search.rung,), search.seeds)):
        print(f"{search.study}: {one_line(note, 1000)}", file=sys.stderr)
    with trials.reached(search):
        return search_and_report(search, where, options)


def search_and_report(search: Search, where: list[str], options: argparse.Namespace) -> int:
    from harness import one_line, report, trials
    from harness.engine import Engine
    from harness.report import search as page
    from harness.store import Store
    from harness.tracking import Tracker, ui_command

    store, titles = Store(), dict[str, str]()
    opened = trials.opened(search)  # what is wrong with it is said before anything begins
    if doubt := trials.doubt(search, opened):
        print(f"{search.study}: {one_line(doubt, 1000)}", file=sys.stderr)
    command = " ".join(word.replace(options.storage, search.address) if options.storage else word for word in sys.argv)
    tracker = Tracker(search.study, titles, store, (), command)
    try:
        best = run_search(search, store, where, Lines(search, tracker, titles), options.timeout)
        remember(search, described := best.described)
        engine = Engine(store, where)
        if best.spec and not best.stopped:
            titles[best.spec.id] = f"chosen by {search.label}"
            described = tested(search, best, engine, tracker)
            remember(search, described)
    finally:
        trouble = tracker.close()
        if trouble:
            print(f"harness.search: {trouble}", file=sys.stderr)
    if best.stopped or engine.stopping:
        of = f"{best.left} of {search.trials} trials to go" if best.left else "the test is to go"
        text = f"interrupted, {of}; the same command goes on from what is kept"
        print(f"harness.search: {text}", file=sys.stderr)
        return 130
    done = described["counts"]["complete"] + described["counts"]["pruned"]
    if done < search.trials:
        text = "the time is up; the same command goes on" if best.left else "as many failed, and no more are begun"
        print(f"harness.search: {done} of {search.trials} trials done: {text}", file=sys.stderr)
    opened = trials.opened(search)
    made = page.render(described, opened, report.folder_of(described))
    print(made.text)
    print(as_text(search, described))
    print(f"page:   {made.folder}/index.html; tables and figures beside it")
    print(f"trials: {shlex.join(['optuna-dashboard', search.address])}")
    print(f"runs:   {ui_command()}")
    return 0 if described["counts"]["complete"] else 1


if __name__ == "__main__":
    main(parser(), run)
