"""What is shipped: the tricks and studies that the README's tree names.

A user's own lie beside them, tracked or not, and turn no test red but those that judge them. Whoever ships a trick
names it there, and is then asked for its mutants.
"""

import re
from pathlib import Path

TREE = (Path(__file__).parents[2] / "README.md").read_text().split("## The tree")[1].split("```")[1]


def _between(above: str, below: str) -> set[str]:
    return set(re.findall(r"(\w+)\.py", TREE.split(above)[1].split(below)[0]))


def ours(path: Path) -> bool:
    """Whether a module of `harness/` is shipped, and no trick of a user's."""
    return path.parent.name != "tricks" or path.stem in {*TRICKS, "__init__"}


STUDIES = _between("\nexperiments/", "\nharness/")
TRICKS = _between("\n  tricks/", "\n  tasks/")
