import pytest

from harness.study.shown import amount, as_text, span
from tests.kit import backbones
from tests.kit.tiny import BASELINE, finish


def test_the_text_ends_in_totals_and_warns(priced):
    text = as_text(priced(["cpu"] * 3))
    lines = text.splitlines()
    assert "9 runs asked for, 9 missing: 0.25 core-hours, about 5:00 in 3 processes" in lines
    assert sum("upstream of distillation" in line for line in lines) == 1
    teacher = next(line for line in lines if line.startswith("upstream of"))
    assert teacher.split()[-9:] == ["1", "of", "1", "1:40", "0.028", "~3", "GB", "timed", "steps"]
    assert "WARNING" not in text
    short = as_text(priced(["cpu"] * 3, free=10**8, there=5 * 10**9))
    assert "WARNING: the disk is 125 MB short" in short
    assert "WARNING: 3 runs at once need 9 GB of memory, and 5 GB are there" in short


def test_backbones_are_counted_by_seed_and_waited_for(priced, store):
    """Twelve runs of 100 s; with a process each a detector still waits for its own backbone."""
    lines = as_text(priced(["cpu"] * 3, study=backbones.STUDY)).splitlines()
    assert "12 runs asked for, 12 missing: 0.33 core-hours, about 6:40 in 3 processes" in lines
    (first,) = (line.split() for line in lines if line.startswith("upstream of baseline"))
    assert (first[3], first[-9:-6]) == (BASELINE.id, ["3", "of", "3"])
    assert "about 3:20 in 12 processes" in as_text(priced(["cpu"] * 12, study=backbones.STUDY))
    for spec in (spec for spec, seed in backbones.backbones() if not seed):
        finish(store, spec.id, 0, {"status": "finished"})
    assert "about 3:20 in 10 processes" in as_text(priced(["cpu"] * 10, study=backbones.STUDY)), "those of seed 1 wait"
    for spec, seed in (run for run in backbones.backbones() if run[1]):
        finish(store, spec.id, seed, {"status": "finished"})
    assert "6 missing: 0.17 core-hours, about 1:40 in 6 processes" in as_text(
        priced(["cpu"] * 6, study=backbones.STUDY)
    )


@pytest.mark.parametrize(
    ("size", "text"), [(900, "0.9 kB"), (999_960, "1 MB"), (850e3, "850 kB"), (12.34e9, "12.3 GB"), (2e12, "2 TB")]
)
def test_amounts(size, text):
    assert amount(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(9, "0:09"), (7384, "2:03:04"), (111_600, "31 h"), (1_036_800, "12 days")]
)
def test_spans(seconds, text):
    assert span(seconds) == text
