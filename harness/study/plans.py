"""The plan of runs that a study needs under a design."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import Problem
from harness.metrics import labelled
from harness.spec import (
    Part,
    Spec,
    Trick,
    assign,
    declared,
    meant,
    moved,
    needed,
    plain,
    shape,
    upstream,
)
from harness.spec.blame import whence
from harness.stats import Walk
from harness.stats.designs import DESIGNS, Layout, Options, Row
from harness.study.study import Run, Study, call_of, trick_name, trick_title, ways


@dataclass(frozen=True)
class Decide:
    """Seeds where they are needed: until gains are resolved, or known to ± `points`, at most the last of `looks`."""

    points: float
    looks: tuple[int, ...]
    test: str = "t"  # or "moderated"


@dataclass(frozen=True)
class Target:
    """A score that each rung trains as long as it takes to reach: see `harness.study.target`."""

    score: float
    lengths: tuple[tuple[int, ...], ...]  # of each rung: the epochs that may be tried
    start: tuple[int, ...]  # where to begin
    walks: tuple[Walk, ...] = ()  # how far it came


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
    target: Target | None = None  # a score that each rung trains as long as it takes to reach
    name: str = ""  # of its report, in the place of design and hash
    test: str = "moderated"  # by which its report judges gains: that, or "t"
    metric: str = ""  # by which its rungs are compared, where that is not the headline of their task

    @property
    def label(self) -> str:
        """The study's name, and its own name, else its design and a hash of its settings: none overwrites another."""
        told = hashlib.sha256("\n".join(self.settings).encode(errors="surrogateescape")).hexdigest()[:6]
        more = [*([self.design] if self.design != "ladder" else []), *([told] if self.settings else [])]
        more = [self.name] if self.name else more
        more += [f"target-{self.target.score:g}".replace(".", "_")] if self.target else []
        more += [f"tuned-{self.tuned['trials']}-{self.tuned['sampler']}"] if self.tuned else []
        return labelled(f"{self.study}@{'-'.join(more)}" if more else self.study, self.metric)

    def seeds_of(self, place: int) -> tuple[int, ...]:
        return self.seeds[: self.counts[place]] if self.counts else self.seeds

    def runs(self, only: Sequence[str] = ()) -> list[Run]:
        chosen = [(i, rung.spec) for i, rung in enumerate(self.rungs) if not only or rung.name in only]
        asked = [(spec, seed) for place, spec in chosen for seed in self.seeds_of(place)]
        first = [run for spec, seed in asked for run in needed(spec, seed)]
        return list({(spec.id, seed): (spec, seed) for spec, seed in (*first, *asked)}.values())

    def names(self) -> dict[str, str]:
        """A title for each specification's id: its first rung's, or whose upstream it is."""
        long = [f", {rung.spec.epochs} epochs" if self.target else "" for rung in self.rungs]
        each = list(zip(self.rungs, long, strict=True))
        named = {rung.spec.id: f"{rung.title}{told}" for rung, told in reversed(each)}
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
    _all_there(rungs, late)
    _agreed(study, rungs)
    own = _seeds(study.seeds, decide.looks[-1] if decide else seeds)
    tricks = tuple((names[i], titles[i], tuple(moves.get(i, ()))) for i in range(len(every)))
    asked = Asked(study, settings, own, design, options, decide, same_epochs)
    return Plan(*(study.name, rungs, own, asked.said(), design, tricks, layout, study.about, asked.words(), decide))


@dataclass(frozen=True)
class Asked:
    """What a plan was asked for, beside its study: to be told, and to be asked again."""

    study: Study
    settings: Sequence[tuple[str, Any]]
    seeds: tuple[int, ...]
    design: str
    options: Options
    decide: Decide | None
    same_epochs: bool

    def said(self) -> tuple[str, ...]:
        """What differs from the study as written, for its report to say."""
        decide, options, fewer = self.decide, self.options, self.seeds != self.study.seeds
        said = [f"{path}={_said(value)}" for path, value in self.settings]
        said += [f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"] if fewer and not decide else []
        said += ["rungs of the same epochs"] if self.same_epochs else []
        said += [f"{options.pairs} pairs of orders"] if options.pairs else []
        said += [f"a fraction of 1/2^{options.fraction}"] if options.fraction is not None else []
        if decide:
            by = ", by moderated tests" if decide.test == "moderated" else ""  # the plain ones were first, and unnamed
            said.append(f"seeds until gains are known to ± {decide.points:g}, looking at {_listed(decide.looks)}{by}")
        return tuple(said)

    def words(self) -> tuple[str, ...]:
        """The words after `harness.ablate` that ask for it."""
        decide, options = self.decide, self.options
        words = [self.study.address or self.study.name]
        words += [word for path, value in self.settings for word in ("--set", f"{path}={_said(value)}")]
        words += ["--design", self.design] if self.design != "ladder" else []
        words += ["--same-epochs"] if self.same_epochs else []
        words += ["--orders", f"{options.pairs}"] if options.pairs else []
        words += ["--fraction", f"{options.fraction}"] if options.fraction is not None else []
        if decide:
            words += ["--decide", f"{decide.points:g}", "--looks", *map(str, decide.looks)]
        elif self.seeds != self.study.seeds:
            words += ["--seeds", f"{len(self.seeds)}"]
        return tuple(words)


def _all_there(rungs: Sequence[Rung], late: Sequence[tuple[str, Any]]) -> None:
    """Raise Problem where no rung has the path of a setting."""
    for path, value in late:
        if not any(assign(rung.spec, path, value) for rung in rungs):
            slot = path.partition(".")[0]
            held = {name: None for rung in rungs for name in _names(getattr(rung.spec, slot))}
            told = meant([rung.spec for rung in rungs], path)
            raise Problem(f"--set {path}: no rung has it; {slot} holds {', '.join(held) or 'nothing'}{told}")


def _agreed(study: Study, rungs: Sequence[Rung]) -> None:
    """Raise Problem where parts of a rung do not agree, where one changes nothing, and where two are the same."""
    for rung in rungs:
        try:
            rung.spec.agree()
        except Problem as problem:
            raise Problem(f"{study.name}, {rung.name}: {problem}") from None
        except Exception as error:
            raise Problem(f"{study.name}, {rung.name}: {whence(error)}") from None
    for rung in rungs:
        if rung.gain and rungs[rung.gain[0]].spec == rungs[rung.gain[1]].spec:
            other = rungs[min(rung.gain)].name
            raise Problem(f"{study.name}: {rung.name} changes nothing, it is the same specification as {other}")
    alike: dict[tuple[str, int], Rung] = {}
    for rung in rungs:  # of those with gains, over the same rung
        first = alike.setdefault((shape(rung.spec), rung.gain[1] if rung.gain else -1), rung)
        if first is not rung:
            raise Problem(f"{study.name}: {rung.name} is the same specification as {first.name}")


def _set_late(spec: Spec, path: str, value: Any) -> Spec:
    """`spec` with a setting made, where it has the path; and in a teacher's, which had there what the student had.

    So too within a backbone, `model.backbone.mix.alpha`, and its teacher's.
    """
    inner, own = getattr(spec.model, "backbone", None), path.removeprefix("model.backbone.")
    if isinstance(inner, Spec) and own != path:
        return spec.but(model=spec.model.but(backbone=_set_late(inner, own, value)))
    after = assign(spec, path, value) or spec
    if after == spec or not after.teacher:  # what a file holds is not asked: that of before may be absent
        return after
    changed = set(moved(spec, after))
    taught = [
        part if changed & set(moved(part.spec, spec)) else part.but(spec=_set_late(part.spec, path, value))
        for part in after.teacher
    ]
    return after.but(teacher=tuple(taught))


def _fitting(study: Study, design: str, every: Sequence[Trick], options: Options) -> None:
    """Raise Problem where a design cannot be of these tricks, or is told what another one takes."""
    if not every and design != "ladder":
        raise Problem(f"{study.name}: --design {design} needs a trick, and TRICKS is empty")
    if design != "ladder" and not any(len(path) == len(every) for path in ways(study.tricks)):
        raise Problem(f"{study.name}: --design {design} puts all tricks together, and no way of the study does")
    for path in ways(study.tricks):
        twice = [trick for i, trick in enumerate(path) if call_of(trick) in map(call_of, path[:i])]
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
        raise Problem(f"{study}, {trick_name(trick)}: {whence(error)}") from None


def _only_declared(study: str, trick: Trick, below: Spec, above: Spec) -> None:
    """Raise Problem where a trick changed what it does not declare, or more than one slot and declares none."""
    paths, allowed = moved(below, above), declared(trick)
    slots = {path.partition(".")[0] for path in paths}
    if not allowed and len(slots) > 1:
        text = f"changes {', '.join(sorted(slots))}: put @declares({', '.join(map(repr, sorted(slots)))}) on it"
        raise Problem(f"{study}: {trick_name(trick)} {text}")
    more = _beyond(paths, allowed)
    if allowed and more:
        raise Problem(
            f"{study}: {trick_name(trick)} declares {', '.join(allowed)}, and changes {', '.join(more)} too: "
            "declare that, or leave it"
        )


def _said(value: Any) -> str:
    return json.dumps(plain(value)) if isinstance(value, Part | tuple | bool | None) else str(value)


def _names(held: Any) -> list[str]:
    """What a slot holds, each part with its fields, for a message."""
    items = held if isinstance(held, tuple) else () if held is None else (held,)
    return [
        f"{type(i).__name__}({', '.join(type(i).model_fields)})" if isinstance(i, Part) else "a plain value"
        for i in items
    ]


def _seeds(own: tuple[int, ...], count: int | None) -> tuple[int, ...]:
    """The first `count` of a study's own seeds, and further numbers where it has fewer."""
    more = (seed for seed in itertools.count() if seed not in own)
    return own if count is None else (*own, *itertools.islice(more, max(0, count - len(own))))[:count]
