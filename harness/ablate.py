"""`python -m harness.ablate [STUDY]`: train a study's rungs, log them, and end in a table and a figure."""

import argparse
import sys
import time
from typing import Any

from harness.cli import main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.ablate",
        description="Build a study's tricks cumulatively, train each rung over its seeds, and report the gains.",
        epilog="Everything that runs make goes under runs/, or the folder that HARNESS_RUNS names. A run that is there "
        "is never trained again. MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    p.add_argument("study", nargs="?", default="digits", help="a file of experiments/, by name (default: %(default)s)")
    p.add_argument("--seeds", type=_count, metavar="N", help="this many seeds instead of the study's own")
    p.add_argument("--only", nargs="+", default=[], metavar="RUNG", help="train these rungs alone")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SLOT.FIELD=VALUE",
        help="change a value in every rung; repeatable",
    )
    p.add_argument("--jobs", type=_count, metavar="N", help="processes (default: one a core on CPU, one a GPU on CUDA)")
    p.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    p.add_argument("--fresh", action="store_true", help="train all again; what there is goes to runs/aside/")
    p.add_argument("--verify", action="store_true", help="read every data file anew, even where it looks unchanged")
    p.add_argument(
        "--checkpoint",
        type=float,
        metavar="S",
        help="seconds between checkpoints within an epoch (default: 60); 0: after every batch",
    )
    p.add_argument("--dry-run", action="store_true", help="show the plan, train nothing")
    p.add_argument("--json", action="store_true", help="with --dry-run: the plan as one JSON object")
    p.add_argument("--list", action="store_true", help="show the studies there are")
    return p


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1 and at most 10,000")
    return number


def run(options: argparse.Namespace) -> int:
    from harness import Problem, one_line, report, study
    from harness.engine import places
    from harness.parts.data import distrust
    from harness.store import Store

    if options.json and not options.dry_run:
        raise Problem("--json goes with --dry-run")
    if options.checkpoint is not None and not options.checkpoint >= 0:
        raise Problem(f"--checkpoint {options.checkpoint}: must be 0 seconds or more")
    if options.verify:
        distrust()
    if options.list:
        for name, about in study.available().items():
            print(f"{name:20} {one_line(about)}")
        return 0
    plan = study.plan(study.load(options.study), [study.setting(text) for text in options.set], options.seeds)
    names = [rung.name for rung in plan.rungs]
    unknown = [name for name in options.only if name not in names]
    if unknown:
        raise Problem(f"--only {unknown[0]}: no such rung in {options.study}; there are: {', '.join(names)}")
    where = places(options.device, options.jobs)
    for note in study.check(plan):
        print(f"{options.study}: {one_line(note, 1000)}", file=sys.stderr)
    if plan.label in report.known():
        for line in study.edited(plan, report.recall(plan.label), Store()):
            print(f"{options.study}: {one_line(line, 1000)}", file=sys.stderr)
    if options.dry_run:
        return show_plan(plan, where, options)
    return train_and_report(plan, where, options)


def show_plan(plan: Any, where: list[str], options: argparse.Namespace) -> int:
    import json

    from harness import estimate, study
    from harness.store import Store

    store = Store()
    described = study.describe(plan, store, options.only)
    jobs = len(where)
    described["seconds"] = estimate.seconds(plan.runs(options.only), store, jobs, options.device)
    print(json.dumps(described, indent=1) if options.json else estimate.as_text(described, jobs))
    return 0


def train_and_report(plan: Any, where: list[str], options: argparse.Namespace) -> int:
    from harness import report, study
    from harness.engine import Engine, key
    from harness.progress import Progress, clock
    from harness.store import EVERY, Held, Store
    from harness.store.care import holder
    from harness.tracking import Tracker, ui_command

    began = time.monotonic()
    store = Store()
    asked = plan.runs(options.only)
    if options.fresh:
        for pid in filter(None, (holder(store, key(run)) for run in asked)):
            raise Held(pid)
        for run in asked:
            store.set_aside(*key(run))
    for run in asked:
        store.tidy(*key(run))
    todo = study.missing(asked, store)
    described = study.describe(plan, store)
    report.remember(described)
    tracker = Tracker(plan.study, plan.names(), store, map(key, asked), " ".join(sys.argv))
    engine = Engine(store, where, EVERY if options.checkpoint is None else options.checkpoint)
    failures, trained = [], 0
    trouble = None
    try:
        with Progress(plan, todo, reused=len(asked) - len(todo), jobs=len(where)) as progress:
            for event in engine.events(todo):
                progress.see(event)
                tracker.see(event)
                trained += event["kind"] == "finished" and "reused" not in event
                if event["kind"] == "failed":
                    failures.append(event)
        trouble = tracker.close()
    finally:
        for event in failures:
            spec, seed = event["run"]
            print(f"harness.ablate: {plan.names()[spec.id]}, seed {seed} failed: {event['why']}", file=sys.stderr)
    if trouble:
        print(f"harness.ablate: {trouble}", file=sys.stderr)
    if engine.stopping:
        left = len(study.missing(asked, store))
        again = "the same command without --fresh" if options.fresh else "the same command"
        text = f"interrupted, {left} of {len(asked)} runs to go; {again} goes on from what is kept"
        print(f"harness.ablate: {text}", file=sys.stderr)
        return 130
    made = report.render(described, store)
    print(made.text)
    reused = len(asked) - trained - len(failures)
    print(f"{trained} runs trained, {reused} reused, {clock(time.monotonic() - began)}")
    print(f"table and figure: {made.folder}/table.{{md,csv,tex,html}}, ladder.{{png,svg}}")
    print(f"runs in MLflow:   {ui_command()}")
    print(f"                  there: Model training, experiment {plan.study}, Training runs")
    return 1 if failures else 0


if __name__ == "__main__":
    main(parser(), run)
