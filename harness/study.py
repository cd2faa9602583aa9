"""Studies, and the plan of runs that a study needs under a design."""

import hashlib
import importlib.util
import inspect
import itertools
import json
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic

import harness.parts
import harness.tricks
from harness import Problem, evidence, file_name, one_line, sources
from harness.designs import DESIGNS, Layout, Node, Options, Row
from harness.parts.data import repeated
from harness.parts.models import cost, single
from harness.parts.schedules import Piecewise
from harness.spec import (
    UPSTREAM_SEED,
    Branches,
    Part,
    Spec,
    Step,
    Trick,
    assign,
    changes,
    declared,
    first_error,
    flat,
    meant,
    moved,
    parse,
    plain,
    resolved,
    shape,
    upstream,
)
from harness.store import Store

Run = tuple[Spec, int]


@dataclass(frozen=True)
class Study:
    """A baseline, a tuple of tricks, which may end in `Branches`, and some seeds."""

    name: str
    about: str
    baseline: Spec
    tricks: tuple[Step, ...]
    seeds: tuple[int, ...]
    space: Mapping[str, Any] = field(default_factory=dict)  # slot paths, and optuna's distributions of their values

    @property
    def every(self) -> tuple[Trick, ...]:
        """All tricks, each once: those of the longest way from baseline to end, then what else the others have."""
        paths = sorted(_paths(self.tricks), key=len, reverse=True)
        return tuple({_call(trick): trick for path in paths for trick in path}.values())

    def tree(self) -> list[Node]:
        """The rungs of its ladder, by the places of tricks in `every`."""
        place = {_call(trick): i for i, trick in enumerate(self.every)}
        nodes: list[Node] = []

        def grow(steps: Sequence[Step], parent: int, way: tuple[int, ...], first: bool) -> None:
            for step in steps:
                if isinstance(step, Branches):
                    for i, branch in enumerate(step.ways):
                        grow(branch, parent, way, first=i == 0)
                    continue
                added = tuple(place[_call(trick)] for trick in _together(step))
                nodes.append(Node(parent, added, way))
                parent = len(nodes)
                if not first:
                    way, first = (*way, *added), True

        grow(self.tricks, 0, (), first=True)
        return nodes


def _together(step: Step) -> tuple[Trick, ...]:
    assert not isinstance(step, Branches)
    return step if isinstance(step, tuple) else (step,)


def _paths(steps: Sequence[Step]) -> list[tuple[Trick, ...]]:
    """The tricks of each way from the baseline to an end."""
    paths: list[tuple[Trick, ...]] = [()]
    for step in steps:
        ends = [end for way in step.ways for end in _paths(way)] if isinstance(step, Branches) else [_together(step)]
        paths = [(*path, *end) for path in paths for end in ends]
    return paths


@dataclass(frozen=True)
class Decide:
    """Seeds where they are needed: until gains are resolved, or known to ± `points`, at most the last of `looks`."""

    points: float
    looks: tuple[int, ...]


@dataclass(frozen=True)
class Rung:
    name: str
    title: str
    spec: Spec
    on: tuple[int, ...] = ()  # the study's tricks that are on
    gain: tuple[int, int] | None = None  # the places (above, below) of the rungs whose difference is its gain
    also: tuple[str, ...] = ()  # what differs between those two that no trick which tells them apart declares


@dataclass(frozen=True)
class Plan:
    """The rungs of a study under a design, and the runs they ask for: upstream runs first, each once."""

    study: str
    rungs: tuple[Rung, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...] = ()  # what differs from the study as written, for its report to say
    design: str = "ladder"
    tricks: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # (name, title, the slots it moves)
    layout: Layout | None = None
    about: str = ""
    command: tuple[str, ...] = ()  # the words after `harness.ablate` that ask for it
    decide: Decide | None = None
    counts: tuple[int, ...] = ()  # seeds of each rung, the first of `seeds`; empty: all
    tuned: dict[str, Any] | None = None  # how each rung came to values of its own

    @property
    def label(self) -> str:
        """The study's name, its design, a hash of its settings: reports do not overwrite each other."""
        told = hashlib.sha256("\n".join(self.settings).encode(errors="surrogateescape")).hexdigest()[:6]
        more = [*([self.design] if self.design != "ladder" else []), *([told] if self.settings else [])]
        more += [f"tuned-{self.tuned['trials']}-{self.tuned['sampler']}"] if self.tuned else []
        return f"{self.study}@{'-'.join(more)}" if more else self.study

    def seeds_of(self, place: int) -> tuple[int, ...]:
        return self.seeds[: self.counts[place]] if self.counts else self.seeds

    def runs(self, only: Sequence[str] = ()) -> list[Run]:
        chosen = [(i, rung.spec) for i, rung in enumerate(self.rungs) if not only or rung.name in only]
        asked = [(spec, seed) for place, spec in chosen for seed in self.seeds_of(place)]
        first = [(inner, UPSTREAM_SEED) for spec, _ in asked for inner in upstream(spec)]
        return list({(spec.id, seed): (spec, seed) for spec, seed in (*first, *asked)}.values())

    def names(self) -> dict[str, str]:
        """A title for each specification's id: its first rung's, or whose upstream it is."""
        named = {rung.spec.id: rung.title for rung in reversed(self.rungs)}
        for rung in self.rungs:
            for inner in upstream(rung.spec):
                named.setdefault(inner.id, f"upstream of {rung.name}")
        return named


def retuned(plan: Plan, study: Study, specs: Sequence[Spec], tuned: dict[str, Any], words: Sequence[str]) -> Plan:
    """`plan` with other values in each rung, which `tuned` tells of; `words` of the command ask for them."""
    rungs = [replace(rung, spec=spec) for rung, spec in zip(plan.rungs, specs, strict=True)]
    told = tuple(replace(rung, also=_also(rung, rungs, study.every)) for rung in rungs)
    return replace(plan, rungs=told, tuned=tuned, command=(*plan.command, *words))


def spare_seed(plan: Plan) -> int:
    """The first that no rung is trained with."""
    return _seeds(plan.seeds, len(plan.seeds) + 1)[-1]


def missing(runs: Sequence[Run], store: Store) -> list[Run]:
    return [(spec, seed) for spec, seed in runs if (spec.id, seed) not in store]


def stale(runs: Sequence[Run], store: Store) -> dict[tuple[str, int], list[str]]:
    """The finished runs among `runs` that another source of the user's own parts made, and those parts' kinds."""
    found: dict[tuple[str, int], list[str]] = {}
    for spec, seed in runs:
        if sources.of(spec) and (spec.id, seed) in store:
            with suppress(Problem):  # a damaged record is met where it is used
                kinds = sources.changed(store.read(spec.id, seed))
                found |= {(spec.id, seed): kinds} if kinds else {}
    return found


def trick_name(trick: Trick) -> str:
    function: Any = trick.func if isinstance(trick, partial) else trick
    return one_line(getattr(function, "__name__", type(function).__name__))


def trick_title(trick: Trick) -> str:
    """What tables call it: its docstring's first line up to the first colon, else its name."""
    function = trick.func if isinstance(trick, partial) else trick
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    return one_line(first.partition(":")[0]) or trick_name(trick)


def plan(
    study: Study,
    settings: Sequence[tuple[str, Any]] = (),
    seeds: int | None = None,
    design: str = "ladder",
    options: Options | None = None,
    decide: Decide | None = None,
    same_epochs: bool = False,
) -> Plan:
    """The rungs of `study` by `design` under `settings`, pairs of slot path and value.

    A setting is made in the baseline; one that the baseline has no part for is made where a trick brings the part, so
    that what later tricks build on it (a teacher) has it too. With `same_epochs` a trick that also trains longer is
    compared with a rung that trains as long without it. Raises Problem where no rung has the path, where parts
    do not agree, where a trick changes nothing, or another slot than it declares.
    """
    baseline, late = study.baseline, []
    for path, value in settings:
        changed = assign(baseline, path, value)
        baseline = changed or baseline
        if changed is None:
            late.append((path, value))
    every, options = study.every, options or Options()
    names, titles = [trick_name(trick) for trick in every], [trick_title(trick) for trick in every]
    _fitting(study, design, every, options)
    layout = DESIGNS[design](len(every), study.tree(), options)
    stacked: dict[tuple[int, ...], Spec] = {(): baseline}
    moves: dict[int, dict[str, None]] = {}  # of each trick, the slots

    def built(on: tuple[int, ...]) -> Spec:
        """The baseline with those tricks, and with the late settings."""
        if on not in stacked:
            below, trick = built(on[:-1]), every[on[-1]]
            spec = _tricked(study.name, trick, below)
            for path, value in late:
                spec = _set_late(spec, path, value)
            _only_declared(study.name, trick, below, spec)
            stacked[on] = spec
            moves.setdefault(on[-1], dict.fromkeys(path.partition(".")[0] for path in moved(below, spec)))
        return stacked[on]

    rungs = tuple(_rung(row, built(row.on), names, titles) for row in layout.rows)
    if same_epochs:
        if not any(rung.gain for rung in rungs):
            raise Problem(f"--same-epochs is about the gains of rungs, which --design {design} has not")
        rungs = _of_same_epochs(rungs)
    rungs = tuple(replace(rung, also=_also(rung, rungs, every)) for rung in _named_apart(rungs))
    for path, value in late:
        if not any(assign(rung.spec, path, value) for rung in rungs):
            slot = path.partition(".")[0]
            held = {name: None for rung in rungs for name in _names(getattr(rung.spec, slot))}
            told = meant([rung.spec for rung in rungs], path)
            raise Problem(f"--set {path}: no rung has it; {slot} holds {', '.join(held) or 'nothing'}{told}")
    for rung in rungs:
        try:
            rung.spec.agree()
        except Problem as problem:
            raise Problem(f"{study.name}, {rung.name}: {problem}") from None
        except Exception as error:
            raise Problem(f"{study.name}, {rung.name}: {_where(error)}") from None
    for rung in rungs:
        if rung.gain and rungs[rung.gain[0]].spec == rungs[rung.gain[1]].spec:
            other = rungs[min(rung.gain)].name
            raise Problem(f"{study.name}: {rung.name} changes nothing, it is the same specification as {other}")
    alike: dict[tuple[str, int], Rung] = {}
    for rung in rungs:  # of those with gains, over the same rung
        first = alike.setdefault((shape(rung.spec), rung.gain[1] if rung.gain else -1), rung)
        if first is not rung:
            raise Problem(f"{study.name}: {rung.name} is the same specification as {first.name}")
    own = _seeds(study.seeds, seeds)
    said = [f"{path}={_said(value)}" for path, value in settings]
    said += [f"{len(own)} seeds"] if own != study.seeds and not decide else []
    said += ["rungs of the same epochs"] if same_epochs else []
    said += [f"{options.pairs} pairs of orders"] if options.pairs else []
    said += [f"a fraction of 1/2^{options.fraction}"] if options.fraction is not None else []
    if decide:
        said.append(f"seeds until gains are known to ± {decide.points:g}, looking at {_listed(decide.looks)}")
        own = _seeds(study.seeds, decide.looks[-1])
    tricks = tuple((names[i], titles[i], tuple(moves.get(i, ()))) for i in range(len(every)))
    words = [study.name, *(word for path, value in settings for word in ("--set", f"{path}={_said(value)}"))]
    words += ["--design", design] if design != "ladder" else []
    words += ["--same-epochs"] if same_epochs else []
    words += ["--orders", f"{options.pairs}"] if options.pairs else []
    words += ["--fraction", f"{options.fraction}"] if options.fraction is not None else []
    if decide:
        words += ["--decide", f"{decide.points:g}", "--looks", *map(str, decide.looks)]
    elif own != study.seeds:
        words += ["--seeds", f"{len(own)}"]
    return Plan(study.name, rungs, own, tuple(said), design, tricks, layout, study.about, tuple(words), decide)


def _set_late(spec: Spec, path: str, value: Any) -> Spec:
    """`spec` with a setting made, where it has the path; and in a teacher's, which had there what the student had."""
    after = assign(spec, path, value) or spec
    changed = set(moved(spec, after))
    if not changed:
        return after
    taught = [
        part if changed & set(moved(part.spec, spec)) else part.but(spec=_set_late(part.spec, path, value))
        for part in after.teacher
    ]
    return after.but(teacher=tuple(taught))


def _call(trick: Trick) -> object:
    """What tells a trick from others: of a partial one the function and what it is given, so that two alike are one."""
    if isinstance(trick, partial):
        return trick.func, repr(trick.args), repr(sorted(trick.keywords.items()))
    return trick


def _fitting(study: Study, design: str, every: Sequence[Trick], options: Options) -> None:
    """Raise Problem where a design cannot be of these tricks, or is told what another one takes."""
    if not every and design != "ladder":
        raise Problem(f"{study.name}: --design {design} needs a trick, and TRICKS is empty")
    if design != "ladder" and not any(len(path) == len(every) for path in _paths(study.tricks)):
        raise Problem(f"{study.name}: --design {design} puts all tricks together, and no way of the study does")
    for path in _paths(study.tricks):
        twice = [trick for i, trick in enumerate(path) if _call(trick) in map(_call, path[:i])]
        if twice:
            raise Problem(f"{study.name}: {trick_name(twice[0])} is there twice")
    if options.pairs and design != "shapley":
        raise Problem("--orders goes with --design shapley")
    if options.pairs == 1:
        raise Problem("--orders 1: one pair of orders has no error to tell; take at least 2")
    if options.fraction is not None and design != "factorial":
        raise Problem("--fraction goes with --design factorial")


def _named_apart(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """The second and later of rungs that have one name are numbered."""
    made: dict[str, Rung] = {}
    for rung in rungs:
        numbered = (f"{rung.name}_{n}" if n > 1 else rung.name for n in itertools.count(1))
        name = next(name for name in numbered if name not in made)
        made[name] = replace(rung, name=name)
    return tuple(made.values())


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _rung(row: Row, spec: Spec, names: Sequence[str], titles: Sequence[str]) -> Rung:
    own = "+".join(names[i] for i in row.named)
    name = f"without_{own}" if row.sign == "−" else own or row.sign.replace(" ", "_") or "baseline"
    title = f"{row.sign} {' + '.join(titles[i] for i in row.named)}".strip() or "baseline"
    if row.way:
        name = f"{'+'.join(names[i] for i in row.way)}.{name}"
        title = f"{title} ({', '.join(titles[i] for i in row.way)})"
    return Rung(name, title, spec, row.on, row.gain)


def _of_same_epochs(rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
    """Where a gain has a change of epochs and another in it, a rung between: as `below`, and as long as `above`.

    The trick's gain is then over that rung, and the rung's own is what the length alone gives.
    """
    made: list[tuple[Rung, tuple[Rung, Rung] | None]] = []
    for rung in rungs:
        pair = (rungs[rung.gain[0]], rungs[rung.gain[1]]) if rung.gain else None
        above, below = pair or (rung, rung)
        epochs = above.spec.epochs
        name, title = f"{below.name}_{epochs}_epochs", f"{below.title}, {epochs} epochs"
        control = replace(below, name=name, title=title, spec=below.spec.but(epochs=epochs))
        old = next((other for other, held in made if held and held[1] is below and other.spec == control.spec), None)
        if control.spec in (above.spec, below.spec):
            made.append((rung, pair))
        elif old and rung is above:  # two branches that train as long share it
            made.append((rung, (above, old)))
        elif rung is above:
            made += [(control, (control, below)), (rung, (above, control))]
        else:
            made += [(rung, (control, below)), (control, (above, control))]
    place = {id(rung): i for i, (rung, _) in enumerate(made)}
    return tuple(replace(rung, gain=pair and (place[id(pair[0])], place[id(pair[1])])) for rung, pair in made)


def _also(rung: Rung, rungs: Sequence[Rung], tricks: Sequence[Trick]) -> tuple[str, ...]:
    """Slots that differ for a reason of their own: a teacher's, say, which is trained as its student is."""
    if not rung.gain:
        return ()
    above, below = (rungs[place] for place in rung.gain)
    apart = [declared(tricks[i]) for i in set(above.on) ^ set(below.on)]
    return () if not apart or not all(apart) else tuple(_beyond(moved(below.spec, above.spec), sum(apart, ())))


def _beyond(paths: Iterable[str], allowed: Sequence[str]) -> dict[str, None]:
    """The slots of `paths` that are not within `allowed`."""
    more = (path for path in paths if not any(path == own or path.startswith(f"{own}.") for own in allowed))
    return dict.fromkeys(path.partition(".")[0] for path in more)


def _tricked(study: str, trick: Trick, below: Spec) -> Spec:
    try:
        above = trick(below)
        if not isinstance(above, Spec):
            raise Problem(f"{study}, {trick_name(trick)}: gives {type(above).__name__}, where a Spec is due")
        return above
    except Problem:
        raise
    except Exception as error:
        raise Problem(f"{study}, {trick_name(trick)}: {_where(error)}") from None


def _only_declared(study: str, trick: Trick, below: Spec, above: Spec) -> None:
    """Raise Problem where a trick changed what it does not declare, or more than one slot and declares none."""
    paths, allowed = moved(below, above), declared(trick)
    slots = {path.partition(".")[0] for path in paths}
    if not allowed and len(slots) > 1:
        text = f"changes {', '.join(sorted(slots))}: put @declares({', '.join(map(repr, sorted(slots)))}) on it"
        raise Problem(f"{study}: {trick_name(trick)} {text}")
    more = _beyond(paths, allowed)
    if allowed and more:
        raise Problem(f"{study}: {trick_name(trick)} declares {', '.join(allowed)}, and changes {', '.join(more)} too")


def _said(value: Any) -> str:
    return json.dumps(plain(value)) if isinstance(value, Part | tuple | bool | None) else str(value)


def _names(held: Any) -> list[str]:
    """What a slot holds, each part with its fields, for a message."""
    items = held if isinstance(held, tuple) else (held,)
    return [
        f"{type(i).__name__}({', '.join(type(i).model_fields)})" if isinstance(i, Part) else "a plain value"
        for i in items
    ]


def _seeds(own: tuple[int, ...], count: int | None) -> tuple[int, ...]:
    """The first `count` of a study's own seeds, and further numbers where it has fewer."""
    more = (seed for seed in itertools.count() if seed not in own)
    return own if count is None else (*own, *itertools.islice(more, max(0, count - len(own))))[:count]


def check(plan: Plan) -> list[str]:
    """Load every data set that `plan` needs; what the user should know. Raises Problem where one will not do."""
    notes: dict[str, None] = {}
    seen = set()
    for rung in plan.rungs:
        for spec in (*upstream(rung.spec), rung.spec):
            images = spec.data.load()
            if images.counts["train"] < spec.batch_size:
                have = images.counts["train"]
                raise Problem(f"{rung.name}: {have} training images are fewer than batch_size={spec.batch_size}")
            try:
                cost(spec.model, images.channels, len(images.classes), images.size)
            except Problem:
                raise
            except Exception as error:
                raise Problem(f"{rung.name}: {spec.model!r} cannot be built: {_where(error)}") from None
            _not_single(rung.name, spec)
            steps = images.counts["train"] // spec.batch_size
            if isinstance(spec.schedule, Piecewise) and spec.schedule.warmup and not spec.schedule.warmup_steps(steps):
                epochs = spec.schedule.warmup.epochs
                raise Problem(f"{rung.name}: schedule.warmup.epochs={epochs:g} of {steps} batches is not one batch")
            new = images.digest not in seen
            seen.add(images.digest)
            notes.update(dict.fromkeys([*images.notes, *(repeated(images) if new else ())]))
    return list(notes)


def _not_single(rung: str, spec: Spec) -> None:
    """Raise Problem where a pass has one image, of which a batch norm of the network makes one value a channel."""
    size = spec.microbatch or spec.batch_size
    if size > 1 and spec.batch_size % size != 1:
        return
    images = spec.data.load()
    layer = single(spec.model, images.channels, len(images.classes), images.size)
    if layer:
        of = f"batch_size={spec.batch_size}" + (f" in passes of {size}" if spec.microbatch else "")
        last = "a pass" if size == 1 else "its last pass"
        raise Problem(
            f"{rung}: {of}: {last} is one image, of which {layer} has one value a channel and no variance; "
            f"take passes of 2 images or more"
        )


def work(spec: Spec) -> float:
    """Multiply-adds that training `spec` once takes, about: three passes an image trained on, one an image tested."""
    images = spec.data.load()
    shape = images.channels, len(images.classes), images.size
    macs = cost(spec.model, *shape)[1]
    taught = sum(cost(part.spec.model, *shape)[1] for part in spec.teacher)
    train, test = images.counts["train"], images.counts["test"]
    return float(spec.epochs * (train * (3 * macs + taught) + test * macs))


def describe(plan: Plan, store: Store, only: Sequence[str] = ()) -> dict[str, Any]:
    """The plan as one JSON-ready object."""
    rows: list[dict[str, Any]] = []
    for place, rung in enumerate(plan.rungs):
        images = rung.spec.data.load()
        params, macs = cost(rung.spec.model, images.channels, len(images.classes), images.size)
        other = next((i for i in rung.gain if i != place), None) if rung.gain else 0 if place else None
        differs = changes(plan.rungs[other].spec, rung.spec) if other is not None else {}
        seeds = plan.seeds_of(place)
        rows.append(
            {
                "name": rung.name,
                "title": rung.title,
                "id": rung.spec.id,
                "on": list(rung.on),
                "gain": list(rung.gain) if rung.gain else None,
                "also": list(rung.also),
                "may": list(evidence.may(differs)),
                "epochs": rung.spec.epochs,
                "microbatch": rung.spec.microbatch,
                "stops": bool(rung.spec.stop),
                "changes": {path: list(pair) for path, pair in differs.items()},
                "params": params,
                "gmacs": macs / 1e9,
                "seeds": list(seeds),
                "missing": sum((rung.spec.id, seed) not in store for seed in seeds),
            }
        )
    asked = plan.runs(only)
    specs = dict.fromkeys(spec.id for spec, _ in asked)
    had = {spec.id for spec, seed in asked if (spec.id, seed) in store}
    return {
        "study": plan.study,
        "label": plan.label,
        "about": plan.about,
        "settings": list(plan.settings),
        "command": list(plan.command),
        "design": plan.design,
        "tricks": [{"name": name, "title": title, "moves": list(moves)} for name, title, moves in plan.tricks],
        "orders": [list(order) for order in plan.layout.orders] if plan.layout else [],
        "generators": list(plan.layout.generators) if plan.layout else [],
        **({"tuned": plan.tuned} if plan.tuned else {}),
        "decide": {"points": plan.decide.points, "looks": list(plan.decide.looks)} if plan.decide else None,
        "rungs": rows,
        "upstream": [
            {"of": rung.name, "id": inner.id, "missing": (inner.id, UPSTREAM_SEED) not in store}
            for rung in plan.rungs
            for inner in upstream(rung.spec)
        ],
        "specs": {"asked": len(specs), "new": len(specs) - len(had)},
        "runs": {"asked": len(asked), "missing": len(missing(asked, store))},
    }


def edited(plan: Plan, before: dict[str, Any], store: Store) -> list[str]:
    """What made rungs other runs than when the study was last run, in a line each; `before` is its described plan."""
    lines: dict[str, list[str]] = {}
    old = {rung["name"]: rung for rung in before["rungs"]}
    for rung in plan.rungs:
        if rung.name in old and old[rung.name]["id"] != rung.spec.id:
            lines.setdefault(_edits(old[rung.name], rung.spec, store), []).append(rung.name)
    return [f"{', '.join(names)}: new runs since {text}" for text, names in lines.items()]


def _edits(old: dict[str, Any], spec: Spec, store: Store) -> str:
    for seed in old["seeds"]:
        with suppress(Problem):
            was, now = flat(store.forms(old["id"], seed)["resolved"]), flat(resolved(spec))
            paths = [path for path in dict.fromkeys((*was, *now)) if was.get(path) != now.get(path)]
            shown = [f"{path} was {was.get(path)} and is {now.get(path)}" for path in paths if path != "data.digest"]
            if "data.digest" in paths:
                shown.insert(0, "the content of the data changed")
            return "; ".join([*shown[:3], *([f"{len(shown) - 3} more"] if len(shown) > 3 else [])])
    return f"the specification changed (it was {old['id']})"


# --- the studies on disk --------------------------------------------------------------------------------------------


def folder() -> Path:
    """`experiments/` here, else the one beside the harness."""
    here = Path("experiments").absolute()
    return here if here.is_dir() else Path(__file__).parent.parent / "experiments"


def available() -> dict[str, str]:
    """The studies by name, with the first line of each docstring; none is imported."""
    import ast

    def first_line(path: Path) -> str:
        try:
            return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        except (SyntaxError, ValueError):
            return "(does not parse)"

    return {path.stem: first_line(path) for path in sorted(folder().glob("[!_]*.py"))}


def load(name: str) -> Study:
    """The study `experiments/<name>.py`. Raises Problem where there is none, or it lacks what a study has."""
    path = folder() / f"{file_name(name)}.py"
    if not path.is_file():
        raise Problem(f"no study {name!r} in {folder()}; there are: {', '.join(available()) or 'none'}")
    try:
        module = _imported(path)
    except Problem:
        raise
    except (Exception, SystemExit) as error:
        raise Problem(f"{path} cannot be imported: {_where(error, path)}") from None
    lacking = [field for field in ("BASELINE", "TRICKS", "SEEDS") if not hasattr(module, field)]
    if lacking:
        raise Problem(f"{path} lacks {', '.join(lacking)}")
    tricks, seeds = module.TRICKS, module.SEEDS
    if not isinstance(module.BASELINE, Spec) or not isinstance(tricks, Sequence) or not _are_tricks(tricks):
        raise Problem(
            f"{path}: BASELINE must be a Spec, and TRICKS a tuple of functions Spec -> Spec, tuples of them, and "
            "Branches at most the last"
        )
    whole = isinstance(seeds, Sequence) and all(_is_seed(seed) for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise Problem(f"{path}: SEEDS must be different whole numbers from 0 up, and at least one")
    space = getattr(module, "SPACE", {})
    if space:
        _check_space(path, space)
    return Study(name, inspect.getdoc(module) or "", module.BASELINE, tuple(tricks), tuple(seeds), space)


def _imported(path: Path) -> ModuleType:
    """The module at `path`, as `experiments.<name>`: by this name, and `sys.path`, worker processes find it too.

    Raises Problem where another package called experiments hides it.
    """
    own, shipped = str(path.parent.parent), str(Path(__file__).parent.parent)
    sys.path[:] = [own, *(root for root in sys.path if root != own)]
    if shipped not in sys.path:  # the user's studies may build on those shipped
        sys.path.append(shipped)
    name = f"experiments.{path.stem}"
    if name in sys.modules and not _is_at(path, sys.modules[name].__spec__):  # a study of where this process was before
        del sys.modules[name]
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        found = None  # what is called experiments is no package
    if not _is_at(path, found):
        package: Any = sys.modules["experiments"]
        where = package.__file__ or ", ".join(package.__path__)
        raise Problem(f"{path} is hidden by {where}, which is called experiments too: uninstall it, or mend PYTHONPATH")
    return importlib.import_module(name)


def _is_at(path: Path, spec: ModuleSpec | None) -> bool:
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path.resolve()


def _check_space(path: Path, space: object) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(space, Mapping) or not all(isinstance(name, str) for name in space):
        raise Problem(f"{path}: SPACE must be a dict from slot paths to optuna's distributions")
    for name, distribution in space.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution | CategoricalDistribution):
            raise Problem(f"{path}, SPACE: {name} is {one_line(repr(distribution))}, and no distribution of optuna's")
        slot = name.partition(".")[0]
        if slot not in Spec.model_fields:
            raise Problem(f"{path}, SPACE: {name}: no slot {slot!r}; slots: {', '.join(Spec.model_fields)}")
        if slot == "data":
            raise Problem(f"{path}, SPACE: {name}: trials would be scored on other images each: leave data out")
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
        odd = [choice for choice in choices if not isinstance(choice, bool | int | float | str | None)]
        if odd:
            raise Problem(f"{path}, SPACE: {name}: a choice is a number, a text, True, False or None, not {odd[0]!r}")


def _are_tricks(steps: Sequence[object]) -> bool:
    *others, last = steps or (None,)
    ends = [*last.ways] if isinstance(last, Branches) else []
    own = others if ends or last is None else steps
    each = [trick for step in own for trick in (step if isinstance(step, tuple) and step else (step,))]
    return all(map(callable, each)) and all(way and _are_tricks(way) for way in ends)


def _is_seed(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _where(error: BaseException, path: Path | None = None) -> str:
    """An error in a line: what, and the deepest line of the user's own code, which may be of `path`, it came from."""
    text = first_error(error) if isinstance(error, pydantic.ValidationError) else error
    own = None if isinstance(error, SyntaxError) else sources.blamed(error)  # which says its own
    file = "" if not own or own[0] == str(path) else f"{Path(own[0]).name}, "
    line = f" ({file}line {own[1]})" if own else ""
    return f"{type(error).__name__}: {text}{line}"


def setting(text: str) -> tuple[str, Any]:
    """`slot.field=value` as a path and a value: JSON where it reads as JSON, else text; `{"kind": …}` is a part."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise Problem(f"--set {text}: write slot.field=value")
    _import_parts()
    try:
        return path, parse(json.loads(value))
    except RecursionError:
        raise Problem(f"--set {path}: the value is nested too deep") from None
    except Problem as problem:
        raise Problem(f"--set {path}: {problem}") from None
    except ValueError:
        return path, value


def _import_parts() -> None:
    """So that the kinds a setting may name are known, whichever of them the study uses."""
    for package in (harness.parts, harness.tricks):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            with suppress(Exception):  # a user's own that is broken says so where it is used
                importlib.import_module(module.name)
