import pytest

from harness.report import findings, published
from tests.kit.findings import LADDER, fill, found, paper, stack, tricks
from tests.kit.records import record
from tests.kit.tiny import finish


@pytest.mark.parametrize(
    ("added", "below", "points"),
    [
        ("warmup", "", 0.16),  # 76.03 - 75.87
        ("zero_gamma", "warmup", 0.16),  # 76.19 - 76.03
        ("no_bias_decay", "", -0.03),
        ("fp16", "", -0.01),
        ("large_batch", "", -0.70),  # 75.17 - 75.87
        ("warmup", "large_batch", 0.76),  # 75.93 - 75.17
        ("resnet_b", "", 0.45),
        ("resnet_d", "warmup fp16", 0.95),  # over A: 77.16 - 76.21
        ("resnet_d", "resnet_b", 0.50),  # 77.16 - 76.66
        ("resnet_d", "resnet_b resnet_c", 0.29),
        ("cosine", "", 0.75),
        ("label_smoothing", "cosine", 0.40),
        ("mixup", "cosine label_smoothing", 0.84),  # 79.15 - 78.31
        ("distillation", "label_smoothing", 0.36),
        ("distillation", "mixup", 0.14),  # 79.29 - 79.15
        ("mixup", "distillation", 0.62),
        ("mixup distillation", "label_smoothing", 0.98),
        ("distillation", "inception_v3", -0.14),  # 78.26 - 78.40
        ("mobilenet", "", None),
        ("cutmix", "", None),
        ("warmup fp16", "", None),
        ("", "warmup", None),
    ],
)
def test_the_papers_gain_is_of_the_trick_on_what_is_below(added, below, points):
    gain = findings.Gain("g", 1.0, 0.5, 1.5, "helps", added=frozenset(added.split()), below=frozenset(below.split()))
    assert [paper for _, paper in findings.paper_gains([gain])] == ([] if points is None else pytest.approx([points]))


def test_the_papers_gains_of_a_ladder_are_those_of_its_own_column(store):
    names = ("large_batch", "warmup", "mixup", "distillation")
    fill(store, [(name, (90.0, 91.0 + i / 10, 92.0)) for i, name in enumerate(("baseline", *names))])
    said = paper(found(stack(names), store))
    for name, points in (("large_batch", -0.70), ("LR warmup", 0.76), ("mixup", 0.84), ("distillation", 0.14)):
        assert f"{name} | {points:+.2f} | " in said


def test_tricks_that_are_not_the_papers_are_not_held_against_it(store, monkeypatch, tmp_path):
    fill(store, LADDER)
    assert paper(found(stack(), store))
    assert not paper(found(stack(about="My own photos: a ladder."), store)), "a study that is not after the paper"
    assert paper(found(stack(about="After arXiv 1812.01187."), store))
    assert not paper(found(stack() | {"tricks": tricks("x", "y", "z")}, store))
    monkeypatch.setattr(published, "FOLDER", tmp_path / "gone")
    assert not paper(found(stack(), store)), "nor where its numbers did not come along"


@pytest.mark.parametrize("classes", [1000, 100])
def test_only_on_the_papers_own_data_it_is_not_said_that_they_are_others(store, classes):
    for name, values in LADDER:
        for seed, top1 in enumerate(values):
            own = record(top1, tested=50_000, correct="ff" * 6250)
            own |= {"classes": classes, "images": {"train": 1_281_167, "test": 50_000}}
            finish(store, name, seed, own)
    assert ("Their data differ from these" in paper(found(stack(), store))) == (classes != 1000)
