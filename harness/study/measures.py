"""A plan whose rungs are compared by another metric than the headline of their task."""

from collections.abc import Mapping
from dataclasses import replace

from harness import Problem, metrics, tasks
from harness.spec import Spec
from harness.study.plans import Plan
from harness.study.study import Study


def asked(name: str, own: Mapping[str, metrics.Metric], spec: Spec) -> metrics.Metric | metrics.Told | None:
    """The metric of that name, for runs of `spec`; None where it is their headline.

    Raises Problem where there is none, or such runs will not tell it.
    """
    task, images = tasks.of(spec), spec.data.load()
    if name in ("", task.headline):
        return None
    if name in metrics.HEADLINES:
        raise Problem(f"--metric {name}: these runs are scored by {task.headline}")
    metric = metrics.chosen(name, own)
    if task.headline != "top1" and name != "seconds":
        raise Problem(
            f"--metric {name} is of classification, and these runs are scored by {task.headline}: take seconds"
        )
    if isinstance(metric, metrics.Metric):
        none = task.keeps(images.counts["test"], len(images.classes))[1]
        if none:
            raise Problem(f"--metric {name} needs logits, and {none}: take one of top1, top5, loss, seconds")
    if name == "top5" and len(images.classes) <= 5:
        raise Problem(f"--metric top5: there are {len(images.classes)} classes")
    return metric


def by_metric(plan: Plan, study: Study, name: str) -> Plan:
    """`plan`, compared by that metric. Raises Problem as `asked` does."""
    found = [asked(name, study.metrics, rung.spec) for rung in plan.rungs]
    return replace(plan, metric=name, command=(*plan.command, "--metric", name)) if any(found) else plan
