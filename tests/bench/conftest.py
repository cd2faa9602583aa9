import pytest

from harness.bench.loop import specification


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def spec():
    return specification("small", "digits", 8, 32)
