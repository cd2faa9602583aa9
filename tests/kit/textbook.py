"""Data of textbooks, and how far a simulated share may lie from its chance."""

import math

import numpy as np

from harness import stats

# Student (1908), hours of extra sleep under two drugs: mean difference 1.58, 95 % interval [0.7001, 2.4599].
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]


DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


SLEEP = np.subtract(DRUG_2, DRUG_1)


def binomial(chance, draws):
    return 4 * math.sqrt(chance * (1 - chance) / draws)


def verdicts(rows, points=0.0, **options):
    return [row.verdict for row in stats.decide(rows, points, **options)]
