"""A journal and a database, and what is wrong with them."""

import json
import warnings
from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from harness import Problem
from harness.search import queue, storage
from harness.search.search import make
from harness.search.storage import doubt, opened
from harness.tricks.cosine import cosine
from tests.kit.tiny import BASELINE
from tests.search.here import LONG, LR, PEAK, seen, serve


def test_a_torn_line_of_the_journal_is_cut_off_before_the_next(fake):
    searched = make(LONG, "baseline", trials=2)
    with_one, _ = fake.serve(replace(searched, trials=1))
    open_before = opened(searched)
    with searched.path.open("ab") as file:
        file.write(b'{"op_code": 8, "worker_id": "')
    found, _ = fake.serve(searched)
    assert seen(found[0]) == seen(with_one[0])
    assert len(found) == 2
    assert len(open_before.trials) == 2, "who had it open reads on"
    assert all(json.loads(line) for line in searched.path.read_text().splitlines())


def test_a_journal_that_is_no_journal_is_said_in_a_line(fake):
    searched = make(LONG, "baseline", trials=1)
    searched.path.parent.mkdir(parents=True)
    searched.path.write_text("{no journal\n{at all\n")
    with pytest.raises(Problem, match="cannot be read.*move it aside"):
        fake.serve(searched)


def test_a_database_goes_on_too_and_calls_trials_stale_whose_process_is_gone(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 1)
    short = replace(LONG, baseline=BASELINE)
    searched = make(short, "baseline", trials=3, storage=f"sqlite:///{tmp_path}/trials.db", pruner="none")
    found, _ = fake.serve(searched, epochs=1)
    assert [trial.state for trial in found] == [TrialState.WAITING]
    found, _ = fake.serve(replace(searched, trials=2))
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lost = opened(searched).ask()
    drawn = lost.suggest_float("optimizer.lr", LR.low, LR.high, log=True)
    found, _ = fake.serve(searched)
    assert [trial.state for trial in found[2:]] == [TrialState.FAIL, TrialState.COMPLETE]
    assert found[3].params["optimizer.lr"] == drawn
    assert found[3].system_attrs["failed_trial"] == 2
    assert queue.failures(found) == 0, "it was tried again"
    study = opened(searched)
    study._storage.create_new_trial(study._study_id)  # by a process that died before its first sign of life
    found, _ = fake.serve(replace(searched, trials=4))
    assert [trial.state for trial in found[4:]] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://here", "is no address of a database that Optuna knows"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/none", "cannot be reached: OperationalError.*refused"),
        ("oracle+cx_oracle://me:secret@127.0.0.1:1/none", "its driver is missing"),
        ("postgresql+psycopg2://me:a/secret@127.0.0.1:1/none", "cannot be reached|is no address"),
        ("sqlite:///spoilt.db", r"spoilt.db is damaged \(.*\): move the file aside, or name another; runs that its"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_a_line_without_its_password(url, said, monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "RETRY", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spoilt.db").write_bytes(b"a list of cats\n" * 20)
    with pytest.raises(Problem, match=said) as problem:
        serve(make(LONG, "baseline", storage=url))
    assert "\n" not in str(problem.value)
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"space": {"optimizer.lr": FloatDistribution(0.1, 1)}}, "SPACE differs: optimizer.lr was .*log=True.* and is"),
        ({"seeds": (0, 1)}, "seeds was \\[0\\] and is \\[0, 1\\]"),
        ({"rung": 1}, "spec differs: schedule.shape was Step and is Cosine"),
    ],
)
def test_another_search_under_the_same_name_is_refused(changed, said, fake):
    searched = make(LONG, "baseline", trials=1)
    opened(searched)
    if "rung" in changed:
        changed = {"rung": replace(searched.rung, spec=cosine(searched.rung.spec))}
    with pytest.raises(Problem, match=f"{said}.*; to begin anew, move .* aside"):
        opened(replace(searched, **changed))
    opened(replace(searched, trials=9))


def test_trials_that_another_source_made_are_taken_only_where_that_is_asked_for(fake, own):
    own["mine.Part"] = "a"
    once = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK,))})
    fake.serve(make(once, "baseline", trials=1))
    own["mine.Part"] = "b"
    searched = make(once, "baseline", trials=2)
    with pytest.raises(Problem, match=r"mine.Part was a and is b; .* move .*\.log aside, or --accept-stale to go on$"):
        opened(searched)
    accepted = make(once, "baseline", trials=2, accept_stale=True)
    found, _ = fake.serve(accepted)
    assert [trial.value for trial in found] == [95, 95]
    assert len(fake) == 9, "the second trial has the run of the first"
    said = "the source of mine.Part changed since long@search-baseline was begun: its trials are taken as they are"
    assert doubt(accepted, opened(accepted)).startswith(said)
    searched.path.unlink()
    assert doubt(searched, opened(searched)) == ""
    fake.serve(searched)
    assert len(fake) == 18, "and else it is trained anew"


def test_a_search_of_a_time_before_sources_were_noted_says_so(fake, own):
    searched = make(LONG, "baseline")
    assert doubt(searched, opened(searched)) == ""
    own["mine.Part"] = "a"
    searched = make(LONG, "baseline")
    said = "by a version that did not note the source of mine.Part, which may have changed since; to begin anew, move "
    assert said in doubt(searched, opened(searched))
