"""`python -m harness.store`: look after the run records."""

import argparse
from collections.abc import Callable

from harness.cli import main
from harness.paths import expanded
from harness.store.command.carried import export_runs, import_runs, pull_runs, push_runs
from harness.store.command.removed import bring_back, collect, free_aside, remove
from harness.store.command.shown import list_runs, show_run, verify


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.store",
        description="Look after the run records in runs/store/, or in the folder that HARNESS_RUNS names.",
    )
    commands = p.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(run=run, shows=run in (list_runs, show_run, verify))
        return command

    add("list", list_runs, "one line a run: how it stands, and which study it is of")
    show = add("show", show_run, "a run's specification, result, and journal")
    show.add_argument("which", metavar="RUN", help="an id, or the beginning of one; with /SEED for one run")
    add("verify", verify, "check every digest and every line of every journal; exits with 1 where one is wrong")
    gc = add("gc", collect, "show the runs that no study, no plan run here and no search names")
    gc.add_argument("--delete", action="store_true", help="set them aside, from where they can be brought back")
    rm = add("rm", remove, "show a study's plans, its reports, and the runs that no other study needs")
    rm.description = (
        f"{rm.description} Of a name without @ all its designs and settings are meant. Searches of it, and what they "
        "name, stay; so do MLflow's runs."
    )
    rm.add_argument("study", metavar="STUDY", help="its address, or as list shows it: digits, or digits@shapley alone")
    rm.add_argument("--delete", action="store_true", help="set them aside; restore brings runs back, free frees disk")
    restore = add("restore", bring_back, "bring back what was set aside on a day, or one run")
    restore.add_argument("which", metavar="DAY|RUN", help="as 2026-01-31, or an id; with /SEED for one run")
    free = add("free", free_aside, "remove for good what was set aside on a day or before")
    free.add_argument("day", metavar="DAY", help="as 2026-01-31")
    export = add("export", export_runs, "write finished runs, and all that proves them, to one file")
    export.add_argument("file", type=expanded)
    export.add_argument("study", nargs="*", help="studies that were run here (default: every run)")
    bring = add("import", import_runs, "add the runs of such a file that are not here")
    bring.add_argument("file", type=expanded)
    push = add("push", push_runs, "send finished runs to an address, for machines that share no folder")
    push.add_argument("url", metavar="URL", help="a folder, s3://BUCKET/FOLDER, or another that fsspec knows")
    push.add_argument("study", nargs="*", help="studies that were run here (default: every run)")
    pull = add("pull", pull_runs, "add the runs at such an address that are not here")
    pull.add_argument("url", metavar="URL", help="as push has it")
    return p


if __name__ == "__main__":
    main(parser(), lambda options: options.run(options))
