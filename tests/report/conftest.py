import pytest

from harness.store import Store
from tests.kit.records import record
from tests.kit.tiny import finish


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")

    def add(rung, seed, *args, **kwargs):
        finish(store, rung, seed, record(*args, **kwargs))

    store.add = add
    return store


@pytest.fixture
def full(store):
    for seed, (a, b, c) in enumerate([(90.0, 92.0, 91.0), (91.0, 92.0, 93.0), (92.0, 95.0, 92.5)]):
        store.add("baseline", seed, a)
        store.add("one", seed, b)
        store.add("two", seed, c, epochs=3, emulated=True)
    return store
