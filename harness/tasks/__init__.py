"""What a network is trained to do. The loop and the evidence ask a specification's task, and name none."""

from harness.spec import Spec
from harness.tasks.classify import Classify


def of(spec: Spec) -> Classify:
    """The task of `spec`; of an empty slot classification."""
    task = spec.task or Classify()
    assert isinstance(task, Classify)
    return task
