"""What a user reads while a search goes on."""

import sys

from optuna.trial import FrozenTrial

from harness import one_line
from harness.engine import Event, key
from harness.report.words import METRICS
from harness.search.outcome import choice, short
from harness.search.queue import DONE
from harness.search.search import Search
from harness.search.storage import opened
from harness.spec import needed, upstream
from harness.tracking import Tracker


class Lines:
    """Says a line a finished trial, and names the trials' runs for MLflow."""

    def __init__(self, search: Search, tracker: Tracker, titles: dict[str, str]) -> None:
        self.search, self.tracker, self.titles = search, tracker, titles
        self.study = opened(search)
        self.metric = "−" * (search.sign < 0) + METRICS[search.aim]

    def __call__(self, event: Event) -> None:
        match event["kind"]:
            case "begun":
                spec = event["run"][0]
                self.titles.setdefault(spec.id, f"{self.search.rung.title}, trial {event['number']}")
                for inner in upstream(spec):
                    self.titles.setdefault(inner.id, f"upstream of {self.search.rung.name}, held out")
                asked = [(spec, seed) for seed in self.search.seeds]
                self.tracker.reused(key(run) for own in asked for run in (*needed(*own), own))
            case "note":
                self._say(f"{self.titles.get(event['run'][0].id, 'a run')}, seed {event['run'][1]} {event['text']}")
            case "trial":
                self._say(self._line(event["number"]))
            case _:
                self.tracker.see(event)

    def _line(self, number: int) -> str:
        every = self.study.get_trials(deepcopy=False)
        trial, done = every[number], sum(trial.state in DONE for trial in every)
        values = ", ".join(f"{path}={short(value)}" for path, value in trial.params.items())
        head = f"[{done}/{self.search.trials}] trial {number}"
        if trial.state not in DONE:
            return f"{head} failed: {trial.user_attrs.get('why')} ({values})"
        if trial.state.name == "PRUNED":
            text = f"ended early at {self.metric} {trial.value:.2f}" if trial.values else "ended early"
        else:
            assert trial.values
            text = f"{self.metric} {trial.values[0]:.2f}"
            text += f", {_aim(self.search, trial)}" if self.search.minimize else ""
        best = choice(self.search, self.study)
        so_far = ""
        if best:
            so_far = (
                "; the best so far" if best.number == number else f"; best {best.values[0]:.2f}, trial {best.number}"
            )
        return f"{head}: {text} ({values}){so_far}"

    def _say(self, line: str) -> None:
        print(one_line(line, 1000), file=sys.stderr, flush=True)


def _aim(search: Search, trial: FrozenTrial) -> str:
    assert trial.values
    return f"{trial.values[1]:.4g} {'s' if search.minimize == 'seconds' else 'GMACs'}"
