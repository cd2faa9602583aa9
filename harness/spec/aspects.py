"""Which aspects of what a run shows each slot may move."""

from collections.abc import Iterable

MAY: dict[str, tuple[str, ...]] = {  # slot -> the aspects of `seen` that a change of it may move
    "data": (*("weights", "order", "images", "targets", "mixing", "rates", "steps"), "structure", "decay", "teacher"),
    "model": ("weights", "structure", "decay"),
    "init": ("weights",),
    "decay": ("decay",),
    "optimizer": ("rates", "optimizer"),
    "schedule": ("rates",),
    "batch_size": ("order", "images", "targets", "mixing", "rates", "steps", "teacher"),
    "epochs": ("rates", "steps"),
    "augment": ("images", "mixing", "teacher"),  # a teacher answers the images that the student gets
    "targets": ("targets", "mixing"),
    "mix": ("mixing", "teacher"),
    "precision": ("precision", "teacher"),
    "teacher": ("teacher",),
    "ascent": ("steps", "teacher"),
    "task": ("targets", "mixing", "structure", "weights", "decay", "teacher"),
    "loss": (),
    "rates": ("optimizer", "rates"),
    "clip": (),
    "average": (),
    "sampler": ("order", "images", "targets", "mixing", "teacher"),
    "evaluation": (),
    "resolution": ("images", "mixing", "teacher"),
    "stop": ("rates", "steps"),
    "compiler": ("teacher",),  # other roundings
    "microbatch": ("steps", "teacher"),  # a teacher answers a pass, and other sizes round otherwise
    "ranks": ("teacher",),  # likewise
    "sync_norms": ("structure", "teacher"),
}
ASPECTS = tuple(dict.fromkeys(aspect for aspects in MAY.values() for aspect in aspects))


def may(paths: Iterable[str]) -> tuple[str, ...]:
    """The aspects that may move where only `paths` change, for example "schedule.warmup"."""
    moved = {aspect for path in paths for aspect in MAY[path.partition(".")[0]]}
    return tuple(aspect for aspect in ASPECTS if aspect in moved)
