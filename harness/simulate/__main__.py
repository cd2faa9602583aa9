"""`python -m harness.simulate STUDY --gpus 8 64`: how long a study would take on so many GPUs. It trains nothing."""

import argparse
import sys
from collections.abc import Sequence
from math import inf
from typing import Any

from harness import Problem, planned
from harness.cli import answer, main


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.simulate",
        description="Simulate how long all runs of a study take on other numbers of GPUs, by the real scheduler, "
        "beside the least that any order could take. It trains nothing.",
        epilog="A run takes what runs of its specification took, by their records, else what a trial on this machine "
        "says, else --hours. Cost is that of all GPUs, until the last run has ended.",
    )
    planned.add(p, study="digits")
    p.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], metavar="N", help="a row each (default: 1 8 64)")
    p.add_argument("--hours", type=float, metavar="H", help="of each run, instead of what records and trials say")
    p.add_argument("--mtbf", type=float, default=inf, metavar="H", help="mean hours between deaths of a GPU's process")
    p.add_argument("--preempt", type=float, default=inf, metavar="H", help="mean hours until a GPU is taken from a run")
    p.add_argument(
        "--stragglers", type=float, default=0.0, metavar="SHARE", help="this share of the runs takes twice as long"
    )
    p.add_argument(
        "--checkpoint", type=float, default=60.0, metavar="S", help="seconds between checkpoints (default: 60)"
    )
    p.add_argument("--draw", type=int, default=0, metavar="N", help="another draw of what goes wrong (default: 0)")
    p.add_argument("--price", type=float, metavar="P", help="of a GPU for an hour: adds the cost")
    p.add_argument("--by-order", action="store_true", help="a row for each order in which runs could be offered")
    p.add_argument(
        "--check", action="store_true", help="instead: runs that sleep, simulated and real, on 2, 4, 8 workers"
    )
    return p


def run(options: argparse.Namespace) -> None:
    if options.check:
        from harness.simulate.check import show_check

        return show_check()
    refuse(options)
    rows = simulated(options)
    answer(rows)
    print(table(rows, options.price is not None))


def refuse(options: argparse.Namespace) -> None:
    """Raise Problem where a number will not do."""
    planned.check(options)
    for name in ("hours", "mtbf", "preempt", "checkpoint"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Problem(f"--{name} {value:g}: must be above 0")
    if options.hours == inf or options.checkpoint == inf:
        raise Problem("--hours and --checkpoint must be finite")
    for gpus in options.gpus:
        if gpus < 1:
            raise Problem(f"--gpus {gpus}: must be at least 1")
    if not 0 <= options.stragglers <= 1:
        raise Problem(f"--stragglers {options.stragglers:g}: must be a share from 0 to 1")
    if options.draw < 0:
        raise Problem(f"--draw {options.draw}: must be 0 or more")
    if options.price is not None and not 0 <= options.price < inf:
        raise Problem(f"--price {options.price:g}: must be 0 or more")


def simulated(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of GPUs, and for each order where those are asked for."""
    from harness import study
    from harness.simulate.cluster import Cluster, Weather, work
    from harness.simulate.orders import ORDERS

    plan = planned.plan(options, study.load(options.study))
    runs = plan.runs()
    seconds = {spec.id: 3600 * options.hours for spec, _ in runs} if options.hours else lengths(options.study, runs)
    weather = Weather(3600 * options.mtbf, 3600 * options.preempt, options.stragglers, options.checkpoint, options.draw)
    taken = work(runs, seconds, weather)
    orders = ORDERS if options.by_order else {"as planned": ORDERS["as planned"]}
    rows = []
    for gpus in options.gpus:
        for name, order in orders.items():
            outcome = Cluster(gpus, taken, weather).train(order(runs, taken))
            row = {"study": plan.label, "runs": len(runs), "order": name, **vars(outcome)}
            row |= {"held": outcome.held, "idle": outcome.idle}
            rows.append(row | ({"cost": options.price * outcome.held / 3600} if options.price is not None else {}))
    return rows


def lengths(name: str, runs: Sequence[Any]) -> dict[str, float]:
    """Seconds that a run of each specification takes, by records, else by a trial on this machine."""
    import torch

    from harness.engine import decoders, places
    from harness.store import Store
    from harness.study.costs import Market

    def say(text: str) -> None:
        print(f"{name}: {text}", file=sys.stderr, flush=True)

    device = torch.device(places(None, 1)[0])
    prices = Market(Store(), device, 1, decoders(1), say).prices(spec for spec, _ in runs)
    measured = sum(price.seconds_by == "records" for price in prices.values())
    say(f"lengths of {measured} of {len(prices)} specifications are by records, on {device.type}; others by trial")
    return {at: price.seconds for at, price in prices.items()}


def table(rows: Sequence[dict[str, Any]], priced: bool) -> str:
    from harness.study.shown import hours, span

    several = len({row["order"] for row in rows}) > 1
    went_wrong = {name: any(row[name] for row in rows) for name in ("deaths", "preempted", "failed")}
    lines = []
    for row in rows:
        over = f"{row['makespan'] / row['bound']:.3f}" if row["bound"] else ""
        cells = {"GPUs": f"{row['gpus']:,}"} | ({"order": row["order"]} if several else {})
        cells |= {"makespan": span(row["makespan"]), "/ bound": over, "idle": f"{row['idle']:.1%}"}
        cells |= {"GPU-hours held": hours(row["held"]), "trained": hours(row["trained"]), "twice": hours(row["wasted"])}
        cells |= {"cost": f"{row['cost']:,.2f}"} if priced else {}
        lines.append(cells | {name: f"{row[name]:,}" for name, any_ in went_wrong.items() if any_})
    wide = {name: max(len(name), *(len(line[name]) for line in lines)) for name in lines[0]}
    every = [dict(zip(wide, wide, strict=True)), *lines]
    text = ["  ".join(f"{line[name]:>{wide[name]}}" for name in wide) for line in every]
    return "\n".join([f"{rows[0]['study']}: all {rows[0]['runs']:,} runs", *text])


if __name__ == "__main__":
    main(parser(), run)
