"""What each figure is called, and what a reader must know to read it."""

from harness.report.words import METRICS, spoken

CAPTIONS = {  # name -> heading, what a reader must know to read it
    "waterfall": (
        "What each rung adds",
        "Each bar starts at the mean of the rung below and ends where the gain takes it. The thin line is the gain's "
        "95 % interval. Blue helps, vermilion hurts, hollow is not resolved.",
    ),
    "designs": (
        "The same tricks by other designs",
        "Each panel is one design, run with the same settings: what a trick gives on the ladder, on top of all others, "
        "alone, or on average. An arrow with a number lies beyond the frame. Blue helps, vermilion hurts, hollow is "
        "not resolved by that design's own tests.",
    ),
    "classes": (
        "Gains by class",
        "Means over the pairs of runs. For top-1 a number is the points of the gain that the images of one class make, "
        "so a row adds up to the gain in top-1. Bold is resolved: a paired t-test at .05 after Holm over all classes "
        "and rungs. Blue is a gain, vermilion a loss.",
    ),
    "target": (
        "Epochs to the target",
        "Each small dot is a seed: where its share of the line between two lengths crosses the target. Large points "
        "and bars are means with 95 % intervals. Right: what the rung saves over the one that it is built on. Blue "
        "helps, vermilion hurts, hollow is not resolved.",
    ),
    "ladder": (
        "Every seed",
        "Each small dot is a seed. Large points and bars are means with 95 % intervals; an arrow goes on beyond the "
        "frame. Blue helps, vermilion hurts, hollow is not resolved. A run that diverged is a ×, and counts.",
    ),
    "effects": (
        "Effects",
        "Points of top-1 with 95 % intervals; hollow is not resolved. A thick line, where orders were sampled: ± 1 "
        "standard error of the orders, which the interval includes.",
    ),
    "curves": (
        "Training",
        "Lines are means over seeds; a band reaches from the lowest seed to the highest. Left: in training, averaged "
        "over the epoch, on the images and targets that were trained on: do not compare rungs that change these. "
        "A loss of another kind and scale has its own panel. Right: after the epoch, on the test images, or on those "
        "held out of training. A run that diverged (×) keeps its last accuracy.",
    ),
    "transfer": (
        "Backbones",
        "Large dots: means over seeds, ± s.d. both ways; small dots: a backbone of one seed, and what stands on it. If "
        "what is better by itself is better to build on, they rise from left to right.",
    ),
    "rates": ("Learning rates", "As the optimizer had them at each step, read while training. A line a schedule."),
    "cost": (
        "Accuracy against cost",
        "Means with 95 % intervals. The line is the Pareto front: nothing as cheap is more accurate. Above 16 rungs "
        "only the first and those on the front are named. Seconds leave out tests, and networks trained before the "
        "run. A square is an emulated precision: its accuracy is that of the precision, its speed is not. FLOPs are "
        "multiply-adds of one image's forward; they have a panel where rungs differ by a fifth or more.",
    ),
    "tuned": (
        "Gains, untuned and tuned",
        "Means with 95 % intervals, paired by seed. Blue helps, vermilion hurts, hollow is not resolved.",
    ),
    "trials": (
        "Was it tuned enough?",
        "Held-out top-1 that the best of n of a rung's trials is expected to have. It rises ever less; where it "
        "is still steep at its end, that rung had too few. Drawn by TPE, trials depend on each other, and the line "
        "describes those seen.",
    ),
}


def captions(score: str, lower: bool = False) -> dict[str, tuple[str, str]]:
    """`CAPTIONS` of figures of that headline metric; of one which `lower` is better they say so."""
    told = {name: (spoken(heading, score), spoken(text, score)) for name, (heading, text) in CAPTIONS.items()}
    higher, less = f"has a higher {METRICS[score]}", f"has a lower {METRICS[score]}"
    return {name: (head, text.replace(higher, less)) for name, (head, text) in told.items()} if lower else told
