"""`python -m harness.report STUDY`: tables and figures, from the store alone."""

import argparse

from harness.cli import main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="harness.report", description="Make a study's tables and figures from its runs.")
    p.add_argument("study", nargs="?", default="digits", help="a study that was run here (default: %(default)s)")
    return p


def run(options: argparse.Namespace) -> None:
    from harness.report import recall, render
    from harness.store import Store

    report = render(recall(options.study), Store())
    print(report.text)
    print(f"written to {report.folder}/")


if __name__ == "__main__":
    main(parser(), run)
