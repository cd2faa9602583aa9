import os
import shutil
from types import SimpleNamespace

import pytest

from harness.store import Store
from harness.study import describe, plan
from harness.study.costs import Market, estimate
from tests.kit.prices import PRICE, quiet
from tests.kit.tiny import STUDY


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def priced(store, monkeypatch):
    """A plan whose every run costs 100 s, 3 GB, 5 MB of weights, and 20 MB a checkpoint."""
    monkeypatch.setattr(Market, "prices", lambda self, specs: {spec.id: PRICE for spec in specs})

    def run(places, free=10**12, there=10**12, study=STUDY):
        made = plan(study)
        asked = made.runs()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        monkeypatch.setattr(os, "sysconf", lambda name: there if name == "SC_PHYS_PAGES" else 1)
        return describe(made, store) | estimate(asked, store, places, 1, quiet)

    return run
