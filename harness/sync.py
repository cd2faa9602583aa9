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


def run(options: argparse.Namespace) -> None:
    from harness import Problem
    from harness.report import asked, known, recall, titles
    from harness.store import Store
    from harness.tracking import Projection, tracking_uri

    store = Store()
    plans = [recall(label) for label in options.study or known()]
    try:
        for plan in plans:
            projection = Projection(plan["study"], titles(plan), store, " ".join(sys.argv))
            sent = [projection.send(key) for key in asked(plan)]
            print(f"{plan['label']}: {sum(sent)} of {len(sent)} runs had news for {tracking_uri()}")
            if "parent" in vars(projection):
                projection.client.set_terminated(projection.parent)
    except Problem:
        raise
    except Exception as error:  # MLflow raises what its stores, its servers and the network do
        text = f"{type(error).__name__}: {error}"[:300]
        raise Problem(f"MLflow at {tracking_uri()} does not take them ({text})") from None


if __name__ == "__main__":
    main(parser(), run)
