"""Numbers, lists and the names of metrics in sentences."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness import metrics


class Titles(dict[str, str]):
    """What tables call metrics; one of a study's own is called by its name."""

    def __missing__(self, name: str) -> str:
        return name


METRICS = Titles({name: metric.title for name, metric in metrics.METRICS.items()})
METRICS |= {  # as records name them: as tables do
    "top1": "top-1",
    "top5": "top-5",
    "mAP": "mAP",
    "mAP_area": "mAP (area)",
    "mIoU": "mIoU",
    "pixAcc": "pixel accuracy",
}
SECOND = {"top1": "top5", "mAP": "mAP_area", "mIoU": "pixAcc"}  # by the headline metric: what stands beside it


@dataclass(frozen=True)
class Measure:
    """The metric that a frame is about: its name and unit, whether lower is better, and the decimals of its numbers."""

    name: str = "top1"
    unit: str = "%"
    lower: bool = False
    decimals: int = 2

    @property
    def title(self) -> str:
        return METRICS[self.name]

    @property
    def axis(self) -> str:
        """What an axis of values is called: "top-1 (%)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def points(self) -> str:
        """What gains are in: "points" of percent, else the unit."""
        return "points" if self.unit == "%" else self.unit

    @property
    def of(self) -> str:
        """What gains are of: "points of top-1", "nats of test loss"."""
        return f"{self.points} of {self.title}" if self.points else self.title

    def value(self, x: float) -> str:
        """With its unit: "93.70 %"."""
        return f"{x:.{self.decimals}f} {self.unit}".rstrip()

    def bare(self, x: float) -> str:
        return f"{x:.{self.decimals}f}"

    def gain(self, x: float) -> str:
        """With a sign, and no -0.00."""
        return f"{round(x, self.decimals) + 0.0:+.{self.decimals}f}"

    def turned(self, verdict: str) -> str:
        """A verdict that took more for better, as it is of this metric."""
        other = {"helps": "hurts", "hurts": "helps"}
        first = verdict.partition(" ")[0]
        return other[first] + verdict[len(first) :] if self.lower and first in other else verdict


TOP1 = Measure()


def decimals(unit: str, values: Iterable[float]) -> int:
    """Two of percent; else so many that the largest value has four digits."""
    most = max((abs(x) for x in values if math.isfinite(x)), default=0.0)
    return 2 if unit == "%" or not most else min(6, max(0, 3 - math.floor(math.log10(most))))


def count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * int(n != 1)}"


def flops(giga: float) -> str:
    """`1.65 MFLOPs`, `3.86 GFLOPs`: of so many 10⁹ multiply-adds."""
    return f"{giga:.3g} GFLOPs" if giga >= 0.1 else f"{1000 * giga:.3g} MFLOPs"


def together(items: Iterable[object]) -> str:
    """`a, b and c`."""
    every = list(map(str, items))
    return " and ".join(filter(None, [", ".join(every[:-1]), *every[-1:]]))


def opening(title: str) -> str:
    """A metric's title as a sentence begins with it: Top-1, but mAP."""
    return title if title[1:2].isupper() else title[:1].upper() + title[1:]


def spoken(text: str, score: str) -> str:
    """A text that is written for top-1, and holds nothing of a user's, as it reads of another headline metric."""
    if score == "top1":
        return text
    if score == "seconds" and "that of the precision" in text:
        return re.sub(r"([Aa]ccuracy|its accuracy).*", "seconds are those of the emulation", text)
    title, second = METRICS[score], METRICS[SECOND.get(score, "top5")]
    words = {"is more accurate": f"has a higher {title}", "Top-1": opening(title), "top-1": title, "top-5": second}
    words |= {"Accuracy": opening(title), "accuracy": title}
    return re.sub("|".join(words), lambda found: words[found[0]], text)
