from collections import Counter

import pytest

from harness.engine.scheduler import key
from harness.simulate.orders import ORDERS
from tests.kit.tiny import BASELINE, tiny_plan

TEACHER, *STUDENTS = tiny_plan().runs(["distillation"])
A = BASELINE, 0
RUNS = [A, *STUDENTS, TEACHER]
LENGTHS = dict(zip(map(key, RUNS), (6.0, 3.0, 5.0, 2.0), strict=True))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("as planned", RUNS),
        ("longest first", [TEACHER, A, STUDENTS[1], STUDENTS[0]]),  # 2 + 5, 6, 5, 3
        ("shortest first", [TEACHER, *STUDENTS, A]),
    ],
)
def test_orders_by_hand(order, expected):
    assert ORDERS[order](RUNS, LENGTHS) == expected


def test_at_random_is_some_order_and_each_time_the_same():
    many = [(BASELINE, seed) for seed in range(50)]
    drawn = ORDERS["at random"](many, {})
    assert Counter(map(key, drawn)) == Counter(map(key, many))
    assert drawn != many
    assert drawn == ORDERS["at random"](many, {})
