"""`make faults`: inject every fault as often as it should be survived, and print the table."""

import argparse
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from unittest import SkipTest

from tests.faults import (  # noqa: F401
    FAULTS,
    Outcome,
    beginnings,
    cluster,
    collection,
    leases,
    objects,
    rays,
    search,
    shapes,
    storage,
    transfer,
    world,
)


def main() -> int:
    p = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    p.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="faults whose names have one of these")
    p.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    p.add_argument("--quick", action="store_true", help="as few times as the tests do")
    options = p.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and commands would inherit that
    failed = 0
    print("| fault | times injected | lost | redone | message |\n|:--|--:|--:|--:|:--|", flush=True)
    for name, fault in FAULTS.items():
        if not any(word in name for word in options.only):
            continue
        times = fault.quick if options.quick else fault.full
        if not times:
            continue
        with tempfile.TemporaryDirectory(prefix="harness-faults-") as folder:
            try:
                seen = fault.inject(Path(folder), times, options.seed)
            except SkipTest as why:
                seen = Outcome(0, 0, 0, f"not tried: {why}")
            except Exception:
                failed += 1
                traceback.print_exc()
                seen = Outcome(0, 0, 0, "NOT SURVIVED, see above")
        print(f"| {name} | {seen.injected} | {seen.lost} | {seen.redone} | {seen.message} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
