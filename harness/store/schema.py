"""What the files of a run hold, checked whenever one is read: they come from other machines and programs too.

A record of before lacks what later ones have, and is a record; one may have fields that nothing here names.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness import one_line
from harness.spec import flat

SCORES = {"top1": "top5", "mAP": "mAP_area", "mIoU": "pixAcc"}  # headline metrics, each with the one beside it
BY_CLASS = {"mAP": {"AP", "AP_area", "n"}, "mIoU": {"IoU", "n"}}  # what is told of each class
ROUNDED = 0.01  # points: what is told of classes may be rounded
DEEP = 40  # levels; a specification with a teacher's has ten
Number = Annotated[float, Field(strict=True)]  # of a run that diverged they are nan and ±inf
Finite = Annotated[float, Field(strict=True, ge=0, le=1e12, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, ge=-1e12, le=1e12, allow_inf_nan=False)]  # below 0 where a clock was set
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Truth = Annotated[bool, Field(strict=True)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Stamp = Annotated[float, Field(strict=True, ge=0, le=1e11, allow_inf_nan=False)]  # seconds since 1970, to the year 5138


class Evidence(BaseModel):
    part: str
    what: str
    expected: str
    seen: str
    ok: Truth


class Images(BaseModel):
    train: Count
    test: Annotated[Count, Field(ge=1)]
    digest: str | None = None
    splits: dict[str, str] = {}  # a digest of each; see `harness.parts.data.images.digests`


class Precision(BaseModel):
    name: str
    emulated: Truth


class Environment(BaseModel):
    device_name: str
    commit: str


class Record(BaseModel):
    """`result.json` and `refused.json`; their format, digest, id and seed are the store's to check."""

    finished: Stamp
    weights: Sha256
    logits: Sha256 | None = None  # of the file of labels and logits; a record of before, or of another task, has none
    no_logits: str = ""  # why there is none, where there might be one
    status: Literal["finished", "diverged", "refused"]
    metrics: dict[str, Number]
    score: Literal["top1", "mAP", "mIoU"] = "top1"  # the headline metric; a record of before tells none
    stands_on: dict[str, int | str | None] | None = None  # the run whose weights the network began with
    by_class: dict[str, dict[str, Number]] = {}  # by name, in percent, of other metrics than top-1
    epochs: Annotated[list[dict[str, Number]], Field(min_length=1)]
    evidence: list[Evidence]
    params: Count
    macs: Annotated[Count, Field(ge=1)]
    images: Images
    precision: Precision
    environment: Environment
    seconds: Seconds
    seconds_per_epoch: Seconds
    correct: Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]
    record: str | None = None
    classes: Annotated[Count, Field(ge=1)] | None = None
    names: list[str] = []  # of the classes, in their order; a record of before has none
    kept: Count | None = None
    rates: list[tuple[Count, Number]] | None = None  # nan where parameter groups had several, which is refused
    seen: dict[str, str] | None = None
    gaps: list[Number] | None = None
    peak_memory: Count | None = None
    opinions: dict[str, str] = {}  # of each part: how it is known that it did what it says
    network: str = ""  # a digest of its weights and buffers at the end
    answers: str = ""  # the class answered to each test image; see `harness.stats.unpacked`
    sources: dict[str, str] = {}  # of parts that are not the package's own
    repository: str = ""


class Event(BaseModel):
    """A line of the journal."""

    seq: Count
    event: str
    after: Seconds | None = None
    time: Stamp | None = None
    record: str | None = None
    epoch: Count | None = None
    batch: Count | None = None
    file: str | None = None
    by: str | None = None
    why: str | None = None
    sha256: Sha256 | None = None
    digest: Sha256 | None = None
    spec: Sha256 | None = None


class Epoch(Event):
    """An epoch that was trained; what else it tells is numbers."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number]
    epoch: Count
    time: Stamp


class Checkpoint(Event):
    file: str
    by: str
    record: str
    sha256: Sha256
    epoch: Count
    batch: Count


class Forms(BaseModel):
    """`spec.json`."""

    spec: dict[str, Any]
    resolved: dict[str, Any]


EVENTS: dict[str, type[Event]] = {"epoch": Epoch, "checkpoint": Checkpoint}  # of whose fields some must be there


def misfit(kind: type[BaseModel], value: Any) -> str:
    """Where `value` is not of that kind, and how; "" where it is."""
    try:
        kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": "), 200)
    return ""


def record(value: Any) -> str:
    """What is wrong with a record that was read; "" where nothing is."""
    return misfit(Record, value) or _at_odds(value)


def _at_odds(record: Mapping[str, Any]) -> str:
    """Where what a record tells is not what it tells elsewhere; "" where all agrees."""
    told, score = record["epochs"], record.get("score", "top1")
    if [row.get("epoch") for row in told] != list(range(len(told))):
        return f"epochs are not 0 to {len(told) - 1}"
    if not all(_percent(row) for row in (record["metrics"], *told)):
        return f"{'top-1 or top-5' if score == 'top1' else f'{score} or {SCORES[score]}'} is no percentage"
    if record.get("rates") == [] or (record.get("kept") or 0) >= len(told):
        return "rates or kept is of no step or epoch that there was"
    if record["status"] != "refused" and not all(0 <= rate < math.inf for _, rate in record.get("rates") or ()):
        return "a rate is no number from 0 up"
    return _of_images(record) if score == "top1" else _of_classes(record, score)


def _of_images(record: Mapping[str, Any]) -> str:
    """Where top-1 is not that of the images told to be right."""
    tests = record["images"]["test"]
    spare = 4 * len(record["correct"]) - tests
    right = int(record["correct"] or "0", 16)
    if not 0 <= spare < 8 or right & (1 << spare) - 1:
        return f"correct is not of {tests:,} test images"
    top1 = 100 * right.bit_count() / tests
    if not math.isclose(record["metrics"].get("top1", math.nan), top1, abs_tol=1e-6):
        return f"top1 is {record['metrics'].get('top1')}, and by correct {top1:g}"
    return ""


def _of_classes(record: Mapping[str, Any], score: str) -> str:
    """Where a metric that is a mean over classes is not that of the classes told; it is of no images."""
    if record["correct"] or record.get("answers"):
        return f"correct or answers tell of images, of which {score} is not"
    if score not in record["metrics"]:
        return f"metrics have no {score}"
    classes = record.get("by_class") or {}
    for name, row in classes.items():
        if row.keys() != BY_CLASS[score] or not (row["n"] >= 0 and row["n"] == int(row["n"])):
            return f"by_class: {one_line(name)} has not {', '.join(sorted(BY_CLASS[score]))}, or n is no number of them"
        if not all(0 <= value <= 100 for what, value in row.items() if what != "n" and not math.isnan(value)):
            return f"by_class: {one_line(name)} has no percentages"
    own = "AP" if score == "mAP" else "IoU"  # a class without a box has no AP; one in neither labels nor answers no IoU
    every = [row[own] for row in classes.values() if not math.isnan(row[own]) and (score == "mIoU" or row["n"])]
    value = record["metrics"][score]
    if every and math.isfinite(value) and not math.isclose(sum(every) / len(every), value, abs_tol=ROUNDED):
        return f"{score} is {value:g}, and by its classes {sum(every) / len(every):g}"
    return ""


def _percent(row: Mapping[str, float]) -> bool:
    return all(0 <= row[name] <= 100 for name in _scores(tuple(row)))


@lru_cache(1024)
def _scores(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that are scores; the epochs of all runs have the same names."""
    return [name for name in names if name.endswith((*SCORES, *SCORES.values()))]


def event(value: Any) -> bool:
    """Whether a line of the journal that was read is an event."""
    name = value.get("event") if isinstance(value, dict) else None
    return isinstance(name, str) and not misfit(EVENTS.get(name, Event), value)


def forms(value: Any) -> str:
    """What is wrong with a `spec.json` that was read; "" where nothing is."""
    wrong = misfit(Forms, value)
    if wrong or deep(value):
        return wrong or "it is nested too deep"
    try:
        flat(value["resolved"])
    except (AttributeError, KeyError, TypeError):
        return "resolved: is no specification"
    return ""


def deep(value: Any) -> bool:
    """Whether lists and dicts lie within each other `DEEP` times or more."""
    level: Sequence[Any] = [value]
    for _ in range(DEEP):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
