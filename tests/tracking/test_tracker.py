import importlib

import pytest

from harness.store import Store
from harness.tracking import Tracker, ui_command
from tests.kit.tiny import tiny_plan


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (
            "http://me:se@cret@127.0.0.1:9",
            "MLflow at http://me:***@127.0.0.1:9 lacks runs (MlflowException: API request",
        ),
        ("http://me:se/cret@127.0.0.1:9", "MLflow at http://me:***@127.0.0.1:9 lacks runs ("),
        (
            "postgrsql://me:cret@db/m",
            "(MLFLOW_TRACKING_URI=postgrsql://me:***@db/m: is no address that MLflow knows, as ",
        ),
        ("postgresql://me:cret@db:x/m", "(MLFLOW_TRACKING_URI=postgresql://me:***@db:x/m: is no address that MLflow"),
        ("mysql+nosuch://me:cret@db/m", "(MLFLOW_TRACKING_URI=mysql+nosuch://me:***@db/m: is no address that MLflow"),
        ("mssql+pyodbc://me:cret@db/m", "MLFLOW_TRACKING_URI=mssql+pyodbc://me:***@db/m: its driver is missing (Mod"),
    ],
)
def test_an_address_of_no_use_is_one_line_and_loses_nothing(tmp_path, monkeypatch, capfd, address, says):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    importlib.import_module("mlflow")  # its seconds are not of the patience below
    plan, store = tiny_plan(), Store()
    tracker = Tracker("tiny", plan.names(), store, [], "call")
    tracker.see({"kind": "started", "run": (plan.rungs[0].spec, 0)})
    trouble = tracker.close(patience=4)
    assert trouble is not None
    assert says in trouble
    assert "the store has them all: python -m harness.sync sends them" in trouble
    assert "\n" not in trouble
    assert "cret" not in trouble + ui_command() + "".join(capfd.readouterr())
