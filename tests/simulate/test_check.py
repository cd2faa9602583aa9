from collections import Counter

from harness.simulate import check
from harness.spec import needed


def test_forty_runs_of_several_lengths_and_a_teacher():
    runs = check.runs(1.0)
    assert len(runs) == len(set(runs)) == 41
    sleeps = Counter(spec.augment[0].seconds for spec, _ in runs)
    assert len(sleeps) == check.RUNGS
    assert [len(needed(*run)) for run in runs[-4:]] == [1] * 4
    assert needed(*runs[-1]) == (runs[0],)
