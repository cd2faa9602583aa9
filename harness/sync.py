"""`python -m harness.sync [STUDY ...]`: send MLflow what it lacks of the runs in the store."""

import argparse
import sys
from typing import Any

from harness.cli import answer, main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.sync",
        description="Send MLflow what it lacks of the runs in the store, each epoch of each run once.",
        epilog="MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    p.add_argument(
        "study", nargs="*", help="studies and searches that were run here, with their settings' hash (default: all)"
    )
    return p


def run(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.report import known, searched
    from harness.store import Store
    from harness.tracking import Projection, ready, shown_uri, told

    store = Store()
    wrong, counts = dict[str, None](), list[dict[str, Any]]()
    try:
        remade = ready(thorough=True)
        if remade:
            print(f"harness.sync: MLflow's {remade}; the runs of all studies are sent", file=sys.stderr)
        labels = (not remade and options.study) or [*known(), *searched()]
        for label, study, titles, keys in [(label, *named(label, store)) for label in labels]:
            projection = Projection(study, titles, store, " ".join(sys.argv))
            sent = 0
            for key in keys:
                try:
                    sent += projection.send(key)
                except Problem as problem:
                    wrong[str(problem)] = None
            counts.append({"label": label, "sent": sent, "runs": len(keys)})
            print(f"{label}: {sent} of {len(keys)} runs had news for {shown_uri()}")
            if "parent" in vars(projection):
                projection.client.set_terminated(projection.parent)
    except Problem:
        raise
    except Exception as error:  # MLflow raises what its stores, its servers and the network do
        raise Problem(f"MLflow at {shown_uri()} does not take them ({told(error)})") from None
    answer({"studies": counts, "left_out": list(wrong)})
    for line in wrong:
        print(f"harness.sync: left out: {line}", file=sys.stderr)
    return 1 if wrong else 0


def named(label: str, store: Any) -> tuple[str, dict[str, str], list[tuple[str, int]]]:
    """The study, what each specification is called, and the runs, of a plan or a search that was run here."""
    from harness.report import asked, called, recall, searched, titles

    if label in searched():
        names = called(label)
        return label.partition("@")[0], names, [key for key in store if key[0] in names]
    plan = recall(label)
    return plan["study"], titles(plan), asked(plan)


if __name__ == "__main__":
    main(parser(), run)
