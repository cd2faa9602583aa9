"""Garbage collected from stores in every state: what anything names stays, and nothing is lost."""

import argparse
import io
import json
import multiprocessing
import os
import random
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from unittest import mock

import torch

from harness.spec import Spec, plain, resolved, shape
from harness.store import Store
from harness.store.aside import bring_back, everything
from harness.store.care import Key
from harness.store.command import removed
from tests.faults.storage import one_line
from tests.faults.victim import SPEC
from tests.faults.world import each
from tests.kit.tiny import BASELINE, RESULT

STATES = (
    "finished",
    "killed",
    "failed",
    "refused",
    "without its spec",
    "with half a spec",
    "with half a result",
    "held",
)
NAMES = ("plan", "damaged plan", "tuned plan", "search", "journal of a search", "study", "student", "nothing")
Files = dict[Key, dict[str, bytes]]


def made(store: Store, spec: Spec, state: str, held: ExitStack) -> Key:
    """A run in that state, by hand."""
    key = spec.id, 0
    with store.claim(*key) as claim:
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        if state == "failed":
            claim.note("failed", why="it did")
        elif state not in ("killed", "held"):
            status = "refused" if state == "refused" else "finished"
            claim.finish(RESULT | {"status": status}, {"w": torch.zeros(3)})
    folder = store.folder(*key)
    for name in ("spec.json", "result.json"):
        if state == f"with half a {name[:-5]}":
            path = folder / name
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if state == "without its spec":
        (folder / "spec.json").unlink()
    if state == "held":
        held.enter_context(store.claim(*key))
    return key


def name(runs: Path, key: Key, how: str) -> None:
    """Have something name a run."""
    plan = json.dumps({"label": how, "rungs": [{"id": key[0]}]})
    match how:
        case "plan":
            text, path = plan, runs / "studies" / f"p{key[0]}.json"
        case "damaged plan":
            text, path = plan[:-3], runs / "studies" / f"d{key[0]}.json"
        case "tuned plan":
            text, path = json.dumps({"tuned": {"untuned": json.loads(plan)}}), runs / "studies" / f"t{key[0]}.json"
        case "search":
            text, path = f"{key[0]}\n", runs / "searches" / f"{key[0]}.specs"
        case "journal of a search":
            text, path = json.dumps({"user_attr": {"spec": key[0]}}), runs / "searches" / f"{key[0]}.log"
        case _:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def collect(folder: Path, shapes: set[str]) -> str:
    """`harness.store gc --delete` there, in this process."""
    said = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"HARNESS_RUNS": str(folder)}),
        mock.patch.object(removed, "_named_by_studies", return_value=(["own"], shapes)),
        redirect_stdout(said),
    ):
        removed.collect(argparse.Namespace(delete=True))
    return said.getvalue()


def files(folder: Path) -> dict[str, bytes]:
    """Of a run's folder, but for claims, also those half written."""
    names = "claim", "beat-", ".claim-"
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(names)}


def filled(folder: Path, rng: random.Random, held: ExitStack) -> tuple[Store, Files, set[Key], set[str]]:
    """A store of runs in drawn states, the files of each, those that must stay, and shapes that a study names."""
    store = Store(folder / "store")
    runs: Files = {}
    stay, shapes = set[Key](), set[str]()
    for number in range(12):
        spec = BASELINE.but(epochs=100 + number)
        state, how = rng.choice(STATES), rng.choice(NAMES)
        key = made(store, spec, state, held)
        if how == "student":  # what it builds on is named by it alone
            student = spec.but(teacher=(SPEC.teacher[0].but(spec=spec),), epochs=200 + number)
            name(folder, made(store, student, "finished", held), "plan")
            runs[student.id, 0] = files(store.folder(student.id, 0))
            stay.add((student.id, 0))
        name(folder, key, how)
        if how == "study" and state != "without its spec":
            shapes.add(shape(spec))
        runs[key] = files(store.folder(*key))
        lost = state == "without its spec" and how in ("nothing", "study")  # nothing tells what it was
        if (how != "nothing" and not lost) or state in ("held", "with half a spec"):
            stay.add(key)
    return store, runs, stay, shapes


def checked(store: Store, runs: Files) -> None:
    """Every run is whole, here or aside; and all can be brought back."""
    asides = {one.key: one for one in everything(store)}
    assert {*store, *asides} == set(runs)
    for key, before in runs.items():
        after = files(asides[key].path if key in asides else store.folder(*key))
        assert after == before, (key, key in asides, set(after) ^ set(before))
    assert all(bring_back(store, one) for one in asides.values())
    assert set(store) == set(runs)
    assert all(files(store.folder(*key)) == before for key, before in runs.items())


@each(quick=3, full=200)
def gc_in_every_state_of_a_store(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """What is named, held or damaged stays; all else is aside, whole, and comes back as it was."""
    with ExitStack() as held:
        store, runs, stay, shapes = filled(folder, rng, held)
        said = collect(folder, shapes)
        assert set(store) == stay, (set(store) ^ stay, said)
        checked(store, runs)
    return 0, one_line(said.splitlines()[-1])


@each(quick=1, full=40)
def gc_killed_at_any_moment(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Each run is here or aside, never between."""
    with ExitStack() as held:
        store, runs, _, shapes = filled(folder, rng, held)
        process = multiprocessing.get_context("fork").Process(target=collect, args=(folder, shapes))
        process.start()
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        checked(store, runs)
    return 0, "nothing to say: the same command goes on"
