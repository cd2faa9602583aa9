import numpy as np
import pytest
import scipy.stats

from harness import Problem, report, stats
from harness.report import data, findings, frames
from harness.stats.looks import _levels
from tests.kit.records import designed, rung, write


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


# Which test


def ladder(store, sizes=(1,) * 5, seeds=4, gain=1.8, **more):
    """A ladder of five gains, whose differences have the s.d. `sizes`."""
    rng, names = np.random.default_rng(4), "abcdef"
    runs = np.full(seeds, 50.0)
    for i, name in enumerate(names):
        runs = runs if not i else runs + gain + sizes[i - 1] * rng.normal(size=seeds)
        for seed in range(seeds):
            store.add(name, seed, float(runs[seed]), tested=10_000)
    rungs = [rung(name, [i, i - 1] if i else None, seeds=range(seeds)) for i, name in enumerate(names)]
    return designed("ladder", rungs, **more)


def told_of(store, p, folder):
    """Everything that a report writes of its gains, but for figures: the table's frame, its JSON, and all words."""
    every = frames.runs(p, store)
    table = frames.rungs(p, every)
    words = [write(folder, p, every), (folder / "table.tex").read_text()]
    found = findings.found(p, store, every, table, None)
    words.append(findings.markdown("s", found, report.commands(p, every)))
    told = data.table(p, every, table, None, frames.footnotes(p, every, table))
    return table, told["rungs"][1], "".join(words)


def gains_of(store, p):
    at = [[store.read(rung["id"], seed)["metrics"]["top1"] for seed in range(4)] for rung in p["rungs"]]
    return np.diff(np.array(at), axis=0)


def test_a_report_is_by_the_moderated_test_and_says_what_the_plain_one_says(store, tmp_path):
    p = ladder(store)
    table, told, text = told_of(store, p, tmp_path)
    leaning, plain = (stats.compare(gains_of(store, p), test, step=0.01) for test in ("moderated", "t"))
    assert list(table["p"][1:]) == pytest.approx([row.p for row in leaning])
    assert list(table["gain_low"][1:]) == pytest.approx([row.low for row in leaning])
    assert list(table["plain_p"][1:]) == pytest.approx([row.p for row in plain])
    assert list(table["verdict"][1:]) == [row.verdict for row in leaning]
    assert sum(row.verdict == "helps" for row in leaning) > sum(row.verdict == "helps" for row in plain)
    assert "| by a plain t-test" in text
    assert "two-sided moderated paired t-tests at .05 after Holm over 5 gains" in text
    assert "at 0.8 of the level" in text
    assert "moderated t-tests after Holm over 5 gains and the total, the total by a plain one." in text
    assert "verdicts: moderated paired t-tests at .05" in text
    assert (told["gain"]["test"], told["gain"]["share"]) == ("moderated", 0.8)
    assert (told["gain"]["low"], told["verdict"]) == (pytest.approx(leaning[0].low), leaning[0].verdict)
    assert told["gain"]["plain"]["p"] == pytest.approx(plain[0].p)
    assert told["gain"]["plain"]["verdict"] == plain[0].verdict


def test_the_plain_test_is_one_option_away_in_all_that_a_report_has(store, tmp_path):
    p = report.tested(ladder(store), "t")
    table, told, text = told_of(store, p, tmp_path)
    plain = stats.compare(gains_of(store, p), step=0.01)
    assert list(table["gain_high"][1:]) == pytest.approx([row.high for row in plain])
    assert list(table["verdict"][1:]) == [row.verdict for row in plain]
    assert (table["test"] == "t").all()
    assert "oderated" not in text
    assert "python -m harness.report s --test t" in text
    told = told["gain"]
    assert (told["test"], told["plain"], told["high"]) == ("t", None, pytest.approx(plain[0].high))


def test_a_table_that_fell_back_says_so_and_why(store):
    p = ladder(store, (0.03, 3, 0.05, 9, 0.5), gain=0.5)
    every = frames.runs(p, store)
    table = frames.rungs(p, every)
    assert set(table["why"]) == {"s.d. differ too much"}
    (line,) = [note for note in frames.footnotes(p, every, table) if "s.d. differ" in note]
    assert line.startswith("Plain paired t-tests, though moderated ones were asked for, since s.d. differ too much (d₀")
    assert "0.75 is needed): at 0.8 of the level" in line
    few = p | {"rungs": p["rungs"][:5]}
    table = frames.rungs(few, every := frames.runs(few, store))
    assert set(table["why"]) == {"of fewer than 5 gains"}
    assert not [note for note in frames.footnotes(few, every, table) if "oderated" in note]


def test_a_table_by_looks_says_what_plain_looks_say(store, tmp_path):
    p = ladder(store, decide={"points": 0.1, "looks": [4], "test": "moderated"})
    table, told, text = told_of(store, p, tmp_path)
    looks = [stats.decide(gains_of(store, p), 0.1, [4], step=0.01, test=test) for test in ("moderated", "t")]
    assert list(table["p"][1:]) == pytest.approx([row.p for row in looks[0]])
    assert list(table["df"][1:]) == pytest.approx([row.df for row in looks[0]])
    assert list(table["verdict"][1:]) == [row.verdict for row in looks[0]]
    assert list(table["plain_p"][1:]) == pytest.approx([row.p for row in looks[1]])
    assert list(table["plain_verdict"][1:]) == [row.verdict for row in looks[1]]
    assert list(table["verdict"][1:]) != list(table["plain_verdict"][1:])
    assert told["gain"]["plain"]["verdict"] == looks[1][0].verdict
    assert "group-sequential moderated paired t-tests, the error of all rows" in text
    assert "| by a plain t-test" in text
    plain, _, text = told_of(store, p | {"decide": {"points": 0.1, "looks": [4]}}, tmp_path)
    assert list(plain["p"][1:]) == list(table["plain_p"][1:])
    assert "oderated" not in text


def test_looks_keep_the_test_that_they_were_planned_by(store):
    p = ladder(store, decide={"points": 0.3, "looks": [4]})
    assert frames.test_of(p) == "t"  # planned before there was another
    assert frames.test_of(p | {"decide": p["decide"] | {"test": "moderated"}}) == "moderated"
    assert report.tested(p, "t") == p | {"test": "t"}
    with pytest.raises(Problem, match="added seeds by looks of another test"):
        report.tested(p, "moderated")
