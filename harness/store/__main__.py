"""`python -m harness.store`: look after the run records."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from harness import one_line
from harness.cli import answer, main
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
    gc = add("gc", collect, "show the runs that no study, no plan run here and no search names")
    gc.add_argument("--delete", action="store_true", help="set them aside, from where they can be brought back")
    rm = add("rm", remove, "show a study's plans, its reports, and the runs that no other study needs")
    rm.description = (
        f"{rm.description} Of a name without @ all its designs and settings are meant. Searches of it, and what they "
        "name, stay; so do MLflow's runs."
    )
    rm.add_argument("study", metavar="STUDY", help="as list shows it: digits, or digits@shapley alone")
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


def list_runs(options: argparse.Namespace) -> int:
    from harness.report.words import METRICS
    from harness.store import Store
    from harness.store.care import standing

    store, titles = Store(), _titles()
    rows = {key: standing(store, key) for key in store}
    answer([{"spec_id": key[0], "seed": key[1], "of": titles.get(key[0])} | row for key, row in rows.items()])
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
            f"{when:16} {titles.get(key[0], '–')}"
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
    from harness.store import Store
    from harness.store.care import troubles

    store = Store()
    count, wrong, lines = 0, 0, list[str]()
    for key in store:
        count += 1
        found = troubles(store, key)
        wrong += bool(found)
        lines += found
        for line in found:
            print(line)
    answer({"runs": count, "whole": count - wrong, "wrong": lines})
    print(f"{count:,} runs, {count - wrong:,} whole, {wrong:,} with something wrong")
    return 1 if wrong else 0


def collect(options: argparse.Namespace) -> int:
    from harness.paths import runs
    from harness.report import known, plan_path
    from harness.store import Store, aside
    from harness.store.garbage import leftovers, remembered, unnamed

    store, ids = Store(), remembered(runs())
    names, shapes = _named_by_studies()
    for label in known():
        if label.partition("@")[0] not in names:
            print(f"{label}: no study here by that name; its runs are kept while {plan_path(label)} is there")
    found, total = _set_aside(store, unnamed(store, ids, shapes), options.delete, "unnamed")
    answer({"runs": _keys(found), "bytes": total, "set_aside": options.delete})
    for path in leftovers(store):
        print(f"{'removed' if options.delete else 'left over'}: {path}")
        if options.delete:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # its process may be at that
    kept = len(list(store)) - (0 if options.delete else len(found))
    moved = "set aside" if options.delete else "to set aside with --delete"
    print(f"{len(found):,} runs, {total / 1e6:,.1f} MB, {moved}; {kept:,} runs are named, in {store.root}")
    _show_aside(list(aside.everything(store)))
    return 0


def _set_aside(store: Any, keys: list[Key], really: bool, otherwise: str) -> tuple[list[Key], int]:
    """Set runs aside, a line each, or say what they are `otherwise`; those that nobody holds, and their bytes."""
    from harness.store import Held
    from harness.store.care import standing

    done, total, titles = list[Key](), 0, _titles()
    for key in keys:
        row = standing(store, key)
        try:
            if really:
                store.set_aside(*key)
        except Held as held:
            print(f"left: {key[0]}, seed {key[1]}, {held}")
            continue
        done.append(key)
        total += row["bytes"]
        print(f"{'set aside' if really else otherwise}: {key[0]}, seed {key[1]}, {row['state']}{_of(titles, key)}")
    return done, total


def _keys(keys: Iterable[Key]) -> list[dict[str, Any]]:
    return [{"spec_id": key[0], "seed": key[1]} for key in keys]


def remove(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.paths import runs
    from harness.report import folder_of, known, plan_path
    from harness.store import Store, aside
    from harness.store.garbage import named_in, remembered, unnamed

    store, study = Store(), options.study
    labels = [label for label in known() if study in (label, label.partition("@")[0])]
    if not labels:
        raise Problem(f"{one_line(study)}: no such study was run here; there are: {', '.join(known()) or 'none'}")
    plans = {plan_path(label): f"{label}.plan.json" for label in labels}
    folders = {folder_of({"label": label}): f"{label}.report" for label in labels}
    own, others = named_in(plans), remembered(runs(), but=plans)
    _, shapes = _named_by_studies(but=study)
    alone = [key for key in unnamed(store, others, shapes) if key[0] in own]
    shared = sum(key[0] in own for key in store) - len(alone)
    found, total = _set_aside(store, alone, options.delete, "of this study alone")
    moved = [(path, name) for path, name in (*folders.items(), *plans.items()) if path.exists()]
    for path, name in moved:
        print(f"set aside: {aside.put(store, path, name)}" if options.delete else f"to set aside: {path}")
    told = "set aside" if options.delete else "to set aside with --delete"
    print(
        f"{len(found):,} runs, {total / 1e6:,.1f} MB, and {len(moved)} plans and reports {told}; {shared:,} runs stay"
    )
    answer(
        {"studies": labels, "runs": _keys(found), "bytes": total, "stay": shared, "set_aside": options.delete}
        | {"paths": [path for path, _ in moved]}
    )
    return 0


def _show_aside(every: list[Any]) -> None:
    """What lies aside, a line a day, and the commands that bring runs back or free the disk."""
    for day in dict.fromkeys(one.day for one in every):
        own = [one for one in every if one.day == day]
        runs = sum(one.key is not None for one in own)
        back = f"; python -m harness.store restore {day} brings runs back" if runs else ""
        others = "".join(f", {one.path.name}" for one in own if one.key is None)
        print(f"aside since {day}: {runs:,} runs{others}, {sum(_held(one.path) for one in own) / 1e6:,.1f} MB{back}")
    if every:
        print(f"python -m harness.store free {max(one.day for one in every)} frees the disk, for good")


def _held(path: Any) -> int:
    """Bytes of a file, or of all below a folder."""
    from harness.store.care import size

    return size(path) if path.is_dir() else int(path.lstat().st_size)


def _of(titles: dict[str, str], key: Key) -> str:
    return f", {titles[key[0]]}" if key[0] in titles else ""


def _named_by_studies(but: str = "") -> tuple[list[str], set[str]]:
    """The studies there are, `but` for one, and the shapes of what they name under every design; says what won't load.

    No data is loaded. What a study that does not load was last seen to name is in the plans that were run.
    """
    from harness import Problem, study
    from harness.spec import shape, upstream
    from harness.stats.designs import DESIGNS

    names, shapes = [name for name in study.available() if name != but], set[str]()
    for name in names:
        for design in DESIGNS:
            try:
                rungs = study.plan(study.load(name), design=design).rungs
            except Problem as problem:
                if design == "ladder":  # the others are not for every study
                    print(f"{name} does not load, so what it was last seen to name is kept: {problem}")
                continue
            shapes |= {shape(spec) for rung in rungs for spec in (*upstream(rung.spec), rung.spec)}
    return names, shapes


def bring_back(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.store import Store, aside

    store, wanted = Store(), str(options.which)
    spec_id, _, seed = wanted.partition("/")
    found = [
        one
        for one in aside.everything(store)
        if one.key and (one.day == wanted or (one.key[0] == spec_id and seed in ("", str(one.key[1]))))
    ]
    if not found:
        raise Problem(f"{wanted}: no such day, and no such run, in {store.root.parent / 'aside'}")
    count = 0
    for one in reversed(found):  # of two records of one run the newer
        assert one.key
        back = aside.bring_back(store, one)
        count += back
        if not back:
            print(f"left aside: {one.path}, for {one.key[0]}, seed {one.key[1]} is there")
    answer({"runs": count})
    print(f"{count:,} runs brought back")
    return 0


def free_aside(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.store import Store, aside

    store, day = Store(), aside.a_day(options.day)
    found = [one for one in aside.everything(store) if one.day <= day]
    if not found:
        raise Problem(f"nothing was set aside on {day} or before: python -m harness.store gc shows what there is")
    total = 0
    for one in found:
        total += _held(one.path)
        aside.free(one, store)
        print(f"removed: {one.path}")
    answer({"bytes": total})
    print(f"{total / 1e6:,.1f} MB freed")
    return 0


def _chosen(store: Any, labels: list[str]) -> dict[Key, None]:
    """The runs of these studies; of none, every run."""
    from harness.report import asked, recall

    return dict.fromkeys([key for label in labels for key in asked(recall(label))] if labels else store)


def export_runs(options: argparse.Namespace) -> int:
    from harness.store import Store, archive

    store = Store()
    count = archive.export(store, _chosen(store, options.study), options.file)
    answer({"runs": count, "file": options.file})
    print(f"{count} runs written to {options.file}")
    return 0


def import_runs(options: argparse.Namespace) -> int:
    from harness.store import Store, archive

    brought, notes = archive.bring(Store(), options.file)
    answer({"runs": _keys(brought), "notes": notes})
    for note in notes:
        print(note)
    print(f"{len(brought)} runs imported; the same study finds them, and is not trained again")
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


def _told(moves: Iterable[Any], did: str, shown: str) -> int:
    """A line for each run as it comes over, or does not, and their number; 1 where a run is damaged or another."""
    titles, began = _titles(), time.monotonic()
    count, total = Counter[str](), 0
    for one in moves:
        count[one.how] += 1
        total += one.bytes
        if one.how == "moved":
            name = f"{one.key[0]}, seed {one.key[1]}{_of(titles, one.key)}"
            pace = f"{total / 1e6:,.1f} MB in {time.monotonic() - began:,.0f} s"
            print(f"[{count.total()}/{one.of}] {name}: {did} {shown}; {pace}", file=sys.stderr)
        elif one.note:
            print(one_line(one.note, 1000))
    there = f"{count['there']:,} here and there already, {count.total() - count['moved'] - count['there']:,} left out"
    answer({"address": shown, "bytes": total} | count)
    print(f"{count['moved']:,} runs {did} {shown}, {total / 1e6:,.1f} MB; {there}")
    return 1 if count["damaged"] or count["different"] else 0


def _titles() -> dict[str, str]:
    """ "study: rung" of each specification that a study run here names."""
    from harness import Problem
    from harness.report import known, recall, titles

    named: dict[str, str] = {}
    for label in known():
        with suppress(Problem):  # a damaged plan names nothing
            for spec_id, title in titles(recall(label)).items():
                named.setdefault(spec_id, one_line(f"{label}: {title}"))
    return named


if __name__ == "__main__":
    main(parser(), lambda options: options.run(options))
