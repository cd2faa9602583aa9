"""What a network is trained to do. The loop and the evidence ask a specification's task, and name none."""

from typing import Any

from harness.spec import Spec
from harness.tasks.classify import Classify


def of(spec: Spec) -> Any:
    """The task of `spec`, a `harness.spec.Task`; of an empty slot classification."""
    return spec.task or Classify()


def scored(spec: Spec) -> dict[str, str]:
    """What a record says of its headline metric; nothing where that is top-1, as records of before say nothing."""
    score = str(of(spec).headline)
    return {} if score == Classify.headline else {"score": score}
