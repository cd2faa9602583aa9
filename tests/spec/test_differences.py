from harness.parts.augment import Flip, Shift
from harness.spec import changes
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.warmup import warmup


def test_changes_by_hand(tiny):
    assert changes(tiny, tiny) == {}
    assert changes(tiny, tiny.but(epochs=7)) == {"epochs": (6, 7)}
    assert changes(tiny, warmup(tiny, epochs=2)) == {
        "schedule.warmup": (None, "LinearWarmup"),
        "schedule.warmup.epochs": (None, 2.0),
    }
    assert changes(cosine(tiny), tiny) == {
        "schedule.shape": ("Cosine", "Step"),
        "schedule.shape.at": (None, [0.25, 0.5, 0.75]),
        "schedule.shape.by": (None, 0.1),
    }
    assert changes(tiny, label_smoothing(tiny)) == {
        "targets": (None, "Smoothing"),
        "targets.Smoothing.smoothing": (None, 0.1),
    }


def test_an_inner_specification_differs_by_its_id(tiny, taught):
    other = distillation(tiny.but(epochs=7), model=tiny.model).but(epochs=6)
    assert changes(taught, other) == {
        "teacher.Distill.spec": (taught.teacher[0].spec.id, other.teacher[0].spec.id),
    }


def test_whatever_moves_the_id_is_a_change(tiny):
    two = tiny.but(augment=(Shift(pixels=1), Flip(), Shift(pixels=2)))
    for other in (
        two.but(augment=(Flip(), Shift(pixels=1), Shift(pixels=2))),
        two.but(augment=(Shift(pixels=3), Flip(), Shift(pixels=2))),
        two.but(augment=(Flip(), Shift(pixels=2))),
    ):
        assert other.id != two.id
        assert changes(two, other) != {}
