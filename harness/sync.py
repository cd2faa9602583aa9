"""`python -m harness.sync [STUDY ...]`: send a tracker what it lacks of the runs in the store."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from harness.cli import add_track, answer, main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.sync",
        description="Send MLflow, or another tracker, what it lacks of the runs in the store, each epoch of each once.",
        epilog="MLflow's store is runs/mlflow.db, or MLFLOW_TRACKING_URI.",
    )
    p.add_argument(
        "study", nargs="*", help="studies and searches that were run here, with their settings' hash (default: all)"
    )
    p.add_argument(
        "--register",
        metavar="RUNG",
        help="of one study: its network, of the first seed, as a registered model of MLflow's",
    )
    add_track(p, "send to")
    return p


def run(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.store import Store
    from harness.tracking import KINDS

    if options.register and (len(options.study) != 1 or options.track != ["mlflow"]):
        raise Problem(
            "--register takes the name of one study, and MLflow: python -m harness.sync STUDY --register RUNG"
        )
    store = Store()
    wrong, counts = dict[str, None](), list[dict[str, Any]]()
    for word in dict.fromkeys(options.track):
        KINDS[word].check()
        more, told = send(KINDS[word], options.study, store)
        wrong |= more
        counts += told
    answer({"studies": counts, "left_out": list(wrong)})
    for line in wrong:
        print(f"harness.sync: left out: {line}", file=sys.stderr)
    if options.register:
        print(register(options.study[0], options.register, store))
    return 1 if wrong else 0


def send(kind: Any, studies: Sequence[str], store: Any) -> tuple[dict[str, None], list[dict[str, Any]]]:
    """What a tracker lacks of `studies`, or of all: what is wrong with records left out, and what was sent of each."""
    from harness import Problem
    from harness.report import known, searched
    from harness.tracking import Projection, told

    wrong, counts = dict[str, None](), list[dict[str, Any]]()
    try:
        remade = kind.ready(thorough=True)
        if remade:
            print(f"harness.sync: {kind.name}'s {remade}; the runs of all studies are sent", file=sys.stderr)
        labels = (not remade and studies) or [*known(), *searched()]
        for label, study, titles, keys in [(label, *named(label, store)) for label in labels]:
            projection = Projection(study, titles, store, " ".join(sys.argv), label, kind)
            sent = 0
            for key in keys:
                try:
                    sent += projection.send(key)
                except Problem as problem:
                    wrong[str(problem)] = None
            counts.append({"label": label, "to": kind.name, "sent": sent, "runs": len(keys)})
            print(f"{label}: {sent} of {len(keys)} runs had news for {kind.where()}")
            projection.sink.close()
    except Problem:
        raise
    except Exception as error:  # a tracker raises what its stores, its servers and the network do
        raise Problem(f"{kind.name} at {kind.where()} does not take them ({told(error)})") from None
    return wrong, counts


def register(label: str, rung: str, store: Any) -> str:
    """Put the network of a rung, of its first seed that is finished, among MLflow's registered models; what was done.

    Raises Problem where there is no such rung, or no run of it.
    """
    from contextlib import suppress

    from harness import Problem, study
    from harness.report import recall, titles
    from harness.spec import parse
    from harness.study.settings import import_parts
    from harness.tracking import Projection

    plan = recall(label)
    found = [each for each in plan["rungs"] if rung in (each["name"], each["title"])]
    if not found:
        raise Problem(f"--register {rung}: no such rung; there are: {', '.join(e['name'] for e in plan['rungs'])}")
    keys = [(found[0]["id"], seed) for seed in found[0]["seeds"]]
    key = next((each for each in keys if each in store and store.read(*each)["status"] == "finished"), None)
    if key is None:
        raise Problem(f"--register {rung}: no run of it is finished")
    import_parts()
    with suppress(Problem):
        study.load(plan["study"])  # its parts may be of modules of its own
    spec = parse(store.forms(*key)["spec"])
    model = spec.model.build(spec.data.channels, store.read(*key)["classes"])
    model.load_state_dict(store.weights(*key))
    sink: Any = Projection(plan["study"], titles(plan), store, " ".join(sys.argv), label).sink
    record = store.read(*key)
    return str(
        sink.register(record.get("record") or record["digest"], model.eval(), f"{plan['study']}-{found[0]['name']}")
    )


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
