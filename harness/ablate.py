"""`python -m harness.ablate [STUDY]`: train a study's rungs, log them, and end in a table and a figure."""

import argparse
import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from harness import planned, where
from harness.cli import add_metric, add_name, add_track, answer, main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.ablate",
        description="Build a study's tricks one on the other, or by another design, train each rung over its seeds, "
        "and report the gains.",
        epilog="Everything that runs make goes under runs/, or the folder that HARNESS_RUNS names. A run that is there "
        "is never trained again. MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    planned.add(p, study="digits")
    p.add_argument(
        "--decide",
        type=float,
        metavar="POINTS",
        help="more seeds only where a gain is neither resolved nor known to ± POINTS of the score, top-1 say",
    )
    p.add_argument(
        "--looks",
        type=planned.count,
        nargs="+",
        metavar="N",
        help="with --decide: when to look (default: 4 5 6 7 8 10 12 14 16; with --test t 4 6 8 12 16)",
    )
    p.add_argument("--max-seeds", type=planned.count, metavar="N", help="with --decide: the last look is at N seeds")
    p.add_argument(
        "--test",
        choices=("moderated", "t"),
        default="moderated",
        help="how gains are tested: with variances that lean on each other, or each by its own alone, the plain paired "
        "t-test (default: %(default)s)",
    )
    add_metric(p, "of the table, verdicts and figures, and of --decide (default: the headline of the task, top-1 say)")
    p.add_argument(
        "--tuned",
        type=planned.count,
        metavar="TRIALS",
        help="as many trials for each rung, of values of its own, before its seeds; the report sets both side by side",
    )
    p.add_argument(
        "--sampler",
        choices=("random", "tpe"),
        help="with --tuned: how values are drawn (default: random; tpe is that too for its first 10 trials)",
    )
    p.add_argument(
        "--target",
        type=float,
        metavar="SCORE",
        help="train each rung as long as it takes the mean over seeds to reach this score, top-1 in percent say: its "
        "epochs are found by bisection over whole runs, and the table tells what is saved",
    )
    p.add_argument(
        "--longest",
        type=planned.count,
        metavar="EPOCHS",
        help="with --target: give up beyond (default: four times the longest rung)",
    )
    p.add_argument("--only", nargs="+", default=[], metavar="RUNG", help="train these rungs alone")
    p.add_argument("--fresh", action="store_true", help="train all again; what there is goes to runs/aside/")
    p.add_argument(
        "--accept-stale",
        action="store_true",
        help="take runs, and trials of --tuned, as they are whose own parts' source has changed since, instead of "
        "training them anew",
    )
    p.add_argument("--verify", action="store_true", help="read every data file anew, even where it looks unchanged")
    p.add_argument(
        "--checkpoint",
        type=float,
        metavar="S",
        help="seconds between checkpoints within an epoch (default: 60); 0: after every batch",
    )
    p.add_argument(
        "--curve-every",
        type=planned.count,
        metavar="K",
        help="measure the test set after every K-th epoch and the last (default: each); how a run is watched is not "
        "in its id",
    )
    p.add_argument(
        "--curve-images",
        type=planned.count,
        metavar="N",
        help="before the last epoch measure N of the test images, evenly spaced (default: all); the last is of all",
    )
    where.add_graphs(p)
    p.add_argument("--dry-run", action="store_true", help="show the plan, train nothing")
    p.add_argument("--list", action="store_true", help="show the studies there are")
    add_name(p)
    add_track(p)
    where.add(p)
    where.add_submit(p)
    return p


def run(options: argparse.Namespace) -> int:
    from harness import Problem, one_line, report, study
    from harness.parts.data import distrust
    from harness.report import frames
    from harness.store import Store

    if options.checkpoint is not None and not options.checkpoint >= 0:
        raise Problem(f"--checkpoint {options.checkpoint}: must be 0 seconds or more")
    planned.check(options)
    check_track(options)
    if options.verify:
        distrust()
    if options.list:
        answer(known := study.available())
        for name, about in known.items():
            print(f"{name:20} {one_line(about)}")
        return 0
    loaded = study.load(options.study)
    plan = planned.plan(options, loaded, decide(options))
    if options.test != plan.test:
        plan = replace(plan, test=options.test, command=(*plan.command, "--test", options.test))
    plan = study.by_metric(plan, loaded, options.metric) if options.metric else plan
    plan = called(plan, options.name) if options.name else plan
    names = [rung.name for rung in plan.rungs]
    unknown = [name for name in options.only if name not in names]
    if unknown:
        raise Problem(f"--only {unknown[0]}: no such rung in {options.study}; there are: {', '.join(names)}")
    at = where.places(options)
    for note in study.check(plan):
        print(f"{options.study}: {one_line(note, 1000)}", file=sys.stderr)
    with suppress(Problem):  # the study was not run before, or by another version
        for line in study.edited(plan, report.recall(plan.label), Store()):
            print(f"{options.study}: {one_line(line, 1000)}", file=sys.stderr)
    if options.submit and (options.decide is not None or options.tuned):
        raise Problem("--submit leaves nobody who could decide: leave out --decide and --tuned")
    if options.tuned and (options.decide is not None or options.only or options.fresh):
        raise Problem("--tuned goes with every rung and seed of a study: leave out --decide, --only and --fresh")
    if options.tuned and plan.metric:
        raise Problem(f"--tuned tunes by the headline of the task: leave out --metric {plan.metric}")
    if options.longest and options.target is None:
        raise Problem("--longest goes with --target")
    if options.target is not None:
        plan = aim(plan, loaded, options)
    if options.sampler and not options.tuned:
        raise Problem("--sampler goes with --tuned")
    if plan.metric and not options.fresh:
        frames.runs(
            study.describe(plan, Store()), Store()
        )  # that runs of before do not tell it is said before the first
    due = []
    if options.tuned:
        from harness.search.tuned import searches

        due = searches(loaded, plan, options.tuned, options.sampler or "random", options.accept_stale)
    with where.shared(options, to_train(plan, at, options), Store(), at) as cards:
        return carry_out(plan, loaded, due, cards, options)


def to_train(plan: Any, at: list[str], options: argparse.Namespace) -> list[Any]:
    """The runs by which --jobs auto goes: those that are missing, or stale; nothing else asks. Of --tuned all: trials
    are like them."""
    from harness import study
    from harness.store import Store

    if options.jobs != where.AUTO or at[0] == "cpu":
        return []
    every = study.walked(plan) if plan.target else replace(plan, counts=()).runs(options.only)
    store = Store(hidden=() if options.accept_stale else list(study.stale(every, Store())))
    asked = staged(plan, store).runs(options.only)
    return asked if options.fresh or options.tuned else study.missing(asked, store)


def carry_out(plan: Any, loaded: Any, due: list[Any], cards: Any, options: argparse.Namespace) -> int:
    """Show `plan`, or train it on the places of `cards`; `due` are its searches, of --tuned."""
    from harness import one_line

    at = cards.places
    if options.dry_run:
        shown = show_plan(plan, cards, options)
        if plan.target:
            print(
                f"--target: lengths that are due by now; others follow, until each rung reaches {plan.target.score:g}"
            )
        if options.tuned:
            rungs = len(plan.rungs)
            print(
                f"--tuned: then {rungs * options.tuned} trials, {options.tuned} a rung, and the same runs anew, tuned"
            )
        return shown
    for search in due:
        from harness.search.storage import doubt, opened

        if line := doubt(search, opened(search)):  # what is wrong with one is said before the first run
            print(f"{options.study}: {one_line(line, 1000)}", file=sys.stderr)
    said = set[str]()
    done = train_and_report(plan, at, options, said)
    if done or not options.tuned:
        return done
    better = tune(loaded, plan, at, options, said)
    return train_and_report(better, at, options, said) if better else 130


def aim(plan: Any, loaded: Any, options: argparse.Namespace) -> Any:
    """`plan` to the target that is asked for. Raises Problem where that goes not with what else is."""
    from harness import Problem, study

    others = {"--decide": options.decide is not None, "--tuned": options.tuned, "--only": options.only}
    others |= {"--fresh": options.fresh, "--submit": options.submit, "--same-epochs": options.same_epochs}
    others |= {"--metric": options.metric}
    for word in (word for word, given in others.items() if given):
        raise Problem(f"--target chooses the epochs of every rung by the score that records tell: leave out {word}")
    return study.aimed(plan, loaded, options.target, options.longest)


def check_track(options: argparse.Namespace) -> None:
    """Raise Problem where a tracker that is asked for is not installed: now, and not after hours of training."""
    if options.track != ["mlflow"]:
        from harness.tracking import KINDS

        for word in options.track:
            KINDS[word].check()


def called(plan: Any, name: str) -> Any:
    """`plan`, whose report has that name. Raises Problem where another plan has it."""
    from harness import Problem, one_line, report

    plan = replace(plan, name=name, command=(*plan.command, "--name", name))
    if not report.plan_path(plan.label).exists():
        return plan
    before = report.recall(plan.label)
    if (before["design"], before["settings"]) != (plan.design, list(plan.settings)):
        told = one_line("; ".join([before["design"], *before["settings"]]), 300)
        raise Problem(f"--name {name}: {plan.label} is there already, of other settings ({told}): take another name")
    return plan


def lacking(trouble: str | None, said: set[str]) -> None:
    """Say what a tracker lacks, once a command: each stage of --tuned may find it away, for reasons of other words."""
    brief = re.sub(r" \(.*\)", "", trouble or "")
    if trouble and brief not in said:
        said.add(brief)
        print(f"harness.ablate: {trouble}", file=sys.stderr)


def tune(loaded: Any, plan: Any, at: list[str], options: argparse.Namespace, said: set[str]) -> Any:
    """`plan` with values of its own in each rung; None where it was interrupted, which is said."""
    from harness.search.lines import Lines
    from harness.search.tuned import tune as tuned
    from harness.store import Store
    from harness.tracking import Tracker

    store, titles = Store(), dict[str, str]()
    tracker = Tracker(plan.study, titles, store, (), " ".join(sys.argv), plan.label, options.track)
    try:
        better = tuned(
            *(loaded, plan, options.tuned, options.sampler or "random", where.engine(options, store, at)),
            lambda search: Lines(search, tracker, titles),
            options.accept_stale,
        )
    finally:
        lacking(tracker.close(), said)
    if better is None:
        print("harness.ablate: interrupted; the same command goes on from what is kept", file=sys.stderr)
    return better


def decide(options: argparse.Namespace) -> Any:
    """How many seeds to look at, by --decide, --looks and --max-seeds; None where that is fixed."""
    from harness import Problem
    from harness.stats import LOOKS
    from harness.study import Decide

    if options.decide is None:
        if options.looks or options.max_seeds:
            raise Problem("--looks and --max-seeds go with --decide")
        return None
    if options.seeds or options.only:
        raise Problem("--decide chooses the seeds of every rung: leave out --seeds and --only")
    if options.design in ("shapley", "factorial"):
        raise Problem(f"--decide goes by the gains of rungs, which --design {options.design} has not")
    if not 0 < options.decide <= 100:
        raise Problem(f"--decide {options.decide:g}: must be above 0 points, and at most 100")
    looks = options.looks or LOOKS[options.test]
    if sorted(set(looks)) != list(looks) or looks[0] < 2:
        raise Problem(f"--looks {' '.join(map(str, looks))}: must rise, from 2 up")
    most = options.max_seeds or looks[-1]
    if most < looks[0]:
        raise Problem(f"--max-seeds {most} is before the first look, at {looks[0]} seeds")
    return Decide(options.decide, tuple(dict.fromkeys([*(n for n in looks if n < most), most])), options.test)


def staged(plan: Any, store: Any) -> Any:
    """`plan` with as many seeds of each rung as its gains ask for by now; all of them where the number is fixed.

    Of one with a target, each rung at the length that is due by now.
    """
    from harness import report, study

    if plan.target:
        return study.reaching(plan, store)
    if not plan.decide:
        return plan
    every = replace(plan, counts=())
    return replace(plan, counts=tuple(report.due(study.describe(every, store), store)))


def unstale(plan: Any, store: Any, options: argparse.Namespace) -> Any:
    """Of a plan with a target, the same by no stale run: each round may come upon some."""
    while plan.target and not options.accept_stale and (stale := outdated(plan, store, options)):
        set_aside(stale, store)
        plan = staged(plan, store)
    return plan


def looks(plan: Any, store: Any) -> Any:
    """The looks of a plan, with what could be known when they were planned, which is said; None where it has none."""
    from harness import report, study

    if not plan.decide:
        return None
    described = report.looked(study.describe(plan, store), store)
    if doubts := report.doubts(described):
        print(f"{plan.study}: {doubts}", file=sys.stderr)
    return described["decide"]


def show_plan(plan: Any, cards: Any, options: argparse.Namespace) -> int:
    from harness import study
    from harness.engine import decoders, widest
    from harness.store import Store
    from harness.study.costs import estimate
    from harness.study.shown import as_text

    def say(text: str) -> None:
        print(f"{options.study}: {text}", file=sys.stderr, flush=True)

    store = Store()
    planned = looks(plan, store)
    store = Store(hidden=() if options.accept_stale else outdated(plan, store, options))
    plan = staged(plan, store)
    described = study.describe(plan, store, options.only) | {"decide": planned}
    at = cards.places
    described |= estimate(plan.runs(options.only), store, at, decoders(len(at)), say)
    described["seconds"] *= cards.slower
    if cards.lines:
        described["sharing"] = cards.lines
    answer(described)
    print("\n".join([as_text(described), *cards.lines]))
    if where.check(options) == "slurm":
        script = where.slurm(options, store).script(
            store.root.parent / "mail" / plan.label, widest(plan.runs(options.only))
        )
        print(f"\nwhat would be submitted:\n\n{script}", end="")
    return 0


def train_and_report(plan: Any, at: list[str], options: argparse.Namespace, said: set[str]) -> int:
    from harness import Problem, report, study
    from harness.engine import key
    from harness.engine.progress import clock
    from harness.paths import check_locks
    from harness.report import index
    from harness.report.words import count
    from harness.store import Store
    from harness.tracking import KINDS, Tracker

    began = time.monotonic()
    check_locks()
    store = Store()
    planned = looks(plan, store)  # before any run is set aside: what it showed was seen
    if options.fresh:
        set_aside(map(key, replace(plan, counts=()).runs(options.only)), store)
    elif stale := outdated(plan, store, options):
        set_aside(() if options.accept_stale else stale, store)
    plan = unstale(staged(plan, store), store, options)
    asked = plan.runs(options.only)
    if options.submit and submitted(plan, asked, options):
        return 0
    words = " ".join(sys.argv)
    titles = plan.names()
    tracker = Tracker(plan.study, titles, store, map(key, asked), words, plan.label, options.track)
    engine = where.engine(options, store, at)
    tally = Tally()
    while True:
        described = study.describe(plan, store) | {"decide": planned}
        report.remember(described)
        train(plan, described, asked, engine, tracker, tally)
        more = plan if engine.stopping else unstale(staged(plan, store), store, options)
        if more == plan:
            break
        plan, asked = more, more.runs()
        titles |= plan.names()
        tracker.reused(map(key, asked))
    if engine.stopping:
        lacking(tracker.close(), said)
        left = len(study.missing(asked, store))
        again = "the same command without --fresh" if options.fresh else "the same command"
        of = count(len(asked), "run") + (" of this look" if plan.decide else " of this round" if plan.target else "")
        text = f"interrupted, {left} of {of} to go; {again} goes on from what is kept"
        print(f"harness.ablate: {text}", file=sys.stderr)
        answer({"interrupted": True, "left": left, "asked": len(asked)})
        return 130
    try:
        made = report.render(described, store)
        index.write()
        print(made.text)
        tracker.report(made.text, made.folder)
    except Problem as problem:
        if not tally.failures:
            raise
        print(f"harness.ablate: {problem}, as {count(len(tally.failures), 'run')} failed", file=sys.stderr)
        answer({"trained": tally.trained, "reused": 0, "failed": tally.told()})
        return 1
    finally:
        lacking(tracker.close(), said)
    every = set(map(key, study.walked(plan) if plan.target else asked))
    reused = len(every) - tally.trained - len(tally.failures)
    answer(made.told | {"folder": made.folder, "trained": tally.trained, "reused": reused, "failed": tally.told()})
    failed = f", {len(tally.failures)} failed" if tally.failures else ""  # why was said when they did
    print(f"{count(tally.trained, 'run')} trained, {reused} reused{failed}, {clock(time.monotonic() - began)}")
    if plan.decide:
        spent, most = sum(plan.counts), len(plan.rungs) * plan.decide.looks[-1]
        print(f"seeds where needed: {spent} runs of rungs, where {plan.decide.looks[-1]} seeds each are {most}")
    print(f"page: {made.folder}/index.html; tables and figures beside it")
    for word in dict.fromkeys(options.track):
        how, *there = KINDS[word].hint(plan.study).splitlines()
        begin = f"runs in {KINDS[word].name}:"
        print("\n".join([f"{begin:17} {how}", *(f"{'':17} {line}" for line in there)]))
    return 1 if tally.failures else 0


def submitted(plan: Any, asked: list[Any], options: argparse.Namespace) -> bool:
    """Whether what is left of a plan is with Slurm; it is submitted where it is not, and how it stands is said."""
    from harness import report, study
    from harness.engine.detached import Submission, told
    from harness.store import Store

    store = Store()
    left = study.missing(asked, store)
    if not left:
        return False
    report.remember(study.describe(plan, store))
    cluster = where.slurm(options, store).check()
    submission = Submission(cluster, plan.label)
    jobs = submission.jobs()
    print(f"{plan.study}: {told(asked, cluster, jobs)}")
    answer({"submitted": plan.label, "left": len(left), "asked": len(asked)})
    for (spec, seed), why in study.failed(left, store):
        print(f"{plan.study}: {plan.names()[spec.id]}, seed {seed} failed: {why}")
    if not jobs:
        again = "the same command without --fresh" if options.fresh else "the same command"
        begun = ", ".join(sorted(submission.submit(asked)))
        print(f"{plan.study}: submitted {begun}; {again} tells how it stands, and ends in the report")
    return True


@dataclass
class Tally:
    """What became of the runs."""

    trained: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> list[dict[str, Any]]:
        """Of each run that failed its specification, its seed, and why."""
        runs = ((event["run"], event["why"]) for event in self.failures)
        return [{"spec_id": spec.id, "seed": seed, "why": why} for (spec, seed), why in runs]


def outdated(plan: Any, store: Any, options: argparse.Namespace) -> list[tuple[str, int]]:
    """The runs that other source of the user's own parts made, which is said."""
    from harness import study

    asked = study.walked(plan) if plan.target else replace(plan, counts=()).runs(options.only)
    found = study.stale(asked, store)
    if found:
        kinds = ", ".join(dict.fromkeys(kind for each in found.values() for kind in each))
        anew = "trained anew, and what there is goes to runs/aside/; --accept-stale takes it as it is"
        done = "taken as they are (--accept-stale)" if options.accept_stale else anew
        n = f"{len(found)} runs are" if len(found) > 1 else "1 run is"
        print(f"{options.study}: {n} stale, since the source of {kinds} changed: {done}", file=sys.stderr)
    return list(found)


def set_aside(keys: Iterable[tuple[str, int]], store: Any) -> None:
    """Move the records of those runs out of the way, unless somebody is at one of them."""
    from harness.store import Held
    from harness.store.care import holder

    keys = list(keys)
    for owner in filter(None, (holder(store, each) for each in keys)):
        raise Held(owner)
    for each in keys:
        store.set_aside(*each)


def train(plan: Any, described: Any, asked: list[Any], engine: Any, tracker: Any, tally: Tally) -> None:
    """Train what is missing of `asked`. Raises Problem where neighbours showed what their specifications do not."""
    from harness import report, study
    from harness.engine import key
    from harness.engine.progress import Progress

    store = engine.store
    for run in asked:
        store.tidy(*key(run))
    failed = {key(event["run"]) for event in tally.failures}  # at an earlier look: not again in this invocation
    todo = [run for run in study.missing(asked, store) if key(run) not in failed]
    with Progress(plan, todo, reused=len(asked) - len(todo), jobs=engine.jobs) as progress:
        for event in engine.events(todo):
            progress.see(event)
            tracker.see(event)
            if event["kind"] == "finished":
                tally.trained += "reused" not in event
                report.compare(described, store, key(event["run"]))
            elif event["kind"] == "failed":
                tally.failures.append(event)


if __name__ == "__main__":
    main(parser(), run)
