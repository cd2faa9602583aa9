"""What each figure is called, and what a reader must know to read it."""

from harness.report.words import spoken

CAPTIONS = {  # name -> heading, what a reader must know to read it
    "ladder": (
        "Accuracy and gains",
        "Dots: seeds. Points and bars: mean with 95 % interval; an arrow where one goes on beyond the frame. Blue "
        "helps, vermilion hurts, hollow is not resolved. ×: a run that diverged; it counts.",
    ),
    "effects": (
        "Effects",
        "Points of top-1 with 95 % intervals; hollow is not resolved. A thick line, where orders were sampled: ± 1 "
        "standard error of the orders, which the interval includes.",
    ),
    "curves": (
        "Training",
        "Means over seeds; the band is from the least to the greatest seed. Left: in training, over the epoch and on "
        "images and targets as they were trained on, so not comparable between rungs that change these. Right: after "
        "the epoch, on the test images, or on those held out of training. Of top-1 the first epochs may be below the "
        "frame, and a run that diverged (×) keeps its last accuracy.",
    ),
    "transfer": (
        "Backbones",
        "Large dots: means over seeds, ± s.d. both ways; small dots: a backbone of one seed, and what stands on it. If "
        "what is better by itself is better to build on, they rise from left to right.",
    ),
    "rates": ("Learning rates", "As the optimizer had them at each step, read while training. A line a schedule."),
    "cost": (
        "Accuracy against cost",
        "Means with 95 % intervals; the line is the Pareto front: nothing as cheap is more accurate. Of more than 16 "
        "rungs the first and the front are named. Seconds of training a run leave out tests, and networks trained "
        "before it. Squares, if any: FP16 emulated, whose accuracy is that of half precision, and whose speed is not. "
        "GFLOPs are multiply-adds of one image's forward.",
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


def captions(score: str) -> dict[str, tuple[str, str]]:
    """`CAPTIONS` of figures of that headline metric."""
    return {name: (spoken(heading, score), spoken(text, score)) for name, (heading, text) in CAPTIONS.items()}
