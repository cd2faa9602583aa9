import itertools
import json

import pytest

from harness.store import journal
from harness.store.journal import Journal, Part, events, read


def written(folder, count=3, attempt=1):
    journal = Journal(folder, attempt)
    for n in range(count):
        journal.add("epoch", epoch=n, why="a\nb")
    journal.close()
    return journal.path.read_bytes()


def test_lines_are_json_numbered_and_timed(tmp_path):
    lines = written(tmp_path).decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == [0, 1, 2]
    assert [event["epoch"] for event in events] == [0, 1, 2]
    assert all(0 <= a["after"] <= b["after"] for a, b in itertools.pairwise(events))


def test_every_cut_leaves_the_whole_lines_and_the_next_attempt_adds_to_them(tmp_path):
    data = written(tmp_path)
    whole = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for length in range(len(data) + 1):
        (tmp_path / "journal-1.jsonl").write_bytes(data[:length])
        (tmp_path / "journal-2.jsonl").unlink(missing_ok=True)
        kept = sum(end <= length for end in whole)
        assert len(read(tmp_path / "journal-1.jsonl").lines) == kept
        written(tmp_path, 1, attempt=2)
        assert [event["seq"] for event in events(tmp_path)] == list(range(kept + 1))
        assert (tmp_path / "journal-1.jsonl").read_bytes() == data[:length], "it is another process's"


def test_what_an_attempt_adds_after_the_next_has_begun_does_not_count(tmp_path):
    late = Journal(tmp_path, 1)
    late.add("started")
    written(tmp_path, 2, attempt=2)
    for _ in range(4):
        late.add("failed")
    late.close()
    assert [(e["seq"], e["event"]) for e in events(tmp_path)] == [(0, "started"), (1, "epoch"), (2, "epoch")]
    written(tmp_path, 1, attempt=10)
    assert [e["seq"] for e in events(tmp_path)] == [0, 1, 2, 3], "10 comes after 2"


def test_a_journal_of_before_attempts_is_the_first(tmp_path):
    written(tmp_path)
    (tmp_path / "journal-1.jsonl").rename(tmp_path / "journal.jsonl")
    old = (tmp_path / "journal.jsonl").read_bytes()
    assert len(events(tmp_path)) == 3
    written(tmp_path, 2, attempt=1)
    assert [e["seq"] for e in events(tmp_path)] == [0, 1, 2, 3, 4]
    assert (tmp_path / "journal.jsonl").read_bytes() == old


def test_a_merge_that_is_killed_at_any_point_tells_nothing_twice(tmp_path, monkeypatch):
    """Journals of four attempts, of which the third came to the result and the fourth was too late."""
    for attempt in (1, 2):
        written(tmp_path, 2, attempt)
    third = Journal(tmp_path, 3)
    third.add("finished", digest="d" * 64)
    third.close()
    told = events(tmp_path)
    assert len(told) == 5
    written(tmp_path, 1, attempt=4)
    unlinked, unlink = [], type(tmp_path).unlink

    def watched(path, **how):
        assert [e for e in events(tmp_path) if e["seq"] < len(told)] == told
        unlinked.append(path.name)
        unlink(path, **how)

    monkeypatch.setattr(type(tmp_path), "unlink", watched)
    journal.merge(tmp_path, "d" * 64)
    assert unlinked == [f"journal-{n}.jsonl" for n in (1, 2, 3, 4)]
    assert events(tmp_path) == told
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]


def test_a_merge_keeps_what_is_damaged(tmp_path):
    data = bytearray(written(tmp_path))
    data[-20] ^= 4
    (tmp_path / "journal-1.jsonl").write_bytes(data)
    journal.merge(tmp_path, "d" * 64)
    assert read(tmp_path / "journal.jsonl").damaged() == [3]


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_flipped_bit_is_a_damaged_line(tmp_path, at):
    data = bytearray(written(tmp_path))
    data[at] ^= 4
    (tmp_path / "journal-1.jsonl").write_bytes(data)
    part = read(tmp_path / "journal-1.jsonl")
    assert part.damaged()[:1] == [1]
    assert [event["epoch"] for event, _ in part.lines if event][-2:] == [1, 2]


def test_no_journal_is_an_empty_one(tmp_path):
    assert read(tmp_path / "journal-1.jsonl") == Part(tmp_path / "journal-1.jsonl", [], 0)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": [1, -0, -0.0, 0.1, 1e400, 123456789012345678901]}',
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b'{"a": 1, "a": 2}',
    ],
)
def test_a_line_is_read_as_json_reads_it(text):
    assert repr(journal.loads(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"01", b'"\xff"', b"[" * 5000])
def test_what_is_no_json_is_none(text):
    with pytest.raises((ValueError, RecursionError)):
        journal.loads(text)


def test_the_last_event_is_that_of_all_events(tmp_path, monkeypatch):
    assert journal.last(tmp_path) == {}
    data = bytearray(written(tmp_path))
    assert journal.last(tmp_path) == journal.events(tmp_path)[-1]
    journal.merge(tmp_path, "d" * 64)
    merged, parsed = tmp_path / "journal.jsonl", []
    whole = journal.parse
    monkeypatch.setattr(journal, "parse", lambda text: parsed.append(text) or whole(text))
    last = journal.last(tmp_path)
    assert parsed == [merged.read_bytes().split(b"\n")[-2]], "one line of a finished run is enough"
    assert last == journal.events(tmp_path)[-1]
    data[-20] ^= 4
    merged.write_bytes(data + b'{"torn')
    assert journal.last(tmp_path) == journal.events(tmp_path)[-1] != last
    merged.write_bytes(b"")
    assert journal.last(tmp_path) == {}
