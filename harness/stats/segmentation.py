"""Scores of semantic segmentation, from one matrix of pixels over a whole set.

The matrix is K x K: row i, column j has the pixels of class i that are answered j. Matrices of images add up to that
of the set. A mean of the images' own scores is another number.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.tests import Array

Matrix = NDArray[np.int64]


def confusion(labels: ArrayLike, answers: ArrayLike, classes: int) -> Matrix:
    """Pixels by label (rows) and answer (columns), `classes` x `classes`, of integers in arrays of one shape.

    A pixel whose label is -1 is not labelled. It is left out before anything is counted, so what is answered there is
    no error. ValueError where shapes differ, a label is not in -1..K-1, or an answer to a labelled pixel not in 0..K-1.
    """
    truth, said = np.asarray(labels), np.asarray(answers)
    if truth.shape != said.shape:
        raise ValueError(f"labels of shape {truth.shape}, and answers of shape {said.shape}")
    labelled = truth != -1
    rows, columns = truth[labelled].astype(np.int64), said[labelled].astype(np.int64)  # of int16 182² would overflow
    for what, values in (("label", rows), ("answer", columns)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{what}s are in {values.min()} to {values.max()}, and must be in 0 to {classes - 1}")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(matrix: Matrix) -> float:
    """Share of the labelled pixels that are answered right; nan where none is labelled."""
    return float(np.trace(matrix) / (matrix.sum() or math.nan))


def ious(matrix: Matrix) -> Array:
    """Intersection over union of each class, K shares of 1; nan where a class is nowhere.

    The union is the pixels that have the class as label, as answer, or both.
    """
    right = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - right
    shares: Array = np.divide(right, union, out=np.full(len(matrix), math.nan), where=union > 0)
    return shares


def mean_iou(matrix: Matrix) -> float:
    """The mean of `ious` over the classes that are somewhere, share of 1; nan where none is.

    A class that is answered and is no label counts, as 0. One that is neither is left out: `nowhere` tells which.
    gluon-cv and the code of ADE20K's authors divide by union + ε, so they count such a class as 0.
    """
    found = ious(matrix)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else math.nan


def nowhere(matrix: Matrix) -> list[int]:
    """The classes that are neither label nor answer of any labelled pixel, ascending."""
    return np.flatnonzero(matrix.sum(0) + matrix.sum(1) == 0).tolist()
