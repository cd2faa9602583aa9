import shutil

import pytest
import torch

from harness.engine import execute, key
from harness.store import Store
from harness.tracking import Tracker, open_experiment
from tests.faults.served import database
from tests.kit.tiny import tiny_plan


@pytest.fixture(scope="package")
def logged(tmp_path_factory):
    """A plan of one rung and two seeds: seed 0 was in the store before, seed 1 is trained before the tracker's eyes."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(database(), home / "mlflow.db")  # on a busy machine a tracker does not wait until one is made
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store, plan = Store(), tiny_plan()
        runs = plan.runs(["baseline"])
        execute(*runs[0], store, torch.device("cpu"), lambda event: None)
        for again in range(2):
            tracker = Tracker("tiny", plan.names(), store, map(key, runs), f"call {again}")
            if again == 0:
                say = lambda event: tracker.see({**event, "run": runs[1]})  # noqa: E731, B023
                execute(*runs[1], store, torch.device("cpu"), say)
                say({"kind": "finished"})
            assert tracker.close() is None
        client, experiment = open_experiment("tiny")
        found = client.search_runs([experiment])
        yield client, plan, store, found
