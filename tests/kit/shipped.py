"""What is shipped: the tricks that `harness/README.md` names, and the studies of `experiments/README.md`.

A user's own lie beside them, tracked or not, and turn no test red but those that judge them. Whoever ships a trick
names it there, and is then asked for its mutants.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREE, ROOMS = ((ROOT / room / "README.md").read_text().split("```")[1] for room in ("experiments", "harness"))


def _named(text: str) -> set[str]:
    return set(re.findall(r"(\w+)\.py", text))


def ours(path: Path) -> bool:
    """Whether a module of `harness/` is shipped, and no trick of a user's."""
    return path.parent.name != "tricks" or path.stem in {*TRICKS, "__init__", "__main__"}


STUDIES = _named(TREE)
TRICKS = _named(ROOMS.split("\ntricks/")[1].split("\ntasks/")[0])
