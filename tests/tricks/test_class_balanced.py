import numpy as np
import pytest

from harness.tricks.class_balanced import ClassBalanced, class_balanced

FEW = np.repeat([0, 1, 2], [2, 5, 20])


def test_each_class_comes_as_often_and_each_image_of_a_rare_one():
    order = ClassBalanced().order(FEW, np.random.default_rng(0))
    assert len(order) == 27
    assert np.bincount(FEW[order]).tolist() == [9, 9, 9]
    times = np.bincount(order, minlength=27)
    assert sorted(times[:2]) == [4, 5]
    assert sorted(times[2:7]) == [1, 2, 2, 2, 2]
    assert times[7:].max() == 1


def test_another_epoch_draws_other_images_and_another_order():
    one, other = (ClassBalanced().order(FEW, np.random.default_rng(seed)) for seed in (0, 1))
    assert set(one[FEW[one] == 2]) != set(other[FEW[other] == 2])
    assert FEW[one].tolist() != FEW[other].tolist()


@pytest.mark.parametrize("labels", [FEW, np.arange(10) % 3, np.repeat([5, 7], [1, 9])], ids=["few", "uneven", "gaps"])
def test_the_second_writing_draws_the_same(labels):
    for seed in range(5):
        ours, again = (
            order(labels, np.random.default_rng(seed)) for order in (ClassBalanced().order, ClassBalanced().reference)
        )
        assert ours.tolist() == again.tolist()


def test_what_is_served_is_what_was_drawn(tiny, live):
    spec = class_balanced(tiny)
    trained, trace = live(spec)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    served = np.concatenate([labels.numpy() for labels, *_ in trace.fed[: trace.steps_per_epoch]])
    assert np.bincount(served).tolist() != np.bincount(np.asarray(spec.data.load().labels("train"))[:596]).tolist()
    assert np.ptp(np.bincount(served)) <= 2, "an epoch of 597, of which the last is left out"
