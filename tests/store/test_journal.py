import itertools
import json

import pytest

from harness.store.journal import Journal, read


def written(path, count=3):
    journal = Journal(path)
    for n in range(count):
        journal.add("epoch", epoch=n, why="a\nb")
    journal.close()
    return path.read_bytes()


def test_lines_are_json_numbered_and_timed(tmp_path):
    lines = written(tmp_path / "j").decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == [0, 1, 2]
    assert [event["epoch"] for event in events] == [0, 1, 2]
    assert all(0 <= a["after"] <= b["after"] for a, b in itertools.pairwise(events))


def test_every_cut_leaves_the_whole_lines_and_the_next_is_added_to_them(tmp_path):
    data = written(tmp_path / "j")
    whole = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for length in range(len(data) + 1):
        (tmp_path / "j").write_bytes(data[:length])
        kept = sum(end <= length for end in whole)
        assert len(read(tmp_path / "j")[0]) == kept
        journal = Journal(tmp_path / "j")
        journal.add("started")
        journal.close()
        events, damaged, _ = read(tmp_path / "j")
        assert not damaged
        assert [event["seq"] for event in events] == list(range(kept + 1))
        assert events[-1]["event"] == "started"


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_flipped_bit_is_a_damaged_line(tmp_path, at):
    data = bytearray(written(tmp_path / "j"))
    data[at] ^= 4
    (tmp_path / "j").write_bytes(data)
    events, damaged, _ = read(tmp_path / "j")
    assert damaged
    assert damaged[0] == 1
    assert [event["epoch"] for event in events][-2:] == [1, 2]


def test_no_journal_is_an_empty_one(tmp_path):
    assert read(tmp_path / "j") == ([], [], 0)
