import pytest

from harness.spec import sources
from tests.search.here import Fake


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def own(monkeypatch):
    """The digests of a user's parts, to be set."""
    made = {}
    monkeypatch.setattr(sources, "of", lambda spec: dict(made))
    monkeypatch.setattr(sources, "digest", made.get)
    return made
