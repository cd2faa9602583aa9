"""Tricks, parts and a loop that do not do what they say: each must be refused by the evidence of its run.

    python -m tests.mutants

trains every mutant on a study that takes a moment, prints which check caught it, and exits with 1 where none did.
"""

from tests.mutants import (
    airbench,
    alike,
    doors,
    finetuned,
    judged,
    later,
    mixed,
    modern,
    page,
    quick,
    recipes,
    scenes,
    shared,
    splits,
    steps,
    tensors,
    tested,
    tf32,
)
from tests.mutants.breaking import KINDS, TINY, Mutant, Patch, edited, refusal, said, stand_in, text
from tests.mutants.first import BROKEN as FIRST

BROKEN = (
    FIRST
    | airbench.BROKEN
    | doors.BROKEN
    | finetuned.BROKEN
    | mixed.BROKEN
    | modern.BROKEN
    | quick.BROKEN
    | recipes.BROKEN
    | steps.BROKEN
    | tf32.BROKEN
)  # the parts whose first mutant does nothing

TABLES = {
    "0": FIRST,
    "A": later.BROKEN,
    "B": alike.BROKEN,
    "C": tested.BROKEN,
    "D": tensors.BROKEN,
    "E": splits.BROKEN,
}
MUTANTS = [
    Mutant(part, kind, *mutant)
    for kind, table in (
        *TABLES.items(),
        *airbench.BY_KIND.items(),
        *doors.BY_KIND.items(),
        *finetuned.BY_KIND.items(),
        *mixed.BY_KIND.items(),
        *modern.BY_KIND.items(),
        *page.BY_KIND.items(),
        *quick.BY_KIND.items(),
        *steps.BY_KIND.items(),
        *recipes.BY_KIND.items(),
        *scenes.BY_KIND.items(),
        *judged.BY_KIND.items(),
        *shared.BY_KIND.items(),
        *tf32.BY_KIND.items(),
    )
    for part, mutants in table.items()
    for mutant in mutants
]

__all__ = [
    "BROKEN",
    "KINDS",
    "MUTANTS",
    "TINY",
    "Mutant",
    "Patch",
    "edited",
    "refusal",
    "said",
    "stand_in",
    "text",
]
