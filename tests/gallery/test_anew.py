import pytest
import torch

from harness import tasks
from harness.gallery import anew
from harness.spec import sources
from tests.kit.tiny import BASELINE


def record(status="finished"):
    return {"status": status, "environment": {"device_name": "a cpu"}, "spec_id": "abc", "seed": 3}


@pytest.mark.parametrize(
    ("status", "stale", "told", "shown"),
    [
        ("finished", (), "finished, on a cpu", True),
        ("diverged", (), "diverged, on a cpu", False),
        (
            "finished",
            ("Own", "Two"),
            "finished, on a cpu; trained before the source of Own, Two changed, so without its answers",
            False,
        ),
    ],
)
def test_answers_of_runs_that_diverged_or_are_stale_are_not_shown(status, stale, told, shown, monkeypatch):
    monkeypatch.setattr(sources, "changed", lambda record: stale)
    assert anew.told(record(status)) == told
    assert anew.answerable(record(status)) is shown


def test_what_the_network_was_given_and_answered_is_heard_in_order(store):
    heard = []
    scores, kept = anew.evaluated(BASELINE, 0, store, tasks.of(BASELINE), lambda given, z: heard.append((given, z)))
    known = store.read(BASELINE.id, 0)
    assert kept["correct"] == known["correct"]
    assert scores["top1"] == known["metrics"]["top1"]
    given = torch.cat([x for (x,), _ in heard])
    every = torch.cat([x for x, _ in BASELINE.data.load().test(300, torch.device("cpu"))])
    assert torch.equal(given, every)
    assert torch.cat([z for _, z in heard]).shape == (300, 10)


def test_what_a_record_says_otherwise_is_told_with_where_it_was_made():
    problem = anew.otherwise(record(), "3 of 9 test images are answered otherwise")
    assert str(problem) == (
        "abc, seed 3: 3 of 9 test images are answered otherwise than its record says, which was made on a cpu: "
        "make the gallery there"
    )
