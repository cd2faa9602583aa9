"""Statistics of a few runs: pure functions on arrays; numpy and scipy only."""

from harness.stats.accuracies import (
    binomial_se,
    discordant,
    discordant_interval,
    distribution_sd,
    distribution_variance,
    gain_errors,
    mcnemar,
    outperformance,
    unpacked,
    wilson,
)
from harness.stats.detection import Curve, claims, curves, mean_ap
from harness.stats.effects import antithetic_orders, by_bits, sampled_shapley, shapley
from harness.stats.factorial import (
    FACTORS,
    GENERATORS,
    aliases,
    defining_relation,
    factorial_effects,
    fraction,
    resolution,
    words,
)
from harness.stats.looks import LOOKS, Decision, crossing, decide, seeds_asked, sequential_bounds
from harness.stats.moderated import FLOOR, LEAST, PLAIN, Prior, moderated_t, prior, smyth, squeezed
from harness.stats.planning import detectable, power, seeds_needed
from harness.stats.ranks import Ranks, kendall, rank_correlation, spearman
from harness.stats.reaching import Walk, crossings, mean_of, walk
from harness.stats.rows import Comparison, Test, adjusted_verdict, compare, compare_apart, known
from harness.stats.seeds import Noise, curve, least_effect, noise, seeds_planned
from harness.stats.segmentation import confusion, ious, mean_iou, nowhere, pixel_accuracy
from harness.stats.tests import (
    EXACT,
    STEADY,
    TIE,
    TINY,
    Array,
    attainable_p,
    flat,
    gains_apart,
    holm,
    mean_sd,
    pair_correlation,
    paired_t,
    sign_flip,
    summed,
    t_interval,
    t_test,
    welch_t,
)
from harness.stats.trials import best_of_n, best_of_n_interval
