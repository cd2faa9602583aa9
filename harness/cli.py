"""What the command lines share: one clear line for a user's mistake, exit 2, no traceback."""

import argparse
import sys
from collections.abc import Callable


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int | None]) -> None:
    from harness import Problem, one_line

    options = parser.parse_args()
    try:
        sys.exit(run(options))
    except Problem as problem:
        print(f"{parser.prog}: {one_line(str(problem), 2000)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as told:
        print("\n" + "; ".join([f"{parser.prog}: interrupted", *map(str, told.args)]), file=sys.stderr)
        sys.exit(130)
