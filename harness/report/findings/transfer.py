"""Whether backbones that are better by themselves are better to build on, in sentences."""

import math

import pandas as pd

import harness.report.frames as frames
from harness import stats
from harness.report.findings.words import Section
from harness.report.words import METRICS, count


def ranked(both: pd.DataFrame) -> stats.Ranks:
    """How alike the backbones' own metric and that of the runs on them rank the rungs; as frames.backbones has them."""
    tables = [both.pivot_table(index="place", columns="seed", values=name, dropna=False) for name in VALUES]
    return stats.rank_correlation(*(table.to_numpy(float) for table in tables))


VALUES = ("backbone_value", "value")


def transferred(every: pd.DataFrame, both: pd.DataFrame | None) -> list[Section]:
    """Rank correlation over rungs, with what it is of; nothing of a study without backbones."""
    if both is None or not len(both):
        return []
    own, score = sorted(set(both["backbone_score"])), METRICS[frames.headline(every)]
    if len(own) > 1:
        return [Section("Backbones", (f"Scored by {' and '.join(METRICS[name] for name in own)}: not ranked.",))]
    lacking = int(both["backbone_value"].isna().sum())
    missing = (
        [f"{count(lacking, 'backbone')} {'is' if lacking == 1 else 'are'} not here, or damaged."] if lacking else []
    )
    return [Section("Backbones", (*_ranks(ranked(both), METRICS[own[0]], score), *missing))]


def _ranks(found: stats.Ranks, own: str, score: str) -> list[str]:
    over = f"Over {count(found.rungs, 'rung')}, {own} of the backbones and {score}"
    if math.isnan(found.tau):
        return [f"{over} are not ranked: {found.why}."]
    how = "alike" if found.tau > 0 else "in opposite order"
    said = f"rank {how}" if found.resolved else "have no order in common that is resolved"
    spans = [
        f"{name} = {value:+.2f}{_span(low, high)}{_p(p)}"
        for name, value, low, high, p in (
            ("Kendall's τ", found.tau, found.tau_low, found.tau_high, found.tau_p),
            ("Spearman's ρ", found.rho, found.rho_low, found.rho_high, found.rho_p),
        )
    ]
    seeds = f"Means over {count(found.seeds, 'seed')}, each backbone with what stands on it"
    lines = [f"{over} {said}: {', '.join(spans)}. {seeds}."]
    if not math.isnan(found.tau_low):
        lines.append("Brackets: 95 %, by resampling seeds, for these rungs.")
    if not math.isnan(found.tau_p):
        lines.append("p: from all orders of the rungs, as if the rungs had been drawn at random.")
    return [*lines, *([f"{found.why[:1].upper()}{found.why[1:]}."] if found.why else [])]


def _span(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"


def _p(p: float) -> str:
    return "" if math.isnan(p) else f" (p = {p:.2g})"
