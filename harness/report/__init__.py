"""From run records to tables and figures. No torch, no mlflow."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Problem, file_name, named, one_line
from harness.paths import expanded, runs, shipped, write_atomic
from harness.store import Store, is_id

if TYPE_CHECKING:  # pandas and matplotlib take two seconds, which --help and a list of runs need not wait for
    import pandas as pd

    from harness.report import findings
    from harness.report.frames import Plan

TALL, MANY = 64, 24  # rungs that a figure of a row, and of a line each, has room for


@dataclass(frozen=True)
class Report:
    folder: Path
    text: str  # the table as Markdown, with its footnotes
    told: dict[str, Any] = field(default_factory=dict)  # what table.json holds


def label_of(address: str) -> str:
    """What the report of a study is called: of an address such as `./my_study.py` or `my_package.my_study` the file's
    name, as `harness.study.load` has it; of anything else itself. No file is read.
    """
    if address.endswith(".py"):
        return Path(address).stem
    return address if "/" in address else address.rpartition(".")[2]


def plan_path(label: str, folder: Path | None = None) -> Path:
    """Where a plan is remembered: in `folder`, or the folder of runs here."""
    return (folder or runs()) / "studies" / f"{file_name(label)}.json"


def remember(plan: Plan) -> None:
    """Keep a described plan, so that its report can be made again from the store alone."""
    write_atomic(plan_path(plan["label"]), json.dumps(plan, indent=1).encode())


def known(folder: Path | None = None) -> list[str]:
    """The labels of all studies that were run here, or in another `folder` of runs."""
    return sorted(path.stem for path in ((folder or runs()) / "studies").glob("*.json") if named(path.stem))


def titles(plan: Plan) -> dict[str, str]:
    """What a described plan calls each specification, by id."""
    found = {rung["id"]: str(rung["title"]) for rung in reversed(plan["rungs"])}
    for inner in plan["upstream"]:
        found.setdefault(inner["id"], f"upstream of {inner['of']}")
    return found


def asked(plan: Plan) -> list[tuple[str, int]]:
    """The runs of a described plan: upstream runs first, each once."""
    from harness.report.plans import built_on

    own = [(rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]]
    for rung, told in zip(plan["rungs"], plan["target"]["rungs"] if "target" in plan else (), strict=False):
        own += [(length["id"], seed) for length in told["tried"] for seed in rung["seeds"]]
    return list(dict.fromkeys([*built_on(plan), *own]))


def recall(study: str, folder: Path | None = None) -> Plan:
    """The described plan of a study that was run here, by its report's name or by the study's address.

    `folder` is another folder of runs. Raises Problem where there is none, or it is damaged.
    """
    label = label_of(study)
    path = plan_path(label, folder)
    if not path.is_file():
        near = [name for name in known(folder) if name.partition("@")[0] == label.partition("@")[0]]
        told = one_line(study, 200)
        if near:
            there = ", ".join(map(one_line, near))
            raise Problem(f"{told!r} was not run here so ({path} is missing); there are: {there}: name one of these")
        again = f"python -m harness.ablate {told.partition('@')[0]}"
        raise Problem(f"no study {told!r} was run here ({path} is missing): {again}")
    from harness.report import plans

    try:
        plan: Plan = json.loads(path.read_text())
        wrong = plans.wrong(plan) or ("" if plan["label"] == label else "label: is another")
    except (OSError, ValueError, RecursionError) as error:
        wrong = str(error)
    if wrong:
        again = "python -m harness.ablate makes it again"
        raise Problem(f"{path} is damaged, or of another version ({one_line(wrong, 200)}): {again}")
    return plan


def place(plan: Plan, rung: str | int) -> int:
    """Where a rung stands in a described plan, by its name, its title in tables, its specification's id, or its place.

    Raises Problem where there is none such, or several.
    """
    rungs: list[Any] = plan["rungs"]
    if isinstance(rung, str):
        found = [i for i, own in enumerate(rungs) if rung in (own["name"], own["title"], own["id"])]
    else:
        found = [int(rung)] if isinstance(rung, Integral) and 0 <= rung < len(rungs) else []
    if len({rungs[i]["id"] for i in found}) != 1:
        there = ", ".join(one_line(own["name"]) for own in rungs)
        told = one_line(repr(rung), 200)
        raise Problem(f"{told} is {'no' if not found else 'more than one'} rung of {plan['label']}: {there}")
    return found[0]


def renamed(plan: Plan, name: str) -> Plan:
    """A described plan whose report has a `name`, where it had a hash: it is remembered by it, and its folder moves.

    Raises Problem where another report has the name.
    """
    from harness.metrics import labelled

    label = labelled(f"{plan['study']}@{name}", plan.get("metric", ""))
    if label == plan["label"]:
        return plan
    if plan_path(label).exists() or (runs() / "reports" / label).exists():
        raise Problem(f"--name {name}: there is a report {label} already: take another name")
    words = plan["command"]
    words = words[: words.index("--name")] if "--name" in words else words
    new = plan | {"label": label, "command": [*words, "--name", name]}
    remember(new)
    if folder_of(plan).is_dir():
        folder_of(plan).rename(folder_of(new))
    plan_path(plan["label"]).unlink()
    return new


def tested(plan: Plan, test: str) -> Plan:
    """A described plan whose report judges gains by another test, the untuned ladder beside it too.

    Raises Problem where seeds were added by looks, whose bounds were worked out for the test that they were planned by.
    """
    from harness.report import frames

    if plan["decide"] and test != frames.test_of(plan):
        raise Problem(f"--test {test}: {plan['label']} added seeds by looks of another test, which it keeps")
    other = {"tuned": plan["tuned"] | {"untuned": tested(plan["tuned"]["untuned"], test)}} if "tuned" in plan else {}
    return plan | {"test": test} | other


def against(plan: Plan, rung: str) -> Plan:
    """A described plan whose gains are all over one `rung`, the untuned ladder beside it too.

    Raises Problem where it has no such rung, and where seeds were added by looks at other gains.
    """
    from harness.report.findings import rung_of

    if plan["decide"]:
        raise Problem(
            f"--against {one_line(rung)}: {plan['label']} added seeds by looks at its own gains, which it keeps"
        )
    base = place(plan, rung)
    ways = [_way(plan, own) for own in range(len(plan["rungs"]))]
    rungs = []
    for own, each in enumerate(plan["rungs"]):
        other = each["id"] != plan["rungs"][base]["id"]
        way = ways[own] ^ ways[base if other else 0]  # what has no gain is held to the first
        between = [plan["rungs"][i] for i in sorted(way)]  # each says what differs from the next
        over = {name: list(dict.fromkeys(one for step in between for one in step[name])) for name in ("may", "also")}
        rungs.append(each | over | {"gain": [own, base] if other else None, "title": rung_of(each["title"])})
    more = {"tuned": plan["tuned"] | {"untuned": against(plan["tuned"]["untuned"], rung)}} if "tuned" in plan else {}
    named = one_line(plan["rungs"][base]["name"])
    return plan | {"design": "against", "against": named, "rungs": rungs, "orders": [], "generators": []} | more


def _way(plan: Plan, place: int) -> set[int]:
    """The places from a rung, by the rungs that each is held to, to one that is held to none, which is left out."""
    from harness.report import frames

    way: list[int] = []
    while place not in way and (between := frames.held_to(plan, place)):
        way.append(place)
        place = next(i for i in between if i != place)
    return set(way)


def by_score(plan: Plan) -> Plan:
    """The same plan. Raises Problem where its report goes by another metric than the score that records tell."""
    from harness import metrics

    if name := plan.get("metric", ""):
        own = metrics.unlabelled(plan["label"], name)
        raise Problem(f"{plan['label']} goes by {name}, and this by the score that records tell: name {own}")
    return plan


def measured(plan: Plan, name: str) -> Plan:
    """A described plan whose report goes by another metric, under a label of its own.

    Raises Problem where there is no such metric, and where values or seeds were chosen by the plan's own.
    """
    from harness import metrics
    from harness.report import frames

    before = plan.get("metric", "")
    if name != before and ("tuned" in plan or plan["decide"]):
        how = "was tuned" if "tuned" in plan else "added seeds by looks"
        raise Problem(f"--metric {name}: {plan['label']} {how} by its own metric, which it keeps")
    words = plan["command"]
    words = words[: words.index("--metric")] + words[words.index("--metric") + 2 :] if "--metric" in words else words
    label = metrics.labelled(metrics.unlabelled(plan["label"], before), name)
    at = words.index("--name") if "--name" in words else len(words)
    new = plan | {"metric": name, "label": label, "command": [*words[:at], "--metric", name, *words[at:]]}
    frames.metric_of(new)
    return new


def searched() -> list[str]:
    """The labels of all searches that were run here; an objective of a user's own is none."""
    found = (path.stem for path in (runs() / "searches").glob("*@search-*.specs"))
    return sorted(label for label in found if named(label))


def called(label: str) -> dict[str, str]:
    """What a search calls each specification that it asked for, by id, as `harness.search.trial.named_by` noted it."""
    path, kind, found = runs() / "searches" / f"{label}.specs", label.partition("@")[2], dict[str, str]()
    for line in path.read_text(errors="replace").splitlines():
        spec_id, _, what = line.partition(" ")
        if is_id(spec_id):
            found.setdefault(spec_id, f"{kind}, {what}" if what else kind)
    return found


def looked(plan: Plan, store: Store) -> Plan:
    """A described plan with what could be known when its looks were planned; as it was remembered, where it was.

    That is, the `earlier` plans of looks at one of its gains, and how many `pairs` of its runs were finished. Where
    none was, nothing was seen, and there is no earlier plan.
    """
    if not plan["decide"]:
        return plan
    gains, looks = _gains(plan), plan["decide"]["looks"]
    with suppress(Problem):
        if gains.keys() & _gains(before := recall(plan["label"])).keys():
            return plan | {"decide": before["decide"]}
    pairs = sum(all((each, seed) in store for each in gain) for gain, seeds in gains.items() for seed in seeds)
    others = []
    for label in known() if pairs else ():
        with suppress(Problem):
            other = recall(label)
            others += [other["decide"]] if other["decide"] and gains.keys() & _gains(other).keys() else []
    others.sort(key=lambda other: len(other.get("earlier", ())))  # the first had none before it
    pairs = min([pairs, *(other.get("pairs", 0) for other in others if other["looks"] == looks)])
    own, *earlier = [
        {"points": each["points"], "looks": each["looks"], "test": each.get("test", "t")}
        for each in (plan["decide"], *others)
    ]
    told = [each for i, each in enumerate(earlier) if each not in (own, *earlier[:i])]
    return plan | {"decide": {**plan["decide"], "earlier": told, "pairs": pairs}}


def _gains(plan: Plan) -> dict[tuple[str, str], list[int]]:
    """The seeds of each gain of a described plan, by the ids of its two rungs."""
    pairs = [[plan["rungs"][place] for place in rung["gain"]] for rung in plan["rungs"] if rung["gain"]]
    return {(a["id"], b["id"]): [seed for seed in a["seeds"] if seed in b["seeds"]] for a, b in pairs}


def doubts(plan: Plan) -> str:
    """What the looks of a plan lack of having been planned before anything was seen, in a line; empty if nothing."""
    from harness.report import frames

    told = when, error = frames.planned(plan["decide"])
    return "" if told == frames.BEFOREHAND else f"looks {when}: the error of all rows and looks together is {error}"


def unrun(study: str) -> Plan | None:
    """What of the plan of a study, by name or by path, that was never run here is known without its data: its name."""
    label = label_of(study)
    known_in = (at / "experiments" / f"{label}.py" for at in (Path(), shipped()))
    places = [expanded(study)] if study.endswith(".py") else known_in
    if plan_path(label).exists() or not any(path.is_file() for path in places):
        return None
    plan = {"study": label, "label": label, "design": "ladder", "command": [study], "settings": [], "decide": None}
    return plan | {"about": "", "tricks": [], "rungs": [], "upstream": []}


def due(plan: Plan, store: Store) -> list[int]:
    """Of a described plan that decides by looks: how many seeds each rung should have by now."""
    from harness.report import frames

    return frames.due(plan, frames.runs(plan, store))


def compare(plan: Plan, store: Store, run: tuple[str, int]) -> None:
    """Raise Problem where a finished run and one that it is compared with differ in what nothing declares."""
    from harness.report import frames

    for place, rung in enumerate(plan["rungs"]):
        near = [plan["rungs"][i] for i in frames.held_to(plan, place) or ()]
        ids = [other["id"] for other in near]
        if run[0] in ids and all((spec_id, run[1]) in store for spec_id in ids):
            try:
                odd = frames.astray(rung, *(store.read(spec_id, run[1]) for spec_id in ids))
            except Problem:  # a neighbour is damaged, which the report names
                continue
            if odd:
                names, moved = (
                    " and ".join(map(one_line, words)) for words in ([n["name"] for n in near], rung["changes"])
                )
                raise Problem(f"{names} differ in {', '.join(odd)} at seed {run[1]}, though only {moved} was changed")


def folder_of(plan: Plan) -> Path:
    over = f"-over-{re.sub(r'[^0-9A-Za-z_-]+', '-', plan['against'])}" if "against" in plan else ""
    return runs() / "reports" / file_name(plan["label"] + over)


def finished(plan: Plan, store: Store) -> pd.DataFrame:
    """`run_here`, of which there must be one that is finished: else Problem."""
    from harness.report import frames

    every = run_here(plan, store)
    if not frames.counted(every).any():
        raise Problem(f"{plan['label']}: no finished run to report")
    return every


def run_here(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a run; what is wrong with damaged ones, which are none, goes to stderr."""
    from harness.report import frames

    every = frames.runs(plan, store)
    for line in dict.fromkeys(line for _, _, line in every.attrs["damaged"]):
        print(f"{plan['label']}: left out: {one_line(line, 1000)}", file=sys.stderr)
    return every


def render(plan: Plan, store: Store, folder: Path | None = None, columns: Sequence[str] = ()) -> Report:
    """Write `runs/reports/<label>/`, or `folder`, from the store: tables, findings, figures and the page index.html.

    `columns` are those of the LaTeX table. Raises Problem where no run is finished, or the table has no such column.
    """
    from harness.cli import jsonable
    from harness.report import data, figures, findings, frames, page, tables, target, title, tuned

    every, folder = finished(plan, store), folder or folder_of(plan)
    study = title.title(plan, every.loc[frames.counted(every), "trained"])
    compared = compare_tuned(plan, store, every) if "tuned" in plan else None
    table, effects, proof = frames.rungs(plan, every), frames.effects(plan, every), frames.evidence(plan, every)
    notes = frames.footnotes(plan, every, table)
    text = tables.write(folder, study, plan["design"], table, effects, proof, notes, columns)
    own, told = data.behind(plan, every), data.table(plan, every, table, effects, notes)
    reached = target.frame(plan, store) if "target" in plan else None
    if reached is not None:
        told["target"] = jsonable(reached.drop(columns=["place"]).to_dict("records"))
    data.write(folder, told, own)
    found, again = findings.found(plan, store, every, table, effects), commands(plan, every)
    if reached is not None:
        ends = findings.far(plan, table.set_index("place", drop=False))
        cost = findings.Section("Cost to the target", tuple(target.told(plan, reached, ends)))
        found = [*found[:1], *filter(None, [cost]), *found[1:]]
    write_atomic(folder / "findings.md", findings.markdown(study, found, again).encode())
    both = frames.backbones(plan, store, every)
    every_figure = draw(plan, every, table, effects, compared, both, others(plan, store, table, effects), reached)
    drawn = {name: figures.save(folder, name, figure) for name, figure in every_figure}
    shown = {} if effects is None else {"Tricks": tables.shown_effects(effects, plan["design"], frames.measure(every))}
    if compared is not None:
        text = f"{tuned.write(folder, study, plan, compared)}\n{text}"
        shown["Untuned and tuned"] = tuned.shown(compared)
        notes = [*tuned.notes(plan), *notes]
    if reached is not None:
        text = f"{target.write(folder, study, plan, reached)}\n{text}"
        shown["To the target"] = target.shown(reached)
        notes = [*target.notes(plan, reached), *notes]
    rungs = "Rungs" if compared is None else "Tuned"
    shown[rungs] = tables.shown(table, plan["design"])
    classes = frames.classes(plan, every)
    if classes is not None:
        tables.write_classes(folder, study, classes)
        if len(table) <= MANY:
            shown[tables.BY_CLASS[classes["score"].iloc[0]][0]] = tables.shown_classes(classes)
    captions = figures.captions(frames.headline(every), frames.measure(every).lower)
    titled = zip(table["place"], table["title"], strict=True)
    behind = {(place, name): own[own["place"] == place] for place, name in titled}
    linked = page.Behind(rungs, behind)
    brief = [section for section in found if section.about not in findings.OF_TABLE]  # the page has it all
    label, gallery = file_name(plan["label"]), (folder / "gallery" / "index.html").is_file()
    made = page.page(study, plan["about"], shown, notes, drawn, proof, again, brief, captions, label, linked, gallery)
    write_atomic(folder / "index.html", made.encode())
    return Report(folder, text, told)


def others(
    plan: Plan, store: Store, table: pd.DataFrame, effects: pd.DataFrame | None
) -> dict[str, list[findings.Gain]]:
    """The gains of a plan's tricks by each design that was run here, as `beside.designs` has them."""
    from harness.report import beside

    found = []
    for label in known() if "against" not in plan else ():
        if label.partition("@")[0] == plan["study"] and label != plan["label"]:
            with suppress(Problem):  # it is damaged, or of another version
                found.append(recall(label))
    return beside.designs(plan, found, store, table, effects)


def side_by_side(plans: Sequence[Plan], store: Store, folder: Path | None = None) -> Report:
    """Write `beside.{md,csv}` and the figure beside: each trick by each of these plans. Raises Problem.

    The folder is `runs/reports/`, the first study's name and `-beside`, where none is given.
    """
    from harness.report import beside, figures

    columns = beside.columns(plans, store)
    text, values, told = beside.written(columns)
    made = _written(
        folder or runs() / "reports" / f"{file_name(plans[0]['study'])}-beside", "beside", text, values, told
    )
    if figure := beside.drawn(columns):
        figures.save(made.folder, "beside", figure)
    return made


def compare_tuned(plan: Plan, store: Store, every: pd.DataFrame) -> pd.DataFrame:
    """A tuned ladder beside the same untuned. Raises Problem where no run of the latter is here."""
    from harness.report import tuned

    untuned = plan["tuned"]["untuned"]
    return tuned.compare(plan, every, untuned, finished(untuned, store))


def beside_published(plan: Plan, store: Store, folder: Path | None = None) -> Report:
    """Write `published.{md,csv}`: the published ladder that a study makes beside its runs, if there are any.

    Raises Problem where no published ladder is of this study.
    """
    from harness.report import ladders, target

    every = run_here(plan, store)
    reached = target.frame(plan, store) if "target" in plan else None
    return _written(folder or folder_of(plan), "published", *ladders.compare(plan, every, reached))


def to_target(study: str, score: float) -> str:
    """What the report of a study to a target is called, by the study's address or its report's name."""
    label = label_of(study)
    return f"{label}{'-' if '@' in label else '@'}target-{score:g}".replace(".", "_")


def beside_paper(plan: Plan, store: Store, number: int, folder: Path | None = None) -> Report:
    """Write `paper_table<number>.{md,csv}`: the paper's Table `number` beside a study's runs, if there are any.

    Raises Problem where the table is not of this study.
    """
    from harness.report import frames, published

    every = frames.beside_backbones(plan, store, run_here(plan, store))
    text, values = published.compare(plan, every, number)
    return _written(folder or folder_of(plan), f"paper_table{number}", text, values)


def after_epochs(plan: Plan, store: Store, epochs: Sequence[int], folder: Path | None = None) -> Report:
    """Write `at_epochs.{md,csv}`: the score of each rung after `epochs`, beside what was published. Raises Problem."""
    from harness.report import at_epochs

    return _written(folder or folder_of(plan), "at_epochs", *at_epochs.compare(plan, finished(plan, store), epochs))


def _written(folder: Path, name: str, text: str, values: str, told: dict[str, Any] | None = None) -> Report:
    for kind, made in (("md", text), ("csv", values)):
        write_atomic(folder / f"{name}.{kind}", made.encode())
    return Report(folder, text, told or {})


def paper_figure(plan: Plan, store: Store, number: int, folder: Path | None = None) -> Path:
    """Write `figure<number>.{png,svg,pdf}`, the paper's Figure 3 or 4 of a study's runs; the path of the first.

    Raises Problem where the study has no such runs.
    """
    from harness.report import figures, paper_figures

    figure = {3: paper_figures.schedules, 4: paper_figures.gaps}[number](plan, store)
    folder = folder or folder_of(plan)
    figures.save(folder, f"figure{number}", figure)
    return folder / f"figure{number}.png"


def draw(
    plan: Plan,
    every: pd.DataFrame,
    table: pd.DataFrame,
    effects: pd.DataFrame | None,
    compared: pd.DataFrame | None = None,
    both: pd.DataFrame | None = None,
    designs: Mapping[str, Sequence[findings.Gain]] | None = None,
    reached: pd.DataFrame | None = None,
) -> Iterator[tuple[str, Any]]:
    """The figures by name; those of every rung where there are few enough to tell apart.

    `compared` is of a tuned ladder, `both` of runs that have backbones, as frames.backbones has it; `designs` are the
    gains by each design, as beside.designs has them; `reached` is of a plan to a target, as target.frame has it.
    """
    from harness.report import figures, frames, plans, title

    study, n, score, by = title.study_title(plan), len(table), frames.headline(every), frames.measure(every)
    study += f", over {plan['against']}" if "against" in plan else ""
    if reached is not None and n <= TALL:
        from harness.report.words import METRICS

        own = plan["target"]["score"], METRICS[reached["metric"].iloc[0]]
        if made := figures.to_target(study, reached, *own):
            yield "target", made
    if compared is not None and n <= MANY:
        from harness.report import tuned

        if pairs := tuned.gains(study, compared, score):
            yield "tuned", pairs
        pools = zip(plan["rungs"], plan["tuned"]["rungs"], strict=True)
        yield "trials", tuned.curves({rung["title"]: own["pool"] for rung, own in pools}, study, score)
    if effects is not None and len(effects):
        yield "effects", figures.effects(study, effects, by)
    below = {place: rung["gain"][1] for place, rung in enumerate(plan["rungs"]) if rung["gain"]}
    if plan["design"] == "ladder" and n <= TALL and (made := figures.waterfall(study, table, below)):
        yield "waterfall", made
    if designs:
        titles = [one_line(trick["title"]) for trick in plan["tricks"]]
        names = list(dict.fromkeys([*titles, *(gain.name for gains in designs.values() for gain in gains)]))
        told = {
            design: {g.name: (g.value, g.low, g.high, g.verdict) for g in gains} for design, gains in designs.items()
        }
        if len(names) <= TALL:
            yield "designs", figures.designs(study, names, told, by)
    if n <= TALL:
        yield "ladder", figures.forest(study, every, table, frames.seeds_as_dots(plan, every))
    if (
        both is not None
        and not plan.get("metric")
        and n <= MANY
        and (made := figures.transfer(study, table, both, score))
    ):
        yield "transfer", made
    found = frames.class_gains(plan, every)
    if found is not None and n <= MANY and (made := figures.by_class(study, found, plans.recorded(every))):
        yield "classes", made
    if n <= MANY:
        if made := figures.curves(study, every, table, plans.losses(plan)):
            yield "curves", made
        if made := figures.rates(study, every, table):
            yield "rates", made
    yield "cost", figures.cost(study, every, table)


def commands(plan: Plan, every: pd.DataFrame) -> list[str]:
    """What makes a report again, and where it was made."""
    around, by = every["environment"].iloc[0], ["--test", "t"] if plan.get("test") == "t" else []
    by += ["--against", plan["against"]] if "against" in plan else []
    told = ", ".join(f"{name} {around[name]}" for name in ("python", "torch", "numpy") if name in around)
    return [
        shlex.join(["python", "-m", "harness.ablate", *plan["command"]]),
        shlex.join(["python", "-m", "harness.report", plan["label"], *by]),
        f"# harness {around['commit'] or 'of no commit'}; {told}; {around['device_name']}",
    ]
