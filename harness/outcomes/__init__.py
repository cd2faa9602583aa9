"""What a study came to, for use from code: frames of its runs, rungs and gains, and its trained networks.

    import harness

    found = harness.results("digits")
    found.table                                   # the report's table, as text
    found.runs.groupby("rung")["top1"].max()      # every run is a row
    found.network("baseline", seed=0).predict("seven.png")

Nothing here trains, and nothing is written. torch is loaded when a network is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness import Problem, one_line, report
from harness.store import Store

if TYPE_CHECKING:  # each takes seconds, which `import harness` need not wait for
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from harness.outcomes.networks import Network


class Results:
    """A study that was run here, by its address, `./my_study.py`, or its report's name, `digits@shapley` say.

    Frames are made when they are first asked for, from the store alone. Scores and gains are of the metric `score`,
    in its unit, percent and points as a rule: the headline of the study, or `metric`, as `--metric` has it, if given.
    `place` numbers the rungs of the plan from 0, and is what joins the frames.

    Raises Problem where no such study was run here, and, of the frames, where no run is finished.
    """

    def __init__(self, study: str, test: str | None = None, metric: str | None = None) -> None:
        self.study, plan = report.label_of(study), report.recall(study)
        plan = report.measured(plan, metric) if metric else plan
        self.plan, self.store = report.tested(plan, test) if test else plan, Store()

    def __repr__(self) -> str:
        rungs = self.plan["rungs"]
        return f"<results of {self.study}: {len(rungs)} rungs, {sum(len(rung['seeds']) for rung in rungs)} runs>"

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: place, rung, seed, status, its metrics, params, gmacs, seconds, device, epochs, evidence, …

        `epochs` and `evidence` hold lists, which the frames of that name have as rows; damaged runs are left out.
        """
        return report.finished(self.plan, self.store)

    @cached_property
    def rungs(self) -> pd.DataFrame:
        """One row a rung, unrounded: mean and s.d. of each metric, its gain with interval and verdict, its cost.

        The columns are those of table.csv; `harness.report.frames.compared.rungs` says how each is made.
        """
        from harness.report import frames

        return frames.rungs(self.plan, self.runs)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """One row a rung that has a gain: over which, in points, its 95 % interval, pairs of runs, p, verdict."""
        named = {place: one_line(rung["name"]) for place, rung in enumerate(self.plan["rungs"])}
        rows = self.rungs[self.rungs["gain"].notna()]
        held = [next(i for i in self.plan["rungs"][place]["gain"] if i != place) for place in rows["place"]]
        kept = ["place", "rung", "title", "gain", "gain_low", "gain_high", "gain_pairs", "p", "adjusted", "verdict"]
        short = {"gain_low": "low", "gain_high": "high", "gain_pairs": "pairs"}
        made = rows[kept].rename(columns=short).reset_index(drop=True)
        made.insert(3, "over", [named[i] for i in held])
        made.insert(4, "over_place", held)
        return made

    @cached_property
    def effects(self) -> pd.DataFrame | None:
        """One row a Shapley value or a factorial effect; None under other designs."""
        from harness.report import frames

        return frames.effects(self.plan, self.runs)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch of a run: place, rung, seed, epoch (from 0), loss, lr, seconds, and the scores so far."""
        import pandas as pd

        runs = self.runs[["place", "rung", "seed", "epochs"]].itertuples(index=False)
        return pd.DataFrame(
            {"place": run.place, "rung": run.rung, "seed": run.seed} | row for run in runs for row in run.epochs
        )

    @cached_property
    def evidence(self) -> pd.DataFrame:
        """One row a check of a rung: what was expected and seen, and in how many (`ok`) of its `n` runs it held."""
        from harness.report import frames

        return frames.evidence(self.plan, self.runs)

    @property
    def score(self) -> str:
        """The metric that rungs are compared by: top1, mAP or mIoU, or the one that was asked for."""
        from harness.report import frames

        return frames.headline(self.runs)

    @property
    def table(self) -> pd.DataFrame:
        """The report's table as text, a row a rung."""
        from harness.report import tables

        return tables.shown(self.rungs, self.plan["design"])

    @property
    def notes(self) -> list[str]:
        """How the table's numbers were made, and what to doubt."""
        from harness.report import frames

        return frames.footnotes(self.plan, self.runs, self.rungs)

    def figure(self, name: str) -> Figure:
        """A figure of the report: ladder, curves, rates, cost, or effects. Raises Problem where it has none such."""
        drawn = list[str]()
        for other, figure in report.draw(self.plan, self.runs, self.rungs, self.effects):
            if other == name:
                made: Figure = figure
                return made
            drawn.append(other)
        raise Problem(f"{self.study} has no figure {name!r}; there are: {', '.join(drawn)}")

    def right(self, rung: str | int) -> pd.DataFrame:
        """Which test images each run of a rung had right: one row a seed, one column an image, in the set's order.

        Raises Problem where records do not tell: of mAP and mIoU, which are no counts of images.
        """
        import pandas as pd

        from harness.report.frames import counted, right_bits

        own = self.runs[counted(self.runs) & (self.runs["place"] == self.place(rung))]
        rows = [row for row in own.to_dict("records") if row["correct"]]
        if not rows:
            raise Problem(f"{self.study}: no run of {rung!r} tells which test images it had right")
        return pd.DataFrame(right_bits(rows), index=pd.Index([row["seed"] for row in rows], name="seed"))

    def logits(self, rung: str | int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Labels N and logits N x K, in half precision, of a run's test images, in the set's order.

        Raises Problem where the run is not finished, or kept none: one of before, or of another task, or of too many
        images and classes.
        """
        own = self.plan["rungs"][self.place(rung)]
        if (own["id"], seed) not in self.store:
            raise Problem(f"{one_line(own['name'])} of {self.study} has no finished run of seed {seed}")
        kept: tuple[NDArray[np.int64], NDArray[np.float16]] | None = self.store.logits(own["id"], seed)
        if kept is None:
            why = self.store.read(own["id"], seed).get("no_logits") or "harness.ablate --fresh trains it anew"
            raise Problem(f"{one_line(own['name'])} of {self.study}, seed {seed}, kept no logits: {one_line(why)}")
        return kept

    def network(self, rung: str | int, seed: int | None = None) -> Network:
        """The network that a run of `rung` trained; `rung` is a name, a place in the plan, or a specification's id.

        `seed` is the first of the rung's that is finished, where none is given. Its data is read, for the classes and
        the normalisation, and must be that it was trained on. Raises Problem where the run is not finished, or its
        data, its weights or the code of its parts is not here.
        """
        from harness.outcomes.networks import revived

        own = self.plan["rungs"][self.place(rung)]
        if seed is None:
            seed = next((each for each in own["seeds"] if (own["id"], each) in self.store), None)
        if seed is None:
            raise Problem(f"{one_line(own['name'])} of {self.study} has no finished run: harness.ablate trains it")
        return revived(self.store, own["id"], seed)

    def place(self, rung: str | int) -> int:
        """Where a rung stands in the plan, by its name, its title in tables, its specification's id, or its place.

        Raises Problem where there is none such, or several.
        """
        return report.place(self.plan, rung)
