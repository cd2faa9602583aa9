import pytest

from harness.store import Store
from tests.kit.stores import add
from tests.kit.tiny import BASELINE


@pytest.fixture
def store(tmp_path, monkeypatch):
    """One finished run, made by hand."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    store = Store()
    add(store, BASELINE, 0)
    return store
