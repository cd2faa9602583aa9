"""What goes and what comes back: gc, rm, restore, free."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from harness import one_line
from harness.cli import answer
from harness.store.command import Key, as_json, of, titles


def collect(options: argparse.Namespace) -> int:
    from harness.paths import runs
    from harness.report import known, plan_path
    from harness.report.words import count
    from harness.store import Store, aside
    from harness.store.garbage import leftovers, remembered, unnamed

    store, ids = Store(), remembered(runs())
    names, shapes = _named_by_studies()
    for label in known():
        if label.partition("@")[0] not in names:
            print(f"{label}: no study here by that name; its runs are kept while {plan_path(label)} is there")
    found, total = _set_aside(store, unnamed(store, ids, shapes), options.delete, "unnamed")
    answer({"runs": as_json(found), "bytes": total, "set_aside": options.delete})
    for path in leftovers(store):
        print(f"{'removed' if options.delete else 'left over'}: {path}")
        if options.delete:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # its process may be at that
    kept = len(list(store)) - (0 if options.delete else len(found))
    moved = "set aside" if options.delete else "to set aside with --delete"
    print(f"{count(len(found), 'run')}, {total / 1e6:,.1f} MB, {moved}; {kept:,} named, in {store.root}")
    _show_aside(list(aside.everything(store)))
    return 0


def remove(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.paths import runs
    from harness.report import folder_of, index, known, label_of, plan_path
    from harness.report.words import count
    from harness.store import Store, aside
    from harness.store.garbage import named_in, remembered, unnamed

    store, study = Store(), label_of(options.study)
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
    if options.delete:
        index.write()
    told = "set aside" if options.delete else "to set aside with --delete"
    reports = sum(path in folders for path, _ in moved)
    kept = f"{count(len(moved) - reports, 'plan')} and {count(reports, 'report')} {told}; {count(shared, 'run')} kept"
    print(f"{count(len(found), 'run')}, {total / 1e6:,.1f} MB, {kept}")
    answer(
        {"studies": labels, "runs": as_json(found), "bytes": total, "stay": shared, "set_aside": options.delete}
        | {"paths": [path for path, _ in moved]}
    )
    return 0


def bring_back(options: argparse.Namespace) -> int:
    from harness import Problem
    from harness.report.words import count
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
    runs = 0
    for one in reversed(found):  # of two records of one run the newer
        assert one.key
        back = aside.bring_back(store, one)
        runs += back
        if not back:
            print(f"left aside: {one.path}, for {one.key[0]}, seed {one.key[1]} is there")
    answer({"runs": runs})
    print(f"{count(runs, 'run')} brought back")
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


def _set_aside(store: Any, keys: list[Key], really: bool, otherwise: str) -> tuple[list[Key], int]:
    """Set runs aside, a line each, or say what they are `otherwise`; those that nobody holds, and their bytes."""
    from harness.store import Held
    from harness.store.care import standing

    done, total, named = list[Key](), 0, titles()
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
        print(f"{'set aside' if really else otherwise}: {key[0]}, seed {key[1]}, {row['state']}{of(named, key)}")
    return done, total


def _show_aside(every: list[Any]) -> None:
    """What lies aside, a line a day, and the commands that bring runs back or free the disk."""
    from harness.report.words import count

    for day in dict.fromkeys(one.day for one in every):
        own = [one for one in every if one.day == day]
        runs, held = sum(one.key is not None for one in own), sum(_held(one.path) for one in own) / 1e6
        back = f"; python -m harness.store restore {day} brings runs back" if runs else ""
        others = "".join(f", {one.path.name}" for one in own if one.key is None)
        print(f"aside since {day}: {count(runs, 'run')}{others}, {held:,.1f} MB{back}")
    if every:
        print(f"python -m harness.store free {max(one.day for one in every)} frees the disk, for good")


def _held(path: Any) -> int:
    """Bytes of a file, or of all below a folder."""
    from harness.store.care import size

    return size(path) if path.is_dir() else int(path.lstat().st_size)


def _named_by_studies(but: str = "") -> tuple[list[str], set[str]]:
    """The studies there are, `but` for one, and the shapes of what they name under every design; says what won't load.

    Of those that an installed package ships, which are not in a folder here, those alone that were run here. No data is
    loaded. What a study that does not load was last seen to name is in the plans that were run.
    """
    from harness import Problem, study
    from harness.report import known
    from harness.spec import shape, upstream
    from harness.stats.designs import DESIGNS

    run = {label.partition("@")[0] for label in known()}
    own = [name for name in study.available() if name in run or Path("experiments", f"{name}.py").is_file()]
    names, shapes = [name for name in own if name != but], set[str]()
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
