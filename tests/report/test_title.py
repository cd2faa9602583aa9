import pytest

from harness.report.title import study_title, title
from tests.kit.records import designed, rung

CIFAR = 'CIFAR-10: the ten-rung stack of "Bag of Tricks".\n\n    python -m harness.ablate cifar10'


def planned(design="ladder", about=CIFAR, settings=("data.limit=10000", "epochs=9", "5 seeds"), **more):
    own = designed(design, [rung("a", epochs=9), rung("b", epochs=15)], study="cifar10", **more)
    return own | {"about": about, "settings": list(settings)}


@pytest.mark.parametrize(
    ("plan", "trained", "due"),
    [
        (planned(settings=()), [10000] * 3, "CIFAR-10, 10,000 images, 9 epochs"),
        (planned(), [10000], "CIFAR-10, 10,000 images, 9 epochs, 5 seeds"),
        (planned(settings=["data.of.limit=9", "data.limit_test=1"]), [9], "CIFAR-10, 9 images, 9 epochs, 1 test image"),
        (planned("leave-one-out", settings=()), [50, 40], "CIFAR-10, each trick left out, 40 to 50 images, 9 epochs"),
        (planned(settings=["data=" + "x" * 60, "optimizer.lr=0.2"]), [], "CIFAR-10, 9 epochs, optimizer.lr=0.2"),
        (planned(settings=["data.root=here", "model.backbone.data.root=x"]), [], "CIFAR-10, 9 epochs"),
        (planned(settings=(), tuned={"trials": 8}), [], "CIFAR-10, tuned by 8 trials a rung, 9 epochs"),
    ],
)
def test_a_report_is_called_in_words(plan, trained, due):
    assert title(plan, trained) == due


@pytest.mark.parametrize("about", ["", "No colon here.", "x" * 61 + ": y", ": y", "Later\n: y"])
def test_a_study_without_a_title_has_its_name(about):
    assert study_title(planned(about=about)) == "cifar10"


def test_a_title_is_text():
    assert "\u202e" not in study_title(planned(about="a\u202eb: c"))
