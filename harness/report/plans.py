"""What a described plan holds, as `runs/studies/<label>.json` remembers it: checked when it is read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from harness import named
from harness.store.schema import Count, Finite, deep, misfit

Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z_]+$")]  # names a folder
Place = tuple[Count, Count]


Test = Literal["moderated", "t"]


class Rung(BaseModel):
    name: str
    title: str
    id: Id
    epochs: Count
    seeds: list[Count]
    on: list[Count]
    gain: Place | None
    also: list[str]
    may: list[str]
    changes: dict[str, tuple[Any, Any]] = {}
    microbatch: Count | None = None
    stops: bool = False


class Trick(BaseModel):
    name: str
    title: str
    moves: list[str]


class Decide(BaseModel):
    points: Finite
    looks: list[Count]
    test: Test = "t"  # a plan of before was made for it


class Upstream(BaseModel):
    of: str
    id: Id
    seeds: list[Count] = [0]  # a plan of before had teachers alone, which have one seed


class Chosen(BaseModel):
    """Of a tuned rung: the values it came to, their score, and the scores of all trials."""

    values: dict[str, Any]
    score: Finite
    pool: Annotated[list[Finite], Field(min_length=1)]


class Tuned(BaseModel):
    trials: Count
    sampler: str
    share: Finite
    rungs: list[Chosen]
    untuned: Plan


class Length(BaseModel):
    epochs: Count
    id: Id


class Reached(BaseModel):
    """Of a rung that trains until a target: the lengths tried, the one that reached it, and the one below that."""

    tried: Annotated[list[Length], Field(min_length=1)]
    reached: Count | None
    low: Count | None
    ended: bool


class Target(BaseModel):
    score: Finite
    rungs: list[Reached]


class Plan(BaseModel):
    study: str
    label: str
    about: str
    settings: list[str]
    command: list[str]
    design: Literal["ladder", "leave-one-out", "add-one", "shapley", "factorial"]
    tricks: list[Trick]
    decide: Decide | None
    test: Test = "moderated"
    metric: Annotated[str, Field(pattern=r"^\w*$")] = ""  # that rungs are compared by, where that is not their records'
    rungs: Annotated[list[Rung], Field(min_length=1)]
    upstream: list[Upstream]
    orders: list[list[Count]] = []
    generators: list[str] = []
    tuned: Tuned | None = None
    target: Target | None = None


def wrong(value: Any) -> str:
    """What is wrong with a plan that was read; "" where nothing is."""
    return "it is nested too deep" if deep(value) else misfit(Plan, value) or _at_odds(value)


def built_on(plan: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The upstream runs of a described plan, (id, seed), each once."""
    every = [(inner["id"], seed) for inner in plan["upstream"] for seed in inner.get("seeds", [0])]
    return list(dict.fromkeys(every))


def recorded(every: Any) -> str:
    """What the records of a frame of runs are about, whatever they are compared by."""
    return str(every["recorded"].iloc[0]) if "recorded" in every and len(every) else "top1"


LOSS = {"targets", "mix", "loss", "teacher", "task"}  # slots that make a training loss one of another kind


def losses(plan: Mapping[str, Any]) -> dict[int, str]:
    """By place, the tricks that make a rung's training loss what it is; "" where it is that of the labels alone."""
    tricks = plan["tricks"]
    return {
        place: ", ".join(tricks[i]["name"] for i in rung["on"] if LOSS & set(tricks[i]["moves"]))
        for place, rung in enumerate(plan["rungs"])
    }


def _at_odds(plan: Mapping[str, Any]) -> str:
    rungs, k = plan["rungs"], len(plan["tricks"])
    looks = plan["decide"]["looks"] if plan["decide"] else [2]
    if not named(plan["study"]):
        return "study: is no name"
    if any(place >= len(rungs) for rung in rungs for place in rung["gain"] or ()):
        return "gain: is of a rung that is not there"
    if any(trick >= k for rung in rungs for trick in rung["on"]):
        return "on: has a trick that is not there"
    if any(sorted(order) != list(range(k)) for order in plan.get("orders", ())):
        return "orders: are not of the tricks"
    if not looks or looks[0] < 2 or sorted(set(looks)) != looks:
        return "looks: do not rise, from 2 on"
    if (target := plan.get("target")) and len(target["rungs"]) != len(rungs):
        return "target: has other rungs"
    tuned = plan.get("tuned")
    if not tuned:
        return ""
    return "tuned: has other rungs" if len(tuned["rungs"]) != len(rungs) else _at_odds(tuned["untuned"])
