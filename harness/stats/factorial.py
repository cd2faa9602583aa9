"""Two-level factorial designs, and the effects that they tell."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.tests import Array

FACTORS = "ABCDEFGHJK"  # no I: that is the identity
# Generators of minimum aberration by (k, p) for 2^(k-p) (Fries and Hunter 1980; Box, Hunter and Hunter 2005, ch. 6).
# The i-th is the word of the first k - p factors that the i-th added factor equals: (7, 4) has D = AB, ..., G = ABC.
GENERATORS: dict[tuple[int, int], tuple[str, ...]] = {
    (3, 1): ("AB",),
    (4, 1): ("ABC",),
    (5, 1): ("ABCD",),
    (5, 2): ("AB", "AC"),
    (6, 1): ("ABCDE",),
    (6, 2): ("ABC", "BCD"),
    (6, 3): ("AB", "AC", "BC"),
    (7, 1): ("ABCDEF",),
    (7, 2): ("ABCD", "ABDE"),
    (7, 3): ("ABC", "BCD", "ACD"),
    (7, 4): ("AB", "AC", "BC", "ABC"),
    (8, 2): ("ABCD", "ABEF"),
    (8, 3): ("ABC", "ABD", "BCDE"),
    (8, 4): ("BCD", "ACD", "ABC", "ABD"),
    (9, 3): ("ABCD", "ACEF", "CDEF"),
    (9, 4): ("BCDE", "ACDE", "ABDE", "ABCE"),
    (9, 5): ("ABC", "BCD", "ACD", "ABD", "ABCD"),
    (10, 4): ("BCDF", "ACDF", "ABDE", "ABCE"),
    (10, 5): ("ABCD", "ABCE", "ABDE", "ACDE", "BCDE"),
    (10, 6): ("ABC", "BCD", "ACD", "ABD", "ABCD", "AB"),
}


def fraction(k: int, generators: Sequence[str] = ()) -> Array:
    """The design 2^(k-p), runs x k of ±1 in standard order, the first factor fastest; p generators as above."""
    base = k - len(generators)
    runs = np.arange(2**base)
    full = np.stack([2.0 * (runs >> j & 1) - 1 for j in range(base)], axis=1)
    return np.column_stack([full, *(_column(full, word) for word in generators)])


def _column(design: Array, word: str) -> Array:
    return np.asarray(design[:, [FACTORS.index(letter) for letter in word]].prod(axis=1))


def _times(a: str, b: str) -> str:
    """The product of two words: letters squared vanish."""
    return "".join(sorted(set(a) ^ set(b)))


def defining_relation(k: int, generators: Sequence[str]) -> tuple[str, ...]:
    """The 2^p - 1 words that equal the identity, shortest first."""
    group = [""]
    for added, word in zip(FACTORS[k - len(generators) : k], generators, strict=True):
        group += [_times(_times(word, added), other) for other in group]
    return tuple(sorted(group[1:], key=lambda w: (len(w), w)))


def resolution(k: int, generators: Sequence[str]) -> int:
    """Length of the shortest defining word: 3 aliases main effects with two-factor interactions, 4 two with two.

    k + 1 of a full factorial.
    """
    return min(map(len, defining_relation(k, generators)), default=k + 1)


def words(k: int, order: int = 2) -> list[str]:
    """Main effects of k factors and their interactions of up to `order` factors."""
    return ["".join(w) for size in range(1, order + 1) for w in combinations(FACTORS[:k], size)]


def aliases(k: int, generators: Sequence[str], order: int = 2) -> list[tuple[str, ...]]:
    """Effects of up to `order` factors in groups that the fraction cannot tell apart; one alone is clear."""
    relation = ("", *defining_relation(k, generators))
    groups: dict[str, list[str]] = {}
    for word in words(k, order):
        groups.setdefault(min((_times(word, d) for d in relation), key=lambda w: (len(w), w)), []).append(word)
    return [tuple(group) for same, group in groups.items() if same]


@np.errstate(invalid="ignore")  # of values that are not finite: nan
def factorial_effects(design: ArrayLike, responses: ArrayLike, order: int = 2) -> dict[str, Array]:
    """Effects by word from a design, runs x k of ±1, and responses, runs x ...: the trailing axes, such as seeds, stay.

    An effect is the mean response where the word's column is + less that where it is -; of N runs with variance σ² its
    variance is 4σ²/N. Aliased effects get the same number. Words equal to the identity are left out. ValueError where
    the design is not of ±1, balanced and orthogonal.
    """
    x, y = np.asarray(design, float), np.asarray(responses, float)
    n, k = x.shape
    if not (np.abs(x) == 1).all() or x.sum(0).any() or (x.T @ x != n * np.eye(k)).any():
        raise ValueError("the design is not of ±1, balanced and orthogonal")
    columns = {word: _column(x, word) for word in words(k, order)}
    return {word: np.asarray(2 / n * np.tensordot(c, y, 1)) for word, c in columns.items() if abs(c.sum()) < n}
