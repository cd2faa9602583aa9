"""What a report is called, in words."""

from collections.abc import Iterable
from typing import Any

from harness import one_line
from harness.report.words import METRICS, count

Plan = dict[str, Any]
LONGEST = 60  # letters of a study's own title, and of a setting that a title repeats
DESIGNS = {
    "ladder": "ladder",
    "leave-one-out": "each trick left out",
    "add-one": "each trick alone",
    "shapley": "Shapley values",
    "factorial": "factorial",
}

SAID = {"epochs": "epoch", "data.limit": "training image", "data.limit_test": "test image"}
SAID |= {"data.of.limit": "training image", "data.of.limit_test": "test image"}  # of data with images held out
TOLD = ("epochs=", "data.limit=", "data.of.limit=")  # what a title has from the runs


def in_words(setting: str) -> str:
    """`epochs=2` as 2 epochs, `data.limit_test=300` as 300 test images; another as it was told."""
    path, _, value = setting.partition("=")
    return count(int(value), SAID[path]) if value.isdigit() and path in SAID else setting


def study_title(plan: Plan) -> str:
    """The first line of the study's words up to the first colon, as for a trick; its name where there is no colon."""
    first = str(plan["about"]).strip().partition("\n")[0]
    title, colon, _ = first.partition(":")
    said = one_line(title.strip(), LONGEST + 1)
    return said if colon and said and len(said) <= LONGEST else one_line(plan["study"])


def title(plan: Plan, trained: Iterable[int] = ()) -> str:
    """`CIFAR-10, 10,000 images, 9 epochs`: study, design, training images, epochs, and settings that are short.

    `trained`: the numbers of training images of its runs; none where there is no run. Of epochs those of the shortest
    rung; none of a plan to a target, whose rungs have what they need.
    """
    parts = [study_title(plan)]
    if plan["design"] != "ladder":
        parts.append(f"over {plan['against']}" if "against" in plan else DESIGNS[plan["design"]])
    if plan.get("tuned"):
        parts.append(f"tuned by {plan['tuned']['trials']} trials a rung")
    images, epochs = sorted(set(trained)), sorted({rung["epochs"] for rung in plan["rungs"]})
    if images:
        parts.append(" to ".join(dict.fromkeys(f"{n:,}" for n in (images[0], images[-1]))) + " images")
    if epochs and "target" not in plan:
        parts.append(f"{epochs[0]} epoch{'s' * (epochs[0] != 1)}")
    if plan.get("metric"):
        parts.append(f"by {METRICS[plan['metric']]}")
    settings = (said for said in plan["settings"] if not said.partition("=")[0].endswith(".root"))  # where data lie
    told = [one_line(in_words(said)) for said in settings if not said.startswith(TOLD)]
    return ", ".join([*parts, *(said for said in told if len(said) <= LONGEST // 2)])
