"""Runs that travel: export and import by a file, push and pull by an address."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from harness import one_line
from harness.cli import answer
from harness.store.command import Key, as_json, of, titles


def export_runs(options: argparse.Namespace) -> int:
    from harness.report.words import count
    from harness.store import Store, archive

    store = Store()
    runs = archive.export(store, _chosen(store, options.study), options.file)
    answer({"runs": runs, "file": options.file})
    print(f"{count(runs, 'run')} written to {options.file}")
    return 0


def import_runs(options: argparse.Namespace) -> int:
    from harness.report.words import count
    from harness.store import Store, archive

    brought, notes = archive.bring(Store(), options.file)
    answer({"runs": as_json(brought), "notes": notes})
    for note in notes:
        print(note)
    print(f"{count(len(brought), 'run')} imported; the same study finds them, and is not trained again")
    return 0


def push_runs(options: argparse.Namespace) -> int:
    from harness.store import Store, remote
    from harness.store.address import Address

    store, address = Store(), Address(options.url)
    return _told(remote.push(store, _chosen(store, options.study), address), "sent to", address.shown)


def pull_runs(options: argparse.Namespace) -> int:
    from harness.store import Store, remote
    from harness.store.address import Address

    address = Address(options.url)
    return _told(remote.pull(Store(), address), "brought from", address.shown)


def _chosen(store: Any, labels: list[str]) -> dict[Key, None]:
    """The runs of these studies; of none, every run."""
    from harness.report import asked, recall

    return dict.fromkeys([key for label in labels for key in asked(recall(label))] if labels else store)


def _told(moves: Iterable[Any], did: str, shown: str) -> int:
    """A line for each run as it comes over, or does not, and their number; 1 where a run is damaged or another."""
    from harness.report.words import count

    named, began = titles(), time.monotonic()
    how, total = Counter[str](), 0
    for one in moves:
        how[one.how] += 1
        total += one.bytes
        if one.how == "moved":
            name = f"{one.key[0]}, seed {one.key[1]}{of(named, one.key)}"
            pace = f"{total / 1e6:,.1f} MB in {time.monotonic() - began:,.0f} s"
            print(f"[{how.total()}/{one.of}] {name}: {did} {shown}; {pace}", file=sys.stderr)
        elif one.note:
            print(one_line(one.note, 1000))
    there = f"{how['there']:,} here and there already, {how.total() - how['moved'] - how['there']:,} left out"
    answer({"address": shown, "bytes": total} | how)
    print(f"{count(how['moved'], 'run')} {did} {shown}, {total / 1e6:,.1f} MB; {there}")
    return 1 if how["damaged"] or how["different"] else 0
