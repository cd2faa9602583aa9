"""`python -m harness.worker FOLDER`: take runs from a launcher on another machine, and train them."""

import argparse

from harness.cli import main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.worker",
        description="Train the runs that a command with --engine ordered, until there are none. Launchers start this.",
        epilog="SIGTERM, SIGINT and SIGUSR1: the run is kept, and the worker ends. Exit status: 0 all done, 1 a run "
        "failed, 75 a run was kept, 78 this machine has another version of the program or of torch.",
    )
    p.add_argument("folder", help="the mailbox: a folder under runs/mail/")
    p.add_argument("--name", default="worker", help="how the launcher knows this worker (default: %(default)s)")
    p.add_argument("--most", type=int, metavar="N", help="leave after N runs")
    p.add_argument(
        "--rank",
        action="store_true",
        help="be a rank of a run of another node, as standard input says",
    )
    return p


def run(options: argparse.Namespace) -> int:
    import os
    from pathlib import Path

    from harness.engine import decoders
    from harness.engine.detached import PLAN, follow
    from harness.engine.mailbox import Mailbox
    from harness.engine.pulling import TURNED_AWAY, Puller

    os.environ.setdefault("HARNESS_DECODERS", str(decoders(1)))  # the cores that this job was given are all its own
    puller = Puller(Mailbox(Path(options.folder)), options.name, options.most)
    if options.rank:
        return puller.join()
    if (puller.box.folder / PLAN).exists():
        return follow(puller.box) if puller.enter() else TURNED_AWAY
    return puller.pull()


if __name__ == "__main__":
    main(parser(), run)
