import os
from importlib.util import find_spec

import pytest

from harness import Problem
from harness.bench.photos import NAMES, loaded, short_epochs
from tests.kit import photos
from tests.kit.bench import command


def test_the_ratios_of_loaders_are_of_pairs(monkeypatch, capsys):
    seen = [("prepared", 400.0, 1.0), ("prepared", 400.0, 1.0), ("prepared", 400.0, 1.0)]
    seen += [("harness", 300.0, 2.0), ("timm", 100.0, 4.0), ("harness", 200.0, 3.0), ("timm", 200.0, 4.0)]
    seen += [("harness", 150.0, 1.0), ("timm", 100.0, 1.0)]
    monkeypatch.setattr("harness.bench.photos.loaded", lambda root, rounds, folder: iter(seen))
    monkeypatch.setattr("harness.bench.photos.short_epochs", lambda root: {"one by one": 3.0, "as one": 2.0})
    command("--loader", "somewhere", "--rounds", "3")
    out = capsys.readouterr().out
    assert "images/s, harness / timm = 1.50 (1.00 to 3.00, n = 3)" in out
    assert "images/s, prepared / timm = 4.00 (2.00 to 4.00, n = 3)" in out
    assert "one by one          1.50" in out
    assert "CPU time, harness / timm = 0.75 (0.50 to 1.00, n = 3)" in out


def test_both_loaders_load_a_folder(tmp_path, monkeypatch):
    photos.make(tmp_path / "tree", classes=2, train=4)
    monkeypatch.setenv("HARNESS_DECODERS", "1")  # restored afterwards
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    with pytest.raises(Problem, match="8 training images, and a batch has 64"):
        command("--loader", str(tmp_path / "tree"))
    monkeypatch.setattr("harness.bench.photos.BATCH", 4)
    monkeypatch.setattr("harness.bench.photos.LOADED", 12)
    seen = list(loaded(tmp_path / "tree", 2, tmp_path / "smaller"))
    assert [name for name, _, _ in seen] == [name for name in NAMES if name != "torchcodec" or find_spec(name)] * 2
    assert all(rate > 0 and spent > 0 for _, rate, spent in seen)
    assert all(seconds > 0 for seconds in short_epochs(tmp_path / "tree").values())
