"""Small cases of detection and segmentation whose scores are worked out by hand, and random ones."""

from fractions import Fraction

import numpy as np

A, B, C, FAR = (0, 0, 99, 99), (200, 0, 299, 99), (400, 0, 499, 99), (700, 700, 799, 799)
LOWER, RIGHT = (0, 0, 99, 89), (200, 0, 299, 89)  # A and B without their last ten rows: IoU .9


def boxes(*corners, difficult=()):
    """Boxes of class 1 in one image; those in `difficult` are."""
    return np.array([(1, *box, box in difficult) for box in corners], float).reshape(-1, 6)


def said(*scored):
    """Detections of class 1 in one image: (score, box)."""
    return np.array([(1, score, *box) for score, box in scored], float).reshape(-1, 6)


DETECTION = {  # name -> boxes of each image, detections of each, area and eleven-point average precision
    "a miss, a false alarm": (
        [boxes(A, B, C)],
        [said((0.9, A), (0.8, FAR), (0.7, B))],
        Fraction(5, 9),
        Fraction(6, 11),
    ),
    "a duplicate": (
        [boxes(A), boxes(B)],
        [said((0.9, A), (0.8, LOWER)), said((0.7, B))],
        Fraction(5, 6),
        Fraction(28, 33),
    ),
    "difficult, hit twice": (
        [boxes(A, B, difficult=(B,)), boxes(C)],
        [said((0.95, B), (0.9, RIGHT), (0.8, A), (0.7, FAR)), said((0.6, C))],
        Fraction(5, 6),
        Fraction(28, 33),
    ),
    "IoU exactly a half": ([boxes((1, 1, 10, 10))], [said((0.9, (1, 1, 10, 5)))], Fraction(1), Fraction(1)),
    "the best box is taken": (
        [boxes(A, (0, 20, 99, 119))],
        [said((0.9, (0, 8, 99, 107)), (0.8, (0, 9, 99, 108)))],
        Fraction(1, 2),
        Fraction(6, 11),
    ),
    "recall 3/10": (
        [boxes(A)] * 10,
        [said((score, A)) for score in (0.90, 0.89, 0.88)] + [said()] * 7,
        Fraction(3, 10),
        Fraction(4, 11),
    ),
    "the order of the set": (
        [boxes(A), boxes(A)],
        [said((0.6, A), (0.5, FAR)), said((0.9, FAR), (0.4, A))],
        Fraction(1, 2),
        Fraction(1, 2),
    ),
    "precision rises": (
        [boxes(A, B), boxes(A, B)],
        [said((0.9, FAR), (0.8, A), (0.7, B)), said((0.6, A), (0.5, FAR))],
        Fraction(9, 16),
        Fraction(6, 11),
    ),
}


def labels(*rows):
    """Rows of digits as images of one row; 0 is not labelled, so that -1 stands there, and class 1 is 0."""
    return [np.array([[int(digit) - 1 for digit in row]], np.int16) for row in rows]


SEGMENTATION = {  # name -> classes, labels and answers of each image, pixel accuracy and mIoU
    "of the set, not of images": (2, labels("1111", "1222"), labels("1111", "2211"), Fraction(5, 8), Fraction(23, 56)),
    "not labelled": (2, labels("112000"), labels("122122"), Fraction(2, 3), Fraction(1, 2)),
    "one class nowhere, one answered alone": (4, labels("1122"), labels("1123"), Fraction(3, 4), Fraction(1, 2)),
    "all wrong": (3, labels("1111"), labels("2222"), Fraction(0), Fraction(0)),
}


def random_set(rng, images=4, classes=2, side=8, least=0):
    """Boxes and detections on a grid of `side` px, many of them alike, with equal scores and difficult boxes."""

    def corners(n):
        low = rng.integers(0, side, (n, 2))
        return np.c_[low, np.minimum(low + rng.integers(0, side, (n, 2)), side - 1)]

    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(least, 5))
        own = np.c_[rng.integers(1, classes + 1, n), corners(n), rng.random(n) < 0.2]
        other = corners(int(rng.integers(0, 6)))
        every = np.r_[own[:, 1:5], own[:, 1:5], other]
        every = every[rng.permutation(len(every))]
        truth.append(own.astype(float))
        found.append(
            np.c_[rng.integers(1, classes + 1, len(every)), rng.integers(1, 8, len(every)) / 8, every].astype(float)
        )
    return truth, found
