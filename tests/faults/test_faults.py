import pytest

from tests.faults import (  # noqa: F401
    FAULTS,
    beginnings,
    cluster,
    collection,
    leases,
    objects,
    rays,
    search,
    shapes,
    storage,
    transfer,
    world,
)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.quick])
def test_survives(name, tmp_path):
    seen = FAULTS[name].inject(tmp_path, FAULTS[name].quick, 1)
    assert seen.injected >= 1
    assert seen.lost == 0
    assert seen.message
    assert "\n" not in seen.message
