import pytest

from harness import Problem
from harness.bench.records import command, records


def test_the_store_and_its_report_are_measured():
    measured = list(records(20))
    assert [row[0] for row in measured] == [20]
    assert all(seconds > 0 for seconds in measured[0][1:])


def test_a_commands_memory_is_its_own():
    ours = bytearray(b"x") * 300_000_000
    took, memory = command("harness.store", "--help")
    assert took > 0
    assert 5_000_000 < memory < len(ours)


def test_a_command_that_fails_says_why():
    with pytest.raises(Problem, match="no study 'none' was run here"):
        command("harness.report", "none")
