from collections import Counter
from itertools import chain, combinations

import numpy as np
import pytest

from harness import stats


# Factorials
def test_effects_by_hand():
    # Two factors: y = 10, 14, 11, 21 at --, +-, -+, ++.
    design = stats.fraction(2)
    assert design.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    effects = stats.factorial_effects(design, [10, 14, 11, 21])
    assert effects == {"A": 7, "B": 4, "AB": 3}
    seeds = stats.factorial_effects(design, [[10, 1], [14, 1], [11, 1], [21, 2]])
    assert seeds["AB"] == pytest.approx([3, 0.5])


def test_effects_are_found_again():
    # Turning A on gains 3, turning C on -2, both together 1.5 more than their sum: an interaction of 0.75.
    x = (stats.fraction(4) + 1) / 2
    y = 90 + 3 * x[:, 0] - 2 * x[:, 2] + 1.5 * x[:, 0] * x[:, 2]
    effects = stats.factorial_effects(stats.fraction(4), y, order=4)
    assert len(effects) == 15
    assert effects.pop("A") == pytest.approx(3.75)
    assert effects.pop("C") == pytest.approx(-1.25)
    assert effects.pop("AC") == pytest.approx(0.75)
    assert list(effects.values()) == pytest.approx([0] * 12)


def test_seven_tricks_in_eight_runs_are_four_times_cheaper_than_a_ladder():
    design = stats.fraction(7, stats.GENERATORS[7, 4])
    weights = stats.factorial_effects(design, np.eye(8), order=1)
    assert design.shape == (8, 7)
    assert [float((w**2).sum()) for w in weights.values()] == pytest.approx([0.5] * 7)  # a ladder's gain: 1 + 1


@pytest.mark.parametrize("bad", [[[1, 1], [1, -1]], [[1, 0], [-1, 0]], [[1, 1], [-1, -1]], [[2], [-2], *[[0]] * 6]])
def test_a_design_that_is_not_orthogonal_is_refused(bad):
    with pytest.raises(ValueError, match="orthogonal"):
        stats.factorial_effects(bad, [1, 2])


@pytest.mark.parametrize(
    ("k", "p", "length"),
    [
        *((3, 1, 3), (4, 1, 4), (5, 1, 5), (5, 2, 3), (6, 1, 6), (6, 2, 4), (6, 3, 3), (7, 1, 7), (7, 2, 4), (7, 3, 4)),
        *(
            (7, 4, 3),
            (8, 2, 5),
            (8, 3, 4),
            (8, 4, 4),
            (9, 3, 4),
            (9, 4, 4),
            (9, 5, 3),
            (10, 4, 4),
            (10, 5, 4),
            (10, 6, 3),
        ),
    ],
)
def test_fractions_have_the_resolution_that_tables_print(k, p, length):
    generators = stats.GENERATORS[k, p]
    design = stats.fraction(k, generators)
    relation = stats.defining_relation(k, generators)
    assert design.shape == (2 ** (k - p), k)
    assert len({tuple(run) for run in design.tolist()}) == 2 ** (k - p)
    assert (design.T @ design == np.eye(k) * len(design)).all()
    assert stats.resolution(k, generators) == length
    # The words, from the design itself: the products of columns that never change.
    same = [w for w in stats.words(k, k) if (np.prod([design[:, "ABCDEFGHJK".index(c)] for c in w], axis=0) == 1).all()]
    assert sorted(same) == sorted(relation)
    assert len(relation) == 2**p - 1


@pytest.mark.parametrize(("k", "p"), [key for key in stats.GENERATORS if 2 ** (key[0] - key[1]) <= 16 or key[0] < 8])
def test_no_other_fraction_has_fewer_short_words(k, p):
    def lengths(generators):
        relation = stats.defining_relation(k, generators)
        return [sum(len(w) == size for w in relation) for size in range(1, k + 1)]

    base = [w for w in stats.words(k - p, k - p) if len(w) > 1]
    assert lengths(stats.GENERATORS[k, p]) == min(map(lengths, combinations(base, p)))


@pytest.mark.parametrize(
    ("k", "p", "lengths"),
    [
        (8, 2, {5: 2, 6: 1}),
        (8, 3, {4: 3, 5: 4}),
        (9, 3, {4: 1, 5: 4, 6: 2}),
        (9, 4, {4: 6, 5: 8, 8: 1}),
        (10, 4, {4: 2, 5: 8, 6: 4, 8: 1}),
        (10, 5, {4: 10, 5: 16, 8: 5}),
    ],
)
def test_word_lengths_that_an_exhaustive_search_found_least(k, p, lengths):
    assert Counter(map(len, stats.defining_relation(k, stats.GENERATORS[k, p]))) == lengths


def test_aliases():
    assert stats.resolution(4, ()) == 5
    assert stats.defining_relation(7, ("ABC", "BCD", "ACD")) == ("ABCE", "ABFG", "ACDG", "ADEF", "BCDF", "BDEG", "CEFG")
    groups = stats.aliases(4, ("ABC",))
    assert groups == [("A",), ("B",), ("C",), ("D",), ("AB", "CD"), ("AC", "BD"), ("AD", "BC")]
    assert stats.aliases(3, ("AB",)) == [("A", "BC"), ("B", "AC"), ("C", "AB")]
    assert ("AB",) in stats.aliases(5, ("ABCD",))


def test_aliased_effects_are_one_number_and_others_are_not():
    k, generators = 7, stats.GENERATORS[7, 3]
    design = stats.fraction(k, generators)
    y = np.random.default_rng(17).normal(size=len(design))
    effects = {word: float(effect) for word, effect in stats.factorial_effects(design, y).items()}
    groups = stats.aliases(k, generators)
    assert sorted(chain.from_iterable(groups)) == sorted(effects)
    for group in groups:
        assert [effects[w] for w in group] == pytest.approx([effects[group[0]]] * len(group))
    assert len({round(effects[group[0]], 9) for group in groups}) == len(groups)
    assert "ABC" not in stats.factorial_effects(stats.fraction(3, ("AB",)), np.zeros(4), order=3)
