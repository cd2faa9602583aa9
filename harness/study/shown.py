"""A plan and what it will cost, as text."""

from typing import Any

from harness import one_line, stats

MANY = 24  # rungs: beyond, the plan is a line each


def as_text(described: dict[str, Any]) -> str:
    """The plan for a reader: what differs from what each rung is held to, a table of costs, the totals."""
    lines, runs, specs = [], described["runs"], described["specs"]
    if len(described["rungs"]) <= MANY:
        wide = max(len(_short(rung["title"])) for rung in described["rungs"])
        for rung in described["rungs"]:
            titles = [_short(rung["title"]), *[""] * len(rung["changes"])]
            changes = [f"{path}: {_value(old)} → {_value(new)}" for path, (old, new) in rung["changes"].items()]
            lines += [f"{title:{wide}}  {change}" for title, change in zip(titles, changes, strict=False)]
        lines.append("")
    lines += _table(described)
    lines.append("")
    if described["generators"]:
        lines += aliased(described)
    lines.append(f"{described['design']}: {specs['asked']} specifications asked for, {specs['new']} new")
    lines.append(f"{runs['asked']} runs asked for, {runs['missing']} missing{_time(described)}")
    return "\n".join([*lines, *_notes(described)])


def _table(described: dict[str, Any]) -> list[str]:
    unit = "GPU" if described["device"] == "cuda" else "core"
    rows = [["", "specification", "parameters", "GFLOPs", "missing", "a run", f"{unit}-hours", "memory", "time from"]]
    upstreams: dict[str, dict[str, Any]] = {}
    for inner in described["upstream"]:
        had = upstreams.get(inner["id"], inner)
        most = max(had, inner, key=lambda each: len(each["seeds"]))  # rungs that share it may have other numbers
        upstreams[inner["id"]] = {**most, "of": had["of"], "title": f"upstream of {had['of']}"}
    for row in (*described["rungs"], *upstreams.values()):
        cost = described["cost"].get(row["id"], {}) if row["missing"] else {}
        known = cost | row
        size = [f"{known['params']:,}", f"{known['gmacs']:.3g}"] if "params" in known else ["", ""]
        runs = f"{row['missing']:d} of {len(row['seeds'])}"
        rows.append([_short(row["title"]), row["id"], *size, runs, *_costs(cost, row["missing"])])
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (0, 1, len(wide) - 1)
    return [
        "  ".join(f"{cell:{'<' if i in left else '>'}{wide[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows
    ]


def _costs(cost: dict[str, Any], lacking: int) -> list[str]:
    if not cost:
        return ["–", "–", "–", ""]
    memory = f"{'~' if cost['memory_by'] == 'estimated' else ''}{amount(cost['memory'])}"
    return [span(cost["seconds"]), hours(lacking * cost["seconds"]), memory, cost["seconds_by"]]


def _time(described: dict[str, Any]) -> str:
    if not described["runs"]["missing"]:
        return ""
    what = "GPU-hours" if described["device"] == "cuda" else "core-hours"
    many = "process" if described["jobs"] == 1 else "processes"
    wait = f"{span(described['seconds'])} in {described['jobs']} {many}"
    return f": {hours(described['device_seconds'])} {what}, about {wait}"


def _notes(described: dict[str, Any]) -> list[str]:
    """What else there is to know, and what will not do."""
    if not described["runs"]["missing"]:
        return []
    titles = {rung["id"]: rung["title"] for rung in described["rungs"]}
    costs, disk, memory = described["cost"], described["disk"], described["memory"]
    lines = []
    decoded = sorted(cost["decoded_per_second"] for cost in costs.values() if cost["decoded_per_second"])
    if decoded:
        slow = [titles.get(key, "an upstream run") for key, cost in costs.items() if cost["bound"] == "decoding"]
        which = "everywhere" if len(slow) == len(costs) else f"for {', '.join(slow)}" if slow else "nowhere"
        lines.append(f"decoding: {decoded[0]:.3g} images/s a run; slower than the network {which}")
    if any(cost["memory_by"] == "estimated" for cost in costs.values()):
        lines.append("memory: ~ is estimated, from what a few images take")
    if any(cost["seconds_by"] == "multiply-adds" for cost in costs.values()):
        lines.append("time from multiply-adds: too slow to try here, taken from the network most like it")
    need = disk["stays"] + disk["in_flight"]
    lines.append(
        f"disk: {amount(disk['stays'])} stay, {amount(disk['in_flight'])} of checkpoints meanwhile; "
        f"{amount(disk['free'])} are free for {disk['folder']}"
    )
    if need > disk["free"]:
        short = amount(need - disk["free"])
        lines.append(f"WARNING: the disk is {short} short: free some, or set HARNESS_RUNS to a folder of another")
    if memory["at_once"] > memory["there"]:
        many = f"{memory['runs']} runs at once need" if memory["runs"] > 1 else "a run needs"
        advice = "--jobs fewer, or " if memory["runs"] > 1 else ""
        lines.append(
            f"WARNING: {many} {amount(memory['at_once'])} of memory, and {amount(memory['there'])} are there: "
            f"{advice}--set microbatch=N"
        )
    return lines


def amount(size: float) -> str:
    """Bytes as 850 kB, 12 MB, 3.4 GB."""
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= 0.9995 * of:
            return f"{size / of:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f}" if seconds > 36_000 else f"{seconds / 3600:.2g}"


def clock(seconds: float) -> str:
    """1:05, or 2:03:04."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def span(seconds: float) -> str:
    """0:09, 2:03:04, from ten hours on 31 h, and from a week on 12 days."""
    if seconds < 36_000:
        return clock(seconds)
    return f"{seconds / 3600:.0f} h" if seconds < 7 * 86_400 else f"{seconds / 86_400:,.0f} days"


def aliased(described: dict[str, Any]) -> list[str]:
    """What a fractional factorial cannot tell apart."""
    titles, generators = [trick["title"] for trick in described["tricks"]], described["generators"]
    k = len(titles)
    letters = ", ".join(f"{letter} {title}" for letter, title in zip(stats.FACTORS, titles, strict=False))
    same = [" = ".join(group) for group in stats.aliases(k, generators) if len(group) > 1]
    return [
        f"2^({k}-{len(generators)}) factorial of resolution {stats.resolution(k, generators)}: {letters}",
        f"aliased, of effects up to two tricks: {'; '.join(same) or 'none'}",
    ]


def _short(title: str) -> str:
    return one_line(title, 44)


def _value(value: Any) -> str:
    return "–" if value is None else one_line(str(value), 200)
