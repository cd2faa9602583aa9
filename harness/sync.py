"""`python -m harness.sync [STUDY ...]`: send MLflow what it lacks of the runs in the store."""

import argparse
import sys

from harness.cli import main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.sync",
        description="Send MLflow what it lacks of the runs in the store, each epoch of each run once.",
        epilog="MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    p.add_argument("study", nargs="*", help="studies that were run here, with their settings' hash (default: all)")
    return p


def run(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.report import asked, known, recall, titles
    from harness.store import Store
    from harness.tracking import Projection, ready, shown_uri, told

    store = Store()
    wrong: dict[str, None] = {}
    try:
        remade = ready(thorough=True)
        if remade:
            print(f"harness.sync: MLflow's {remade}; the runs of all studies are sent", file=sys.stderr)
        for plan in [recall(label) for label in (not remade and options.study) or known()]:
            projection = Projection(plan["study"], titles(plan), store, " ".join(sys.argv))
            sent = 0
            for key in asked(plan):
                try:
                    sent += projection.send(key)
                except Problem as problem:
                    wrong[str(problem)] = None
            print(f"{plan['label']}: {sent} of {len(asked(plan))} runs had news for {shown_uri()}")
            if "parent" in vars(projection):
                projection.client.set_terminated(projection.parent)
    except Problem:
        raise
    except Exception as error:  # MLflow raises what its stores, its servers and the network do
        raise Problem(f"MLflow at {shown_uri()} does not take them ({told(error)})") from None
    for line in wrong:
        print(f"harness.sync: left out: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main(parser(), run)
