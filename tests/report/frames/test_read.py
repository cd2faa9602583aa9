import gc

import pytest

from harness.report import frames
from tests.kit.records import plan
from tests.kit.tiny import known


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(full, collects):
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        assert len(frames.runs(plan(), full)) == 9
        assert gc.isenabled() == collects
        (full.folder(known("two"), 1) / "result.json").write_text("{")
        assert len(frames.runs(plan(), full)) == 8
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()
