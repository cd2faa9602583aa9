"""`python -m harness.store`: look after the run records."""

import argparse
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.cli import main
from harness.paths import expanded

Key = tuple[str, int]


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
    gc = add("gc", collect, "show what no study in experiments/ names, and with --delete remove it")
    gc.add_argument("--delete", action="store_true", help="remove it")
    export = add("export", export_runs, "write finished runs, and all that proves them, to one file")
    export.add_argument("file", type=expanded)
    export.add_argument("study", nargs="*", help="studies that were run here (default: every run)")
    bring = add("import", import_runs, "add the runs of such a file that are not here")
    bring.add_argument("file", type=expanded)
    return p


def list_runs(options: argparse.Namespace) -> int:
    from harness.store import Store
    from harness.store.care import standing

    store, titles = Store(), _titles()
    print(f"{'id':16} {'seed':>5} {'state':13} {'top-1':>6} {'epochs':>6} {'kB':>8} {'last event':16} study: rung")
    for key in store:
        row = standing(store, key)
        top1 = "–" if row["top1"] is None else f"{row['top1']:.2f}"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["time"])) if row["time"] else "–"
        print(
            f"{key[0]:16} {key[1]:5} {row['state']:13} {top1:>6} {row['epochs']:6} {row['bytes'] / 1000:8,.0f} "
            f"{when:16} {titles.get(key[0], '–')}"
        )
    return 0


def show_run(options: argparse.Namespace) -> int:
    from harness import Problem, one_line
    from harness.spec import flat
    from harness.store import Store
    from harness.store.care import standing, troubles

    store = Store()
    wanted, _, seed = options.which.partition("/")
    keys = [key for key in store if key[0].startswith(wanted) and seed in ("", str(key[1]))]
    if not keys or not wanted:
        raise Problem(f"no run {options.which} in {store.root}: python -m harness.store list")
    if len({key[0] for key in keys}) > 1:
        raise Problem(f"{wanted} begins several ids: {', '.join(dict.fromkeys(key[0] for key in keys))}")
    for path, value in flat(store.forms(*keys[0])["resolved"]).items():
        print(one_line(f"{path}: {value}", 200))
    for key in keys:
        row = standing(store, key)
        print(f"\nseed {key[1]}: {row['state']}, in {store.folder(*key)}")
        if row["top1"] is not None:
            record = store.read(*key)
            told = {**record["metrics"], "seconds": record["seconds"], "device": record["environment"]["device_name"]}
            text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())
            print(one_line(text, 200))
        for event in store.events(*key):
            seconds = float(event.get("after", 0))
            shown = {k: v for k, v in event.items() if k not in ("seq", "event", "after", "time", "crc")}
            values = ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
            print(f"  {event['seq']:4} {seconds:9.2f} s  {one_line(event['event'], 12):12} {one_line(values, 200)}")
        for line in troubles(store, key):
            print(f"  WRONG: {line}")
    return 0


def verify(options: argparse.Namespace) -> int:
    from harness.store import Store
    from harness.store.care import troubles

    store = Store()
    count = wrong = 0
    for key in store:
        count += 1
        found = troubles(store, key)
        wrong += bool(found)
        for line in found:
            print(line)
    print(f"{count:,} runs, {count - wrong:,} whole, {wrong:,} with something wrong")
    return 1 if wrong else 0


def collect(options: argparse.Namespace) -> int:
    from harness import Problem, study
    from harness.report import known, plan_path
    from harness.spec import shape, upstream
    from harness.store import Store
    from harness.store.care import leftovers, remove, size, standing, unnamed

    names = list(study.available()) if Path("experiments").is_dir() else []
    if not names:
        raise Problem("no experiments/ with studies here: run this where yours are; nothing was removed")
    elsewhere = [label for label in known() if label.partition("@")[0] not in names]
    if elsewhere:
        gone = f"remove {plan_path(elsewhere[0])} if that study is gone for good"
        raise Problem(f"{elsewhere[0]} was run, and is not in experiments/ here: {gone}; nothing was removed")
    try:
        rungs = [rung.spec for name in names for rung in study.plan(study.load(name)).rungs]
    except Problem as problem:
        raise Problem(f"{problem}; so what it names is unknown, and nothing was removed") from None
    store = Store()
    shapes = {shape(spec) for rung in rungs for spec in (*upstream(rung), rung)}
    total, titles = 0, _titles()
    verb = "removed" if options.delete else "would remove"
    for key in list(unnamed(store, shapes)):
        row = standing(store, key)
        print(f"{verb} {key[0]}, seed {key[1]}: {row['state']}, {titles.get(key[0], 'of no study that was run here')}")
        total += row["bytes"]
        if options.delete:
            remove(store, key)
    for path in leftovers(store):
        print(f"{verb} {path}")
        total += size(path) if path.is_dir() else path.stat().st_size
        if options.delete:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept = len(list(store))
    print(
        f"{total / 1e6:,.1f} MB {'freed' if options.delete else 'to free with --delete'}; {kept:,} runs in {store.root}"
    )
    return 0


def export_runs(options: argparse.Namespace) -> int:
    from harness.report import asked, recall
    from harness.store import Store, archive

    store = Store()
    keys = [key for label in options.study for key in asked(recall(label))] if options.study else list(store)
    count = archive.export(store, dict.fromkeys(keys), options.file)
    print(f"{count} runs written to {options.file}")
    return 0


def import_runs(options: argparse.Namespace) -> int:
    from harness.store import Store, archive

    brought, notes = archive.bring(Store(), options.file)
    for note in notes:
        print(note)
    print(f"{len(brought)} runs imported; the same study finds them, and is not trained again")
    return 0


def _titles() -> dict[str, str]:
    """ "study: rung" of each specification that a study run here names."""
    from harness import Problem, one_line
    from harness.report import known, recall, titles

    named: dict[str, str] = {}
    for label in known():
        with suppress(Problem):  # a damaged plan names nothing
            for spec_id, title in titles(recall(label)).items():
                named.setdefault(spec_id, one_line(f"{label}: {title}"))
    return named


if __name__ == "__main__":
    main(parser(), lambda options: options.run(options))
