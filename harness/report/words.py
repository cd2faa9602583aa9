"""Numbers, lists and the names of metrics in sentences."""

import re
from collections.abc import Iterable

METRICS = {  # as records name them: as tables do
    "top1": "top-1",
    "top5": "top-5",
    "mAP": "mAP",
    "mAP_area": "mAP (area)",
    "mIoU": "mIoU",
    "pixAcc": "pixel accuracy",
}
SECOND = {"top1": "top5", "mAP": "mAP_area", "mIoU": "pixAcc"}  # by the headline metric: what stands beside it


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
    title, second = METRICS[score], METRICS[SECOND[score]]
    words = {"is more accurate": f"has a higher {title}", "Top-1": opening(title), "top-1": title, "top-5": second}
    words |= {"Accuracy": opening(title), "accuracy": title}
    return re.sub("|".join(words), lambda found: words[found[0]], text)
