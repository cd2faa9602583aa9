"""Runs of several ranks: what each has of a batch, what becomes of their gradients, and who answers the test."""

from harness.parts.norms import SyncBatchNorm2d
from harness.ranks import Ranks
from harness.tricks.sam import sam
from tests.mutants.breaking import TINY, Broken, Inject, edited, text

TWO = TINY.but(batch_size=120, ranks=2, epochs=2)
JOINT = TWO.but(sync_norms=True)
SUMMED = "distributed.all_reduce(flat, group=self.group)"
SHARE = "self.rank * n : (self.rank + 1) * n"


def reduced(new: str) -> Inject:
    return edited(Ranks, "reduce", SUMMED, new)


def shared(new: str) -> Inject:
    return edited(Ranks, "share", SHARE, new)


BROKEN: Broken = {
    "ranks": [
        ("gradients that are not summed", TWO, reduced("flat")),
        ("gradients divided by the ranks", TWO, reduced(f"{SUMMED}; flat /= self.size")),
        ("shares that count as a batch", TWO, text("(len(z) / images)", "(len(z) / len(x))")),
        ("rank 1's gradient dropped", TWO, reduced(f"flat *= self.rank != 1; {SUMMED}")),
        ("the same share for every rank", TWO, shared("0 : n")),
        ("shares of an overlap", TWO, shared("self.rank * (n - 1) : self.rank * (n - 1) + n")),
        (
            "the gradient at other weights not summed",
            sam(TWO),
            text("run.ranks.reduce(run.model)", "run.trace.is_away or run.ranks.reduce(run.model)"),
        ),
        (
            "statistics of rank 0 alone",
            TWO,
            edited(Ranks, "reduce", "statistic /= self.size", "statistic *= not self.rank"),
        ),
        (
            "losses of rank 0 alone",
            TWO,
            edited(Ranks, "sum", "distributed.all_reduce(every, group=self.group)", "every"),
        ),
        (
            "norms of each rank's own",
            JOINT,
            edited(
                SyncBatchNorm2d,
                "moments",
                "mean = means.mean(0)",
                "mean, variances = means[self.ranks.rank], variances[[self.ranks.rank]]",
            ),
        ),
    ]
}
LATER: Broken = {
    "ranks": [
        (
            "gradients that are not summed in the last epoch",
            TWO,
            text("run.ranks.reduce(run.model)", "run.epoch == 1 or run.ranks.reduce(run.model)"),
        ),
        (
            "weights of rank 1 that drift",
            TWO,
            text(
                "run.runner.step(run.optimizer)",
                "run.runner.step(run.optimizer); run.model.fc.bias.data.add_(run.ranks.rank * 1e-3)",
            ),
        ),
    ]
}
TESTED: Broken = {
    "ranks": [
        (
            "answers of ranks in another order",
            TWO,
            edited(
                Ranks,
                "in_turn",
                "zip(every, dealt,",
                "zip(torch.cat(every[::-1]).split([len(z) for z in every]), dealt,",
            ),
        ),
        (
            "one rank's answers for all",
            TWO,
            edited(
                Ranks,
                "_each",
                "found.append(each)",
                "found.append(found[0] if found and found[0].shape == each.shape else each)",
            ),
        ),
    ]
}
BY_KIND = {"0": BROKEN, "A": LATER, "C": TESTED}
