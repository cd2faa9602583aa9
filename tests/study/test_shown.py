import pytest

from harness.study.shown import amount, as_text, span


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
