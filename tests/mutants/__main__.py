"""The command; see `tests.mutants`."""

import argparse
import sys
import time
from collections import Counter

import torch

from harness.spec import changes
from tests.mutants import MUTANTS, TINY, Mutant, refusal, said
from tests.mutants.breaking import KINDS, nothing
from tests.mutants.rates import print_rates


def outcome(mutant: Mutant) -> tuple[bool, str]:
    """Whether a check caught it, and what is to be said."""
    try:
        status, rows = refusal(mutant.spec, mutant.inject, mutant.seed)
    except Exception as error:  # a run that ends in an error is no run that was refused
        return False, f"NOT CAUGHT, RAISED {type(error).__name__}: {error}"
    return status == "refused" and bool(rows), said(rows[0]) if rows else f"NOT CAUGHT, {status}"


def falsely_refused(mutants: list[Mutant]) -> int:
    """How many of their specifications are refused where nothing is broken, printed."""
    wrong = 0
    for spec, seed in dict.fromkeys((mutant.spec, mutant.seed) for mutant in mutants):
        if not any(mutant.spec == spec and mutant.inject is nothing for mutant in mutants):
            _, rows = refusal(spec, seed=seed)
            wrong += bool(rows)
            for row in rows[:1]:
                print(f"| {'; '.join(changes(TINY, spec))} | none | FALSELY REFUSED: {said(row)} |")
    return wrong


def main() -> int:
    told = argparse.ArgumentParser(prog="python -m tests.mutants", description="What catches each mutant.")
    told.add_argument("--only", metavar="WORD", help="those with it in their part, kind or name")
    told.add_argument("--rates", action="store_true", help="how often a deviation at some steps is met, and refused")
    asked = told.parse_args()
    torch.set_num_threads(1)
    if asked.rates:
        return print_rates()
    chosen = [m for m in MUTANTS if not asked.only or asked.only in f"{m.part}: {m.kind}: {m.name}"]
    began = time.monotonic()
    wrong = falsely_refused(chosen)
    tried, caught = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    print("| part | kind | mutant | caught by |\n|---|---|---|---|")
    for mutant in chosen:
        fine, words = outcome(mutant)
        wrong += not fine
        tried[mutant.part, mutant.kind] += 1
        caught[mutant.part, mutant.kind] += fine
        print(f"| {mutant.part} | {mutant.kind} | {mutant.name} | {words} |", flush=True)
    print(f"\nCaught, of those tried: {'; '.join(f'{kind}, {what}' for kind, what in KINDS.items())}.\n")
    print(f"| part | {' | '.join(KINDS)} | all |\n|---|{'---|' * (len(KINDS) + 1)}")
    for part in (*dict.fromkeys(m.part for m in chosen), ""):
        row = []
        for kind in (*KINDS, ""):
            cells = [cell for cell in tried if part in ("", cell[0]) and kind in ("", cell[1])]
            n = sum(tried[cell] for cell in cells)
            row.append(f"{sum(caught[cell] for cell in cells)} of {n}" if n else "")
        print(f"| {part or 'all'} | {' | '.join(row)} |")
    seconds = time.monotonic() - began
    print(f"\n{len(chosen)} mutants in {seconds:.0f} s: {wrong} not caught, or refused where nothing was broken.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
