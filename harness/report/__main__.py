"""`python -m harness.report STUDY`: tables and figures, from the store alone."""

import argparse
import gc

from harness import planned
from harness.cli import add_metric, add_name, answer, main
from harness.paths import expanded


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="harness.report", description="Make a study's tables and figures from its runs.")
    p.add_argument(
        "study", nargs="*", default="digits", help=f"{planned.RAN} (default: %(default)s); several with --beside"
    )
    only = p.add_mutually_exclusive_group()
    only.add_argument(
        "--table", type=int, choices=range(1, 10), metavar="N", help="only the paper's Table N (1 to 9) beside the runs"
    )
    only.add_argument(
        "--published",
        action="store_true",
        help="only the published ladder that this study makes beside its runs: gains, signs, order, and tests of "
        "whether gains differ",
    )
    only.add_argument("--figure", type=int, choices=(3, 4), help="only the paper's Figure 3 or 4, of these runs")
    only.add_argument(
        "--at",
        type=int,
        nargs="+",
        metavar="EPOCH",
        help="only the score after these epochs, beside what was published",
    )
    only.add_argument(
        "--beside",
        action="store_true",
        help="only each trick's gain by each of several studies or designs, a column each",
    )
    p.add_argument(
        "--target", type=float, metavar="SCORE", help="the report of harness.ablate --target SCORE: epochs and seconds"
    )
    p.add_argument(
        "--against", metavar="RUNG", help="gains over this rung, by its name, instead of those that the design has"
    )
    p.add_argument(
        "--test",
        choices=("moderated", "t"),
        help="how gains are tested: with variances that lean on each other, or each by its own alone, the plain paired "
        "t-test (default: as the study was run, which is moderated)",
    )
    add_metric(p, "of this report, which then has a name of its own (default: as the study was run)")
    p.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME",
        help="of the LaTeX table, in this order: rung, score, n, gain, verdict, plain, rho, total, second, balanced, "
        "params, "
        "gflops, seconds; of effects trick, value, order_se, n, verdict, aliases (default: the first of them)",
    )
    p.add_argument(
        "--to", type=expanded, metavar="DIR", help="write into DIR (default: runs/reports/ and the study's name)"
    )
    add_name(p)
    return p


def run(options: argparse.Namespace) -> None:
    gc.disable()  # nearly all that a report makes stays to its end: looking through it took a second of 10,000 runs
    from harness import Problem
    from harness.report import (
        after_epochs,
        against,
        beside_paper,
        beside_published,
        by_score,
        index,
        measured,
        paper_figure,
        recall,
        remember,
        renamed,
        render,
        side_by_side,
        tested,
        to_target,
        unrun,
    )
    from harness.store import Store

    studies = [options.study] if isinstance(options.study, str) else options.study
    if options.beside and (len(studies) < 2 or options.name or options.against or options.metric):
        raise Problem("--beside takes two studies or more, and neither --name, --against nor --metric")
    if len(studies) > 1 and not options.beside:
        raise Problem(f"one study at a time, and here are {len(studies)}: --beside sets them side by side")
    if options.against and (options.table or options.figure or options.at or options.published):
        raise Problem("--against is about the gains of the table: leave out --table, --published, --figure and --at")
    if options.target is not None:
        studies = [to_target(study, options.target) for study in studies]
    if options.beside:
        plans = [by_score(recall(study)) for study in studies]
        plans = [tested(plan, options.test) if options.test else plan for plan in plans]
        made = side_by_side(plans, Store(), options.to)
        answer(made.told | {"folder": made.folder})
        print(made.text)
        print(f"written to {made.folder}/")
        return
    plan = (unrun(studies[0]) if options.table or options.published else None) or recall(studies[0])
    plan = renamed(plan, options.name) if options.name else plan
    plan = tested(plan, options.test) if options.test else plan
    own = options.table or options.figure or options.at or options.published  # of the score that records tell
    if options.metric and own:
        raise Problem("--metric is of the whole report: leave out --table, --published, --figure and --at")
    plan = measured(plan, options.metric) if options.metric else plan | {"metric": ""} if own else plan
    kept, plan = plan, against(plan, options.against) if options.against else plan
    store, to = Store(), options.to
    if options.figure:
        answer({"figure": (drawn := paper_figure(plan, store, options.figure, to))})
        print(f"written to {drawn}")
    else:
        if options.at:
            report = after_epochs(plan, store, options.at, to)
        elif options.table:
            report = beside_paper(plan, store, options.table, to)
        elif options.published:
            report = beside_published(plan, store, to)
        else:
            report = render(plan, store, to, options.columns)
        if options.metric:
            remember(kept)
        if not to:
            index.write()
        answer((report.told or {"text": report.text}) | {"folder": report.folder})
        print(report.text)
        print(f"written to {report.folder}/")
    gc.freeze()  # nor is it looked through at the exit


if __name__ == "__main__":
    main(parser(), run)
