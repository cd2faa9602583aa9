from itertools import combinations
from math import comb

import numpy as np
import pytest

from harness import Problem, ablate
from harness.stats.designs import DESIGNS, Layout, Node, Options, add_one, factorial, ladder, leave_one_out, shapley

NONE = Options()


def on(layout: Layout) -> list[tuple[int, ...]]:
    return [row.on for row in layout.rows]


def test_the_ladder_grows_by_one_and_each_rung_is_over_the_one_below():
    layout = ladder(3, [Node(i, (i,)) for i in range(3)], NONE)
    assert on(layout) == [(), (0,), (0, 1), (0, 1, 2)]
    assert [row.gain for row in layout.rows] == [None, (1, 0), (2, 1), (3, 2)]


def test_branches_all_start_from_the_last_common_rung():
    tree = [Node(0, (0,)), Node(1, (1,)), Node(2, (3,)), Node(2, (2,)), Node(2, (2, 3))]
    layout = ladder(4, tree, NONE)  # the paper's Table 6: distillation, mixup, both
    assert on(layout) == [(), (0,), (0, 1), (0, 1, 3), (0, 1, 2), (0, 1, 2, 3)]
    assert [row.gain for row in layout.rows[3:]] == [(3, 2), (4, 2), (5, 2)]
    assert [row.named for row in layout.rows[3:]] == [(3,), (2,), (2, 3)]


def test_leave_one_out_takes_each_from_all_and_its_gain_is_that_of_having_it():
    layout = leave_one_out(4, [], NONE)
    assert on(layout) == [(0, 1, 2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)]
    assert [row.gain for row in layout.rows] == [None, (0, 1), (0, 2), (0, 3), (0, 4)]


def test_add_one_puts_each_alone_on_the_baseline():
    layout = add_one(3, [], NONE)
    assert on(layout) == [(), (0,), (1,), (2,)]
    assert [row.gain for row in layout.rows] == [None, (1, 0), (2, 0), (3, 0)]


@pytest.mark.parametrize("k", [1, 4, 6])
def test_shapley_takes_every_subset_where_there_are_few(k):
    assert sorted(on(shapley(k, [], NONE))) == sorted(s for r in range(k + 1) for s in combinations(range(k), r))
    assert not shapley(k, [], NONE).orders


def test_shapley_of_many_tricks_takes_what_orders_and_their_reverses_come_by():
    layout = shapley(9, [], Options(pairs=3))
    assert len(layout.orders) == 6
    assert all(sorted(order) == list(range(9)) for order in layout.orders)
    assert [tuple(reversed(order)) for order in layout.orders[::2]] == list(layout.orders[1::2])
    met = {frozenset(order[:r]) for order in layout.orders for r in range(10)}
    assert set(map(frozenset, on(layout))) == met
    assert len(layout.rows) == len(met) <= 6 * 8 + 2
    more = shapley(9, [], Options(pairs=5))
    assert more.orders[:6] == layout.orders, "more orders reuse the runs of fewer"


def test_a_factorial_is_balanced_and_orthogonal_and_keeps_main_effects_clear():
    for k in range(2, 11):
        layout = factorial(k, [], NONE)
        x = np.array([[1 if j in row.on else -1 for j in range(k)] for row in layout.rows])
        assert (x.sum(0) == 0).all()
        assert (x.T @ x == len(x) * np.eye(k)).all()
        for a, b in combinations(range(k), 2):
            others = [j for j in range(k) if j not in (a, b)]
            assert not (x[:, others].T @ (x[:, a] * x[:, b])).any(), "no main effect is an interaction of two"
    assert len(factorial(9, [], NONE).rows) == 32
    assert len(factorial(4, [], NONE).rows) == 16
    assert len(factorial(5, [], Options(fraction=0)).rows) == 32
    assert len(factorial(7, [], Options(fraction=4)).rows) == 8


@pytest.mark.parametrize(("k", "p"), [(5, 3), (12, None), (11, 0), (4, -1)])
def test_a_fraction_that_there_is_not_is_said(k, p):
    with pytest.raises(Problem, match="no design for"):
        factorial(k, [], Options(fraction=p))


def test_every_design_shares_the_rungs_that_have_the_same_tricks():
    """The number of specifications of all designs together, counted by hand for 4 tricks: all are subsets."""
    rows = {frozenset(row.on) for design in DESIGNS.values() for row in design(4, [], NONE).rows}
    assert len(rows) == sum(comb(4, r) for r in range(5)) == 16


def test_the_command_offers_every_design():
    (action,) = [a for a in ablate.parser()._actions if a.dest == "design"]
    assert set(action.choices) == set(DESIGNS)
