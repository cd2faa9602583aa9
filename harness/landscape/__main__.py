"""`python -m harness.landscape`: the loss around trained networks, and the Rosenbrock function."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import planned
from harness.cli import main
from harness.landscape.nets import IMAGES, nets
from harness.landscape.rosenbrock import rosenbrock
from harness.paths import expanded

if TYPE_CHECKING:
    from torch import Tensor

    Batches = Sequence[tuple[Tensor, Tensor]]  # images N x C x H x W and labels N, on the network's device


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.landscape", description="Draw the loss around trained networks, or of a toy example on a sphere."
    )
    commands = p.add_subparsers(required=True, metavar="nets|rosenbrock")
    n = commands.add_parser("nets", help="the loss of trained networks along two random directions")
    n.set_defaults(run=nets)
    n.add_argument("study", help=planned.STUDY)
    n.add_argument("rungs", nargs="+", metavar="rung", help="of its ladder, trained before")
    n.add_argument("--seed", type=int, metavar="N", help="of the runs, and of the directions (default: the first)")
    n.add_argument("--span", type=float, default=1.0, metavar="X", help="from -X to X both ways (default: %(default)s)")
    n.add_argument("--points", type=int, default=21, metavar="N", help="each way (default: %(default)s)")
    n.add_argument("--images", type=int, metavar="N", help=f"training images (default: {IMAGES:,}, or all if fewer)")
    n.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    n.add_argument(
        "--set", action="append", default=[], metavar="SLOT.FIELD=VALUE", help="as it was trained with; repeatable"
    )
    r = commands.add_parser("rosenbrock", help="momentum, weight decay and the projection on a sphere (AdamP)")
    r.set_defaults(run=rosenbrock)
    for own in (n, r):
        own.add_argument("--to", type=expanded, metavar="DIR", help="write into DIR (default: one of runs/reports/)")
    return p


if __name__ == "__main__":
    main(parser(), lambda options: options.run(options))
