"""Studies, designs, and the plan of runs they need."""

import hashlib
import importlib
import inspect
import itertools
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pydantic

from harness import Problem, file_name, one_line
from harness.parts.models import cost
from harness.parts.schedules import Piecewise
from harness.spec import (
    UPSTREAM_SEED,
    Part,
    Spec,
    Trick,
    assign,
    changes,
    first_error,
    flat,
    parse,
    plain,
    resolved,
    upstream,
)
from harness.store import Store

Run = tuple[Spec, int]


@dataclass(frozen=True)
class Study:
    """A baseline, a tuple of tricks and some seeds."""

    name: str
    about: str
    baseline: Spec
    tricks: tuple[Trick, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Rung:
    name: str
    title: str
    spec: Spec


@dataclass(frozen=True)
class Plan:
    """The rungs of a study, and the runs they ask for: upstream runs first, each once."""

    study: str
    rungs: tuple[Rung, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...] = ()  # what differs from the study as written, for its report to say

    @property
    def label(self) -> str:
        """The study's name, and a hash of the settings where there are any: reports do not overwrite each other."""
        told = hashlib.sha256("\n".join(self.settings).encode(errors="surrogateescape")).hexdigest()[:6]
        return f"{self.study}@{told}" if self.settings else self.study

    def runs(self, only: Sequence[str] = ()) -> list[Run]:
        specs = [rung.spec for rung in self.rungs if not only or rung.name in only]
        first = [(inner, UPSTREAM_SEED) for spec in specs for inner in upstream(spec)]
        every = [*first, *itertools.product(specs, self.seeds)]
        return list({(spec.id, seed): (spec, seed) for spec, seed in every}.values())

    def names(self) -> dict[str, str]:
        """A title for each specification's id: its first rung's, or whose upstream it is."""
        named = {rung.spec.id: rung.title for rung in reversed(self.rungs)}
        for rung in self.rungs:
            for inner in upstream(rung.spec):
                named.setdefault(inner.id, f"upstream of {rung.name}")
        return named


def missing(runs: Sequence[Run], store: Store) -> list[Run]:
    return [(spec, seed) for spec, seed in runs if (spec.id, seed) not in store]


def trick_name(trick: Trick) -> str:
    function: Any = trick.func if isinstance(trick, partial) else trick
    return one_line(getattr(function, "__name__", type(function).__name__))


def trick_title(trick: Trick) -> str:
    """What tables call it: its docstring's first line up to the first colon, else its name."""
    function = trick.func if isinstance(trick, partial) else trick
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    return one_line(first.partition(":")[0]) or trick_name(trick)


def ladder(baseline: Spec, tricks: Sequence[Trick]) -> list[Spec]:
    """The cumulative stack: the baseline, then one trick more a rung."""
    return list(itertools.accumulate(tricks, lambda spec, trick: trick(spec), initial=baseline))


def plan(study: Study, settings: Sequence[tuple[str, Any]] = (), seeds: int | None = None) -> Plan:
    """The ladder of `study` under `settings`, pairs of slot path and value.

    A setting is made in the baseline; one that the baseline has no part for is made where a trick brings the part, so
    that what later tricks build on it (a teacher) has it too. Raises Problem where no rung has the path, where parts
    do not agree, and where a trick changes nothing.
    """
    baseline, late = study.baseline, []
    for path, value in settings:
        changed = assign(baseline, path, value)
        baseline = changed or baseline
        if changed is None:
            late.append((path, value))

    def settled(spec: Spec) -> Spec:
        for path, value in late:
            spec = assign(spec, path, value) or spec
        return spec

    def guarded(trick: Trick) -> Trick:
        def tried(spec: Spec) -> Spec:
            try:
                return trick(spec)
            except Problem:
                raise
            except Exception as error:
                text = first_error(error) if isinstance(error, pydantic.ValidationError) else error
                raise Problem(f"{study.name}, {trick_name(trick)}: {type(error).__name__}: {text}") from None

        return tried

    def settling(trick: Trick) -> Trick:
        return lambda spec: settled(trick(spec))

    specs = ladder(baseline, [settling(guarded(trick)) for trick in study.tricks])
    for path, value in late:
        if not any(assign(spec, path, value) for spec in specs):
            slot = path.partition(".")[0]
            held = {name: None for spec in specs for name in _names(getattr(spec, slot))}
            raise Problem(f"--set {path}: no rung has it; {slot} holds {', '.join(held) or 'nothing'}")
    names = ["baseline", *map(trick_name, study.tricks)]
    titles = ["baseline", *(f"+ {trick_title(trick)}" for trick in study.tricks)]
    for name, spec in zip(names, specs, strict=True):
        try:
            spec.agree()
        except Problem as problem:
            raise Problem(f"{study.name}, {name}: {problem}") from None
    for below, above, name in zip(specs, specs[1:], names[1:], strict=False):
        if below == above:
            raise Problem(f"{study.name}: {name} changes nothing in the specification below it")
    rungs = tuple(map(Rung, names, titles, specs))
    own = _seeds(study.seeds, seeds)
    said = [f"{path}={_said(value)}" for path, value in settings]
    return Plan(study.name, rungs, own, (*said, *([f"{len(own)} seeds"] if own != study.seeds else [])))


def _said(value: Any) -> str:
    return json.dumps(plain(value)) if isinstance(value, Part) else str(value)


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
    for rung in plan.rungs:
        for spec in (*upstream(rung.spec), rung.spec):
            images = spec.data.load()
            if images.counts["train"] < spec.batch_size:
                have = images.counts["train"]
                raise Problem(f"{rung.name}: {have} training images are fewer than batch_size={spec.batch_size}")
            steps = images.counts["train"] // spec.batch_size
            if isinstance(spec.schedule, Piecewise) and spec.schedule.warmup and not spec.schedule.warmup_steps(steps):
                epochs = spec.schedule.warmup.epochs
                raise Problem(f"{rung.name}: schedule.warmup.epochs={epochs:g} of {steps} batches is not one batch")
            notes.update(dict.fromkeys(images.notes))
    return list(notes)


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
    below: Spec | None = None
    for rung in plan.rungs:
        images = rung.spec.data.load()
        params, macs = cost(rung.spec.model, images.channels, len(images.classes), images.size)
        differs = {path: list(pair) for path, pair in changes(below, rung.spec).items()} if below else {}
        have = sum((rung.spec.id, seed) in store for seed in plan.seeds)
        rows.append(
            {
                "name": rung.name,
                "title": rung.title,
                "id": rung.spec.id,
                "epochs": rung.spec.epochs,
                "microbatch": rung.spec.microbatch,
                "changes": differs,
                "params": params,
                "gmacs": macs / 1e9,
                "seeds": list(plan.seeds),
                "missing": len(plan.seeds) - have,
            }
        )
        below = rung.spec
    asked = plan.runs(only)
    return {
        "study": plan.study,
        "label": plan.label,
        "settings": list(plan.settings),
        "rungs": rows,
        "upstream": [
            {"of": rung.name, "id": inner.id, "missing": (inner.id, UPSTREAM_SEED) not in store}
            for rung in plan.rungs
            for inner in upstream(rung.spec)
        ],
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
            return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        except (SyntaxError, ValueError):
            return "(does not parse)"

    return {path.stem: first_line(path) for path in sorted(folder().glob("[!_]*.py"))}


def load(name: str) -> Study:
    """The study `experiments/<name>.py`. Raises Problem where there is none, or it lacks what a study has."""
    path = folder() / f"{file_name(name)}.py"
    if not path.is_file():
        raise Problem(f"no study {name!r} in {folder()}; there are: {', '.join(available()) or 'none'}")
    for root in (path.parent.parent, Path(__file__).parent.parent):  # the user's studies may build on those shipped
        if str(root) not in sys.path:
            sys.path.append(str(root))
    try:
        module = importlib.import_module(f"experiments.{name}")
    except Problem:
        raise
    except (Exception, SystemExit) as error:
        raise Problem(f"{path} cannot be imported: {_where(error, path)}") from None
    lacking = [field for field in ("BASELINE", "TRICKS", "SEEDS") if not hasattr(module, field)]
    if lacking:
        raise Problem(f"{path} lacks {', '.join(lacking)}")
    tricks, seeds = module.TRICKS, module.SEEDS
    if not isinstance(module.BASELINE, Spec) or not isinstance(tricks, Sequence) or not all(map(callable, tricks)):
        raise Problem(f"{path}: BASELINE must be a Spec, and TRICKS a tuple of functions Spec -> Spec")
    if not isinstance(seeds, Sequence) or len(set(seeds)) < len(seeds) or not all(_is_seed(seed) for seed in seeds):
        raise Problem(f"{path}: SEEDS must be different whole numbers from 0 up")
    return Study(name, inspect.getdoc(module) or "", module.BASELINE, tuple(tricks), tuple(seeds))


def _is_seed(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _where(error: BaseException, path: Path) -> str:
    """An error of the user's own code in a line: what, and the line of `path` it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = f" (line {lines[-1]})" if lines else ""  # a SyntaxError says its own
    return f"{type(error).__name__}: {error}{line}"


def setting(text: str) -> tuple[str, Any]:
    """`slot.field=value` as a path and a value: JSON where it reads as JSON, else text; `{"kind": …}` is a part."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise Problem(f"--set {text}: write slot.field=value")
    try:
        return path, parse(json.loads(value))
    except ValueError:
        return path, value
