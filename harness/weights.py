"""`python -m harness.weights STUDY`: weights that others trained, each asked once, side by side on one test set."""

import argparse
import os
import sys

from harness import Problem, one_line
from harness.cli import answer, main
from harness.paths import expanded
from harness.planned import STUDY


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.weights",
        description="Weights that others trained, on one test set: one pass each, top-1 with intervals, and "
        "differences paired by image. Nothing is trained. What was asked before is not asked again.",
        epilog="A study's file may have WEIGHTS, names and specifications; experiments/README.md shows one.",
    )
    p.add_argument("study", help=STUDY + "; its BASELINE is asked for network and data")
    p.add_argument(
        "weights", nargs="*", metavar="PATH", help="a file of weights, a folder of them, or timm:NAME, timm's own"
    )
    p.add_argument("--against", metavar="NAME", help="whom differences are from (default: the first)")
    p.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    p.add_argument("--fresh", action="store_true", help="ask again, whatever is kept")
    p.add_argument("--to", type=expanded, metavar="DIR", help="write into DIR (default: runs/weights/STUDY)")
    return p


def run(options: argparse.Namespace) -> None:
    import torch

    from harness.engine import places, settle
    from harness.outcomes.weights import answers
    from harness.paths import runs
    from harness.report import weights as report
    from harness.study import find, weights

    asked = weights.load(options.study, tuple(options.weights))
    if options.against is not None and options.against not in asked:
        raise Problem(
            f"--against {one_line(options.against)}: no such weights; there are: {one_line(', '.join(asked), 300)}"
        )
    if options.to and options.to.exists() and not options.to.is_dir():
        raise Problem(f"--to {one_line(str(options.to), 200)}: there is a file of that name; give a folder")
    device = settle(places(options.device, 1)[0])
    if device.type == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # one process alone, and few passes

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    name = find(options.study).stem
    found = answers(asked, runs() / "weights", device, say, options.fresh)
    folder = options.to or runs() / "weights" / name
    text, rows = report.write(name, found, options.against, folder)
    answer({"folder": folder, "weights": [vars(row) for row in rows]})
    print(text)
    print(f"picture: {folder}/weights.png; words and numbers beside it")


if __name__ == "__main__":
    main(parser(), run)
