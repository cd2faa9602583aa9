import itertools

import pytest

from tests.kit.folders import COLOURS, picture, save


@pytest.fixture
def tree(tmp_path):
    """train/ of 12 and val/ of 6 images in two classes, jpg and png."""
    root = tmp_path / "pets"
    for part, count in (("train", 6), ("val", 3)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                picture(colour, seed=i).save(root / part / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return root


@pytest.fixture
def bitmaps(tmp_path, monkeypatch):
    """train/ of 6 and val/ of 4 images in two classes, each its own; nothing is remembered."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    numbers = itertools.count()
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                save(tmp_path / "pets" / part / name / f"{i}.bmp", seed=next(numbers))
    return tmp_path / "pets"
