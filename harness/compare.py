"""`python -m harness.compare A B`: two rungs, specifications, studies or folders of runs, side by side."""

import argparse

from harness.cli import answer, main
from harness.paths import expanded


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.compare",
        description="What differs between A and B, and what B gives over A: paired by seed where both have the same "
        "seeds, else unpaired. From the store alone; nothing is trained.",
        epilog="A and B are addresses: STUDY:RUNG, a rung of a study that was run here (digits:cosine, "
        "./my_study.py:mixup); STUDY, all its rungs; ID, a specification, by its id or how that begins; DIR, a folder "
        "of runs with store/ in it; and DIR:STUDY:RUNG, DIR:STUDY or DIR:ID, what is in that folder.",
    )
    p.add_argument("a", metavar="A", help="an address, see below")
    p.add_argument("b", metavar="B", help="another")
    p.add_argument(
        "--test",
        choices=("moderated", "t"),
        default="moderated",
        help="of two studies: how differences are tested, with variances that lean on each other, or each by its own "
        "(default: %(default)s); of two rungs it is the paired t-test, and Welch's where seeds do not pair",
    )
    p.add_argument("--to", type=expanded, metavar="DIR", help="write into DIR (default: runs/compared/, and the names)")
    return p


def run(options: argparse.Namespace) -> None:
    from harness.report.versus import compare, side, write

    folder, text, told = write(compare(side(options.a), side(options.b), options.test), options.to)
    answer(told | {"folder": folder})
    print(text)
    print(f"picture: {folder}/compared.png; words and numbers beside it")


if __name__ == "__main__":
    main(parser(), run)
