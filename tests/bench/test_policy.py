import os
import re

import numpy as np
import pytest

from harness import Problem
from harness.bench.policy import costs, normalised, prepared, source
from tests.kit import photos
from tests.kit.bench import command


def test_the_policy_is_told_beside_its_source(monkeypatch, capsys):
    seen = [("source", 50.0, 20.0), ("1 worker", 60.0, 15.0), ("2 workers", 110.0, 16.0)]
    seen += [("source", 100.0, 10.0), ("1 worker", 90.0, 9.0), ("2 workers", 180.0, 9.0)]
    seen += [("source", 40.0, 10.0), ("1 worker", 60.0, 5.0), ("2 workers", 100.0, 6.0)]
    monkeypatch.setattr("harness.bench.policy.prepared", lambda root, rounds: iter(seen))
    monkeypatch.setattr("harness.bench.policy.costs", lambda root, rounds: {"the policy": 5.0, "Add": 0.125})
    command("--imgaug", "somewhere", "--rounds", "3")
    out = capsys.readouterr().out
    assert "images/s, 1 worker / source = 1.20 (0.90 to 1.50, n = 3)" in out
    assert "images/s, 2 workers / source = 2.20 (1.80 to 2.50, n = 3)" in out
    assert "CPU time, 2 workers / source = 0.80 (0.60 to 0.90, n = 3)" in out
    assert re.search(r"the policy +5\.00\n +Add +0\.12\n", out)


def test_the_policy_and_its_source_prepare_a_folder(tmp_path, monkeypatch):
    photos.make(tmp_path / "tree", classes=2, train=4)
    monkeypatch.setenv("HARNESS_DECODERS", "1")  # restored afterwards
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    with pytest.raises(Problem, match="8 training images, and a batch has 64"):
        command("--imgaug", str(tmp_path / "tree"))
    monkeypatch.setattr("harness.bench.policy.BATCH", 2)
    seen = list(prepared(tmp_path / "tree", 2))
    assert [name for name, _, _ in seen] == ["source", "1 worker", "2 workers"] * 2
    assert all(rate > 0 and spent > 0 for _, rate, spent in seen)
    spent = costs(tmp_path / "tree", 1)
    assert [*spent][:2] in (["the policy", "the source's function"], ["the source's function", "the policy"])
    assert len(spent) == 2 + 20
    assert spent["PiecewiseAffine"] > spent["Fliplr"]


def test_the_source_is_as_published_and_so_is_the_policy():
    from harness.parts.imgaug_policy import GROUPS, leaves, policy, undisturbed

    def told(tree):
        return [(type(leaf).__name__, re.sub("0x[0-9a-f]+", "", str(leaf.get_parameters()))) for leaf in leaves(tree)]

    with undisturbed() as iaa:
        assert told(source(iaa)) == told(policy(GROUPS))
    image = normalised(np.full((224, 224, 3), 90, np.uint8))
    assert image.shape == (3, 224, 224)
    assert image.dtype == np.float32
    assert image.min() >= -1
    assert image.max() <= 1
