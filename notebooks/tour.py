# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of one study
#
# `make ablate` left a plan, which says what runs there should be, and a store, which has what each of them measured.
# `harness.results` reads both. From it this notebook takes the study's table and two of its figures, and then asks a
# question that no report answers. Nothing here trains. For another study change `STUDY`, and run all cells.

# %%
import os
from functools import reduce
from io import StringIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

import harness

STUDY = "digits"

os.environ.setdefault("HARNESS_RUNS", str(Path(harness.__file__).parents[1] / "runs"))  # wherever this was opened
found = harness.results(STUDY)
print(found)


class Picture:
    """A figure that Jupyter shows where a cell ends in it."""

    def __init__(self, figure):
        self.figure = figure

    def _repr_svg_(self):
        svg = StringIO()
        self.figure.savefig(svg, format="svg")
        return svg.getvalue()


# %% [markdown]
# Every run is a row, so whatever pandas can do you can do with runs. `place` is where its rung stands in the plan.
# `found.epochs` has a row an epoch, `found.gains` a row a gain, `found.evidence` a row a check.

# %%
every = found.runs
print(f"{len(every)} runs, {len(every.columns)} columns:", *every.columns)
every.filter(["place", "rung", "seed", "status", "top1", "test_loss", "seconds"]).head()

# %% [markdown]
# Every rung is a row of the study's table. `found.rungs` has the numbers unrounded, `found.table` the text of the
# report; the notes say how they were made and what to doubt.

# %%
print(*(f"- {note}" for note in found.notes), sep="\n")
found.table.set_index("rung")

# %% [markdown]
# The forest plot: the runs of each rung, and its gains, paired by seed, where the design has any. Where a gain's bar
# crosses the line at 0, the trick may help or hurt.

# %%
Picture(found.figure("ladder"))

# %% [markdown]
# The learning curves.

# %%
Picture(found.figure("curves"))

# %% [markdown]
# Now a question of our own. Two rungs may be equally accurate and still be right about different images. Each row is
# one seed: how many test images only one of the two runs had right, and McNemar's p that both are right equally often.
# That p speaks of two runs, not of two rungs: see how the rows differ before you believe one.

# %%
last = found.rungs["place"].iloc[-1]
places = last, found.gains.set_index("place")["over_place"].get(last, 0)  # of two rungs: try others
names = [found.rungs.set_index("place")["rung"][place] for place in places]
a, b = map(found.right, places)  # a row a seed, a column a test image
seeds = sorted(set(a.index) & set(b.index))
only = [(int((a.loc[seed] & ~b.loc[seed]).sum()), int((b.loc[seed] & ~a.loc[seed]).sum())) for seed in seeds]
pairs = pd.DataFrame(only, pd.Index(seeds, name="seed"), [f"only {name}" for name in names])
pairs.assign(**{"McNemar's p": [f"{binomtest(n, n + m).pvalue if n + m else 1:.2g}" for n, m in only]})

# %% [markdown]
# How often is each image missed, over all seeds? The dots are chance: every run misses as many images, but drawn at
# random. Bars far above the dots, at the right, say that some images are hard whatever the seed. They do not say why,
# nor which rung is better: that is for the paired gain in the table. And where two seeds of one rung differ on more
# images than the two rungs do at the same seed, the seed decides more answers than what sets the rungs apart.


# %%
def chance(missed):
    """How many images would be missed by 0, 1, ... of the runs, were the misses of each at random; runs x images."""
    return missed.shape[1] * reduce(np.convolve, [(1 - share, share) for share in missed.mean(axis=1)], [1])


def misses(rungs):
    """Bars: how many images were missed by so many of a rung's runs; dots: by chance. Misses by name, runs x images."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axis = figure.subplots()
    for i, (rung, missed) in enumerate(rungs):
        x, color = np.arange(len(missed) + 1), ("#5aa9d6", "#cc6677")[i]
        seen = np.bincount(missed.sum(axis=0), minlength=len(x))
        axis.bar(x + 0.4 * i - 0.2, seen, 0.36, color=color, label=f" {rung}")  # a space: _names are left out
        dots = axis.plot(x + 0.4 * i - 0.2, chance(missed), "o", color="0.15", mec="white", clip_on=False)
    dots[0].set_label(" by chance")
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set(xlabel="seeds that missed an image", ylabel="test images", xticks=x)
    legend = figure.legend(loc="outside lower center", ncols=3)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name is no formula
    figure.suptitle(f"{STUDY}: how often each test image is missed (n = {len(seeds)})")
    return figure


missed = [~own.loc[seeds].to_numpy() for own in (a, b)]
both = np.concatenate(missed)
apart = np.mean([np.sum(a.loc[seed] != b.loc[seed]) for seed in seeds])
others = [np.sum(own.loc[s] != own.loc[t]) for own in (a, b) for s, t in combinations(seeds, 2)]
print(f"{both.all(axis=0).sum()} of {both.shape[1]:,} images are missed by all {len(both)} runs; ", end="")
print(f"by chance that would be {chance(both)[-1]:,.2f}.")
print(f"At the same seed the two rungs differ on {apart:.1f} images, ", end="")
print(f"two seeds of one rung on {np.mean(others):.1f}." if others else "and there is no second seed to compare with.")
Picture(misses(zip(names, missed, strict=True)))
