import numpy as np
import scipy.stats

from harness import stats
from harness.stats.looks import _levels


def test_points_never_find_what_every_look_at_every_row_would_not():
    """So other points at the same looks add no error. The bound: Holm over the rows, each found by any of its looks."""
    rng, looks = np.random.default_rng(0), (3, 5, 8)
    found, ended = 0, 0
    for _ in range(60):
        rows = [rng.normal(rng.choice([0, 0.5, 1.5]), 1, 8) for _ in range(4)]
        p = [[scipy.stats.ttest_1samp(row[:n], 0).pvalue for n in looks] for row in rows]
        most = set()
        while len(most) < 4:
            levels = _levels(looks, 0.05 / (4 - len(most)))
            new = {i for i in range(4) if i not in most and any(a <= b for a, b in zip(p[i], levels, strict=True))}
            if not new:
                break
            most |= new
        for points in (0.1, 0.7, 1.2, 3):
            made = stats.decide(rows, points, looks)
            own = {i for i, row in enumerate(made) if row.verdict in ("helps", "hurts")}
            assert own <= most
            found, ended = found + len(own), ended + sum("known" in row.verdict for row in made)
    assert min(found, ended) > 20
