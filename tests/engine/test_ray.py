"""A run on a real Ray, where it is installed and a network of one's own is to be had, with nothing but loopback."""

import sys

import pytest
import torch

from harness import Problem
from harness.engine.worker import execute
from harness.store import Store
from tests.engine.test_local import timeless
from tests.kit.rays import isolated
from tests.kit.records import record
from tests.kit.tiny import BASELINE, finish

SPEC = BASELINE.but(epochs=1)
PROGRAM = """
import sys
from harness.engine import Engine
from harness.engine.ray import Ray
from harness.store import Store
from tests.engine.test_ray import SPEC
if __name__ == "__main__":
    store = Store()
    engine = Engine(store, ["cpu"], launcher=Ray(store, 1))
    kinds = [event["kind"] for event in engine.events([(SPEC, 0)])]
    print(kinds)
"""


def test_a_run_that_ray_places_has_the_record_of_one_that_it_does_not(tmp_path):
    done = isolated([sys.executable, "-c", PROGRAM], HARNESS_RUNS=str(tmp_path / "ray"))
    if "--engine ray: no cluster at this machine" in done.stderr:
        pytest.skip(f"Ray is installed and does not start: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['started', 'epoch', 'finished']"
    here, there = Store(tmp_path / "here"), Store(tmp_path / "ray" / "store")
    execute(SPEC, 0, here, torch.device("cpu"))
    assert timeless(there.read(SPEC.id, 0)) == timeless(here.read(SPEC.id, 0))
    assert not (tmp_path / "ray" / "mail").exists()


def test_memory_is_asked_for_as_a_finished_run_took_it(tmp_path):
    from harness.engine.ray import Ray

    store, other = Store(tmp_path), SPEC.but(epochs=2)
    launcher = Ray.__new__(Ray)  # joins nothing
    launcher.store, launcher.orders = store, {1: (SPEC, 1), 2: (other, 0)}
    assert launcher.memory() == 0, "of a first run nobody knows"
    for spec, peak in ((SPEC, 500), (other, 300)):
        made = record(90.0) | {"peak_memory": peak}
        made["environment"]["device"] = "cpu"
        finish(store, spec.id, 0, made)
    assert launcher.memory() == 600
    launcher.orders.pop(1)
    assert launcher.memory() == 360, "of what is ordered"


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch):
    from harness.engine.ray import Ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Problem, match=r"pip install \"ablation-harness\[ray\]\""):
        Ray(Store(tmp_path), 1)
