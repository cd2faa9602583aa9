"""Which runs a command is about, as its options say: a study, a design, seeds, settings."""

import argparse
import re
from typing import TYPE_CHECKING

from harness import Problem

if TYPE_CHECKING:  # torch is not loaded for --help
    from harness.study import Decide, Plan, Study

STUDY = "a study: its name in experiments/, here or shipped; ./FILE.py; or PACKAGE.MODULE"
RAN = "a study that was run here: its report's name, or the address that it was run by"


OWN = "this many seeds instead of the study's own"


def add(p: argparse.ArgumentParser, study: str | None = None, design: str | None = "ladder", seeds: str = OWN) -> None:
    """`design` is the default, None for each of them; `seeds` is the help of --seeds."""
    told = {"nargs": "?", "default": study} if study else {}
    p.add_argument("study", help=STUDY + (" (default: %(default)s)" if study else ""), **told)  # type: ignore[arg-type]
    p.add_argument(
        "--design",
        choices=("ladder", "leave-one-out", "add-one", "shapley", "factorial"),
        default=design,
        help=f"which sets of tricks are trained (default: {'the ladder' if design else 'each'}; all share their runs)",
    )
    p.add_argument(
        "--orders", type=count, metavar="N", help="shapley: N random orders of the tricks and their reverses"
    )
    p.add_argument(
        "--same-epochs",
        action="store_true",
        help="compare a trick that also trains longer with as many epochs without it",
    )
    p.add_argument("--fraction", type=int, metavar="P", help="factorial: 1/2^P of all sets; 0: all")
    p.add_argument("--seeds", type=count, metavar="N", help=seeds)
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SLOT.FIELD=VALUE",
        help="change a value in every rung, or a part: optimizer=AdamW keeps what both have by the same default; "
        "null empties a slot; repeatable",
    )
    p.add_argument(
        "--limit",
        type=_images,
        nargs="+",
        default=[],
        metavar="N",
        help="a slice of N training images, and as a second number of test images, even over the classes",
    )


def count(text: str, most: int = 10_000) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1 and at most {most:,}")
    return int(text)


def _images(text: str) -> int:
    return count(text, most=1_000_000_000)


def check(options: argparse.Namespace) -> None:
    """Raise Problem where --limit will not do."""
    if len(options.limit) > 2:
        raise Problem("--limit takes a number of training images, and one of test images")
    if options.limit and any(re.match(r"data(\.of)?\.limit(_test)?=", text) for text in options.set):
        raise Problem("--limit and --set data.limit say the same: leave one out")


def plan(options: argparse.Namespace, loaded: "Study", decide: "Decide | None" = None) -> "Plan":
    from harness import study
    from harness.parts.data.holdout import Holdout
    from harness.stats.designs import Options

    whole = "data.of" if isinstance(loaded.baseline.data, Holdout) else "data"
    slices = zip((f"{whole}.limit", f"{whole}.limit_test"), options.limit, strict=False)
    return study.plan(
        loaded,
        [*map(study.setting, options.set), *slices],
        options.seeds,
        options.design,
        Options(options.orders, options.fraction),
        decide,
        options.same_epochs,
    )
