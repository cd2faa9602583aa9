"""`python -m harness.sync [STUDY ...]`: send a tracker what it lacks of the runs in the store."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from harness import Problem, one_line
from harness.cli import add_track, answer, main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.sync",
        description="Send MLflow, or another tracker, what it lacks of the runs in the store, each epoch of each once.",
        epilog="MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    p.add_argument(
        "study",
        nargs="*",
        help="studies and searches that were run here: their reports' names, or addresses (default: all)",
    )
    p.add_argument(
        "--register",
        metavar="RUNG",
        help="of one study: its network, of the first seed, as a registered model of MLflow's",
    )
    add_track(p, "send to")
    return p


def run(options: argparse.Namespace) -> int:
    from harness.store import Store
    from harness.tracking import KINDS

    if options.register and (len(options.study) != 1 or options.track != ["mlflow"]):
        raise Problem("--register takes one study, and MLflow: python -m harness.sync STUDY --register RUNG")
    store = Store()
    wrong, counts = dict[str, None](), list[dict[str, Any]]()
    for word in dict.fromkeys(options.track):
        KINDS[word].check()
        more, told = send(KINDS[word], options.study, store)
        wrong |= more
        counts += told
    for line in wrong:
        print(f"harness.sync: left out: {line}", file=sys.stderr)
    registered = register(options.study[0], options.register, store) if options.register else None
    answer({"studies": counts, "left_out": list(wrong), "registered": registered})
    if registered:
        print(registered)
    return 1 if wrong else 0


def send(kind: Any, studies: Sequence[str], store: Any) -> tuple[dict[str, None], list[dict[str, Any]]]:
    """What a tracker lacks of `studies`, or of all: what is wrong with records left out, and what was sent of each."""
    from harness.report import known, label_of, searched
    from harness.tracking import Projection, told

    wrong, counts = dict[str, None](), list[dict[str, Any]]()
    try:
        remade = kind.ready(thorough=True)
        if remade:
            print(f"harness.sync: {kind.name}'s {remade}; the runs of all studies are sent", file=sys.stderr)
        labels = (not remade and [*map(label_of, studies)]) or [*known(), *searched()]
        for label, study, titles, keys in [(label, *named(label, store)) for label in labels]:
            projection = Projection(study, titles, store, " ".join(sys.argv), label, kind)
            sent = 0
            for key in keys:
                try:
                    sent += projection.send(key)
                except Problem as problem:
                    wrong[str(problem)] = None
            counts.append({"label": label, "to": kind.name, "sent": sent, "runs": len(keys)})
            print(f"{label}: {sent} of {len(keys)} run{'s' * (len(keys) != 1)} had news for {kind.where()}")
            projection.sink.close()
    except Problem:
        raise
    except Exception as error:  # a tracker raises what its stores, its servers and the network do
        raise Problem(f"{kind.name} at {kind.where()} does not take them ({told(error)})") from None
    return wrong, counts


def register(study: str, rung: str, store: Any) -> str:
    """Put the network of a rung, of its first seed that is finished, among MLflow's registered models; what was done.

    Raises Problem where there is no such rung, or no run of it.
    """
    from harness.outcomes import Results
    from harness.report import titles
    from harness.tracking import Projection, told

    found = Results(study)
    network, plan = found.network(rung), found.plan
    called = f"{plan['study']}-{plan['rungs'][found.place(rung)]['name']}"
    sink: Any = Projection(plan["study"], titles(plan), store, " ".join(sys.argv), plan["label"]).sink
    try:
        return str(sink.register(network.record.get("record") or network.record["digest"], network.module, called))
    except Exception as error:
        raise Problem(f"MLflow at {sink.where()} does not take {one_line(called)} ({told(error)})") from None


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
