"""How runs stand: list, show, verify."""

import argparse
import time

from harness import one_line
from harness.cli import answer
from harness.store.command import titles


def list_runs(options: argparse.Namespace) -> int:
    from harness.report.words import METRICS
    from harness.store import Store
    from harness.store.care import standing

    store, named = Store(), titles()
    rows = {key: standing(store, key) for key in store}
    answer([{"spec_id": key[0], "seed": key[1], "of": named.get(key[0])} | row for key, row in rows.items()])
    by = {row["by"] for row in rows.values()} - {""}
    several = len(by) > 1  # then each run names its own
    heading = "score" if several else METRICS[next(iter(by), "top1")]
    wide = 7 + max(len(METRICS[name]) for name in by) if several else max(6, len(heading))
    head = f"{'id':16} {'seed':>5} {'state':13} {heading:>{wide}} {'epochs':>6} {'kB':>8} {'last event':16}"
    print(f"{head} study: rung")
    for key, row in rows.items():
        score = "–" if row["score"] is None else f"{row['score']:.2f}"
        score = f"{METRICS[row['by']]} {score}" if several and row["by"] else score
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["time"])) if row["time"] else "–"
        print(
            f"{key[0]:16} {key[1]:5} {row['state']:13} {score:>{wide}} {row['epochs']:6} {row['bytes'] / 1000:8,.0f} "
            f"{when:16} {named.get(key[0], '–')}"
        )
    return 0


def show_run(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.spec import flat
    from harness.store import TRACEBACK, Store
    from harness.store.care import standing, troubles

    store = Store()
    wanted, _, seed = options.which.partition("/")
    keys = [key for key in store if key[0].startswith(wanted) and seed in ("", str(key[1]))]
    if not keys or not wanted:
        raise Problem(f"no run {options.which} in {store.root}: python -m harness.store list")
    if len({key[0] for key in keys}) > 1:
        raise Problem(f"{wanted} begins several ids: {', '.join(dict.fromkeys(key[0] for key in keys))}")
    told = [{"seed": key[1], "folder": store.folder(*key), "wrong": troubles(store, key)} for key in keys]
    answer(
        {"spec_id": keys[0][0], "spec": store.forms(*keys[0])["resolved"]}
        | {"runs": [row | standing(store, key) for row, key in zip(told, keys, strict=True)]}
    )
    for path, value in flat(store.forms(*keys[0])["resolved"]).items():
        print(one_line(f"{path}: {value}", 200))
    for key in keys:
        row = standing(store, key)
        print(f"\nseed {key[1]}: {row['state']}, in {store.folder(*key)}")
        if row["score"] is not None:
            record = store.read(*key)
            shown = {**record["metrics"], "seconds": record["seconds"], "device": record["environment"]["device_name"]}
            text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
            print(one_line(text, 200))
        for event in store.events(*key):
            seconds = float(event.get("after") or 0)
            shown = {k: v for k, v in event.items() if k not in ("seq", "event", "after", "time", "crc")}
            values = ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
            print(f"  {event['seq']:4} {seconds:9.2f} s  {one_line(event['event'], 12):12} {one_line(values, 200)}")
        for line in troubles(store, key):
            print(f"  WRONG: {line}")
        crash = store.folder(*key) / TRACEBACK
        if crash.exists():
            for line in crash.read_text(errors="replace").splitlines():
                print(f"  {' ' * (len(line) - len(line.lstrip()))}{one_line(line, 500)}")
    return 0


def verify(options: argparse.Namespace) -> int:
    from harness.report.words import count
    from harness.store import Store
    from harness.store.care import troubles

    store = Store()
    runs, wrong, lines = 0, 0, list[str]()
    for key in store:
        runs += 1
        found = troubles(store, key)
        wrong += bool(found)
        lines += found
        for line in found:
            print(line)
    answer({"runs": runs, "whole": runs - wrong, "wrong": lines})
    print(f"{count(runs, 'run')}, {runs - wrong:,} whole, {wrong:,} with something wrong")
    return 1 if wrong else 0
