"""`python -m harness.search STUDY`: search for the best values of one rung's slots, on images held out of training."""

import argparse
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from harness import planned, where
from harness.cli import add_metric, add_track, answer, main

if TYPE_CHECKING:
    from harness.search.search import Search

SAMPLERS = ("tpe", "random", "grid", "cmaes", "gp")
PRUNERS = ("hyperband", "median", "wilcoxon", "none")
AIMS = ("seconds", "gmacs")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.search",
        description="Search for the values of a rung's slots, by the validation score: a share of the training images "
        "is held out, and the test set is looked at once, by the chosen values. The study's SPACE says what to search.",
        epilog="The same command goes on where an interrupted one was, until there are as many trials as asked for. "
        "Runs are in the store like any other, and no run is trained twice.",
    )
    p.add_argument("study", nargs="?", default="digits", help=f"{planned.STUDY} (default: %(default)s)")
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
    add_metric(p, "that trials are scored by, on the images held out (default: the headline of the task, top-1 say)")
    p.add_argument("--minimize", choices=AIMS, help="a second aim: seconds of training, or multiply-adds an image")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SLOT.FIELD=VALUE",
        help="change a value in every rung; repeatable",
    )
    p.add_argument(
        "--accept-stale",
        action="store_true",
        help="go on though the source of your own parts has changed, and take runs as they are",
    )
    add_track(p)
    where.add_graphs(p)
    where.add(p)
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


def run(options: argparse.Namespace) -> int:
    from harness import one_line, study
    from harness.search.search import make
    from harness.search.storage import reached
    from harness.store import Store

    search = make(
        study.load(options.study),
        options.rung,
        list(map(study.setting, options.set)),
        **{name: getattr(options, name) for name in ("trials", "seeds", "sampler", "pruner", "share", "minimize")},
        storage=options.storage,
        seed=options.seed,
        accept_stale=options.accept_stale,
        metric=options.metric or "",
    )
    at = where.places(options)
    for note in study.check(study.Plan(search.study, (search.rung,), search.seeds)):
        print(f"{search.study}: {one_line(note, 1000)}", file=sys.stderr)
    runs = [(search.rung.spec, seed) for seed in search.seeds]
    with reached(search), where.shared(options, runs, Store(), at) as cards:
        return search_and_report(search, cards.places, options)


def search_and_report(search: "Search", at: list[str], options: argparse.Namespace) -> int:
    from harness import one_line, report
    from harness.report import index
    from harness.report import search as page
    from harness.search.driver import run_search
    from harness.search.lines import Lines
    from harness.search.outcome import as_text, remember, tested
    from harness.search.storage import doubt, opened
    from harness.store import Store
    from harness.tracking import KINDS, Tracker

    for word in options.track:
        KINDS[word].check()
    store, titles = Store(), dict[str, str]()
    engine = where.engine(options, store, at)
    if doubts := doubt(search, opened(search)):  # what is wrong with it is said before anything begins
        print(f"{search.study}: {one_line(doubts, 1000)}", file=sys.stderr)
    command = " ".join(word.replace(options.storage, search.address) if options.storage else word for word in sys.argv)
    tracker = Tracker(search.study, titles, store, (), command, search.label, options.track)
    try:
        best = run_search(search, engine, Lines(search, tracker, titles), options.timeout)
        remember(search, described := best.described)
        if best.spec and not best.stopped:
            titles[best.spec.id] = f"chosen by {search.label}"
            described = tested(search, best, engine, tracker)
            remember(search, described)
    finally:
        trouble = tracker.close()
        if trouble:
            print(f"harness.search: {trouble}", file=sys.stderr)
    if engine.stopping:
        of = f"{best.left} of {search.trials} trials to go" if best.left else "the test is to go"
        text = f"interrupted, {of}; the same command goes on from what is kept"
        print(f"harness.search: {text}", file=sys.stderr)
        return 130
    done = described["counts"]["complete"] + described["counts"]["pruned"]
    if done < search.trials:
        text = "the time is up; the same command goes on" if best.left else "as many failed, and no more are begun"
        print(f"harness.search: {done} of {search.trials} trials done: {text}", file=sys.stderr)
    made = page.render(described, opened(search), report.folder_of(described))
    index.write()
    answer(described | {"folder": made.folder})
    print(made.text)
    print(as_text(search, described))
    print(f"page:   {made.folder}/index.html; tables and figures beside it")
    print(f"trials: {shlex.join(['optuna-dashboard', search.address])}")
    for word in dict.fromkeys(options.track):
        print(f"runs:   {KINDS[word].hint(search.study).splitlines()[0]}")
    return 0 if described["counts"]["complete"] else 1


if __name__ == "__main__":
    main(parser(), run)
