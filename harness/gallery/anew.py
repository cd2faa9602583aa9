"""The test images of a run, answered anew by the weights in the store and the loop's own evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness import Problem
from harness.spec import sources

if TYPE_CHECKING:  # torch takes seconds, which --help need not wait for
    from torch import Tensor

    from harness.spec import Spec
    from harness.store import Store

Record = dict[str, Any]


def told(record: Record) -> str:
    """How a run ended, where, and whether the source of its parts is another now."""
    stale = sources.changed(record)
    late = f"; trained before the source of {', '.join(stale)} changed, so without its answers" if stale else ""
    return f"{record['status']}, on {record['environment'].get('device_name')}{late}"


def answerable(record: Record) -> bool:
    """Whether its answers may be shown: of a run that diverged they are no numbers."""
    return record["status"] == "finished" and not sources.changed(record)


def evaluated(
    spec: Spec, seed: int, store: Store, task: Any, saw: Callable[[tuple[Tensor, ...], Tensor], None]
) -> tuple[dict[str, float], dict[str, Any]]:
    """The scores of the test images, and what a record keeps of them.

    `saw` is called with what each batch was, and with what the network answered.
    """
    from harness.engine import places, settle
    from harness.outcomes.networks import trained
    from harness.train import evaluate, placed

    images = spec.data.load()
    device = settle(places(None, 1)[0])
    model = placed(trained(spec, seed, store, images), device)
    shown = spec.evaluation.view(images) if spec.evaluation else images
    heard: list[tuple[Any, Any]] = []  # of a batch, one a view

    def hear(module: Any, given: Any, z: Any) -> None:
        heard.append((given, z))
        if shown.looks is None:
            saw(*heard.pop())
        elif len(heard) == len(shares := [share for share, _ in shown.looks.views(heard[0][0][0])]):
            saw(heard[0][0], sum(share * z.float() for share, (_, z) in zip(shares, heard, strict=True)))
            heard.clear()

    model.register_forward_hook(hear)
    return evaluate(task, model, shown, spec.precision.on(device), device)


def otherwise(record: Record, what: str) -> Problem:
    """What to raise where answers are not those of the record."""
    return Problem(
        f"{record['spec_id']}, seed {record['seed']}: {what} than its record says, which was made on "
        f"{record['environment'].get('device_name')}: make the gallery there"
    )
