"""Searches without processes: an engine whose runs are generators, and runs that only write their record."""

import math
import time
from dataclasses import replace

import torch
from optuna.distributions import FloatDistribution

from harness.engine import Engine, Interrupted
from harness.engine.worker import attempt
from harness.search.driver import run_search
from harness.search.storage import opened
from harness.spec import sources
from harness.store import Store
from harness.study import Study
from harness.tricks.cosine import cosine
from tests.kit.tiny import BASELINE, STUDY, whole

LR = FloatDistribution(0.01, 1, log=True)
LONG = Study("long", "", BASELINE.but(epochs=9), (cosine,), (0, 1, 2, 3, 4), {"optimizer.lr": LR})
PEAK = 0.2
SPACE = {"optimizer.lr": LR, "mix.alpha": FloatDistribution(0.1, 1), "teacher.temperature": FloatDistribution(1, 20)}
SEARCHED = replace(STUDY, space=SPACE)


class Here:
    """A launcher without processes: `body(spec, seed)` is a generator of a run's events, and each poll gives one."""

    def __init__(self, body, places=1):
        self.body, self.places, self.runs, self.asked = body, places, {}, set()

    def width(self, run):
        return 1

    def free(self):
        return self.places - len(self.runs)

    def start(self, run):
        handle = object()
        self.runs[handle] = self.body(*run)
        return handle

    def poll(self, seconds):
        if not self.runs:
            time.sleep(seconds)
        return [(handle, self.step(handle)) for handle in list(self.runs)]

    def step(self, handle):
        run = self.runs[handle]
        try:
            return run.throw(Interrupted()) if handle in self.asked else next(run)
        except StopIteration as end:
            event = end.value or {"kind": "finished"}
        except Interrupted:
            event = {"kind": "interrupted"}
        del self.runs[handle]
        return event

    def stop(self, handle):
        self.asked.add(handle)

    def kill(self, handle):
        self.runs.pop(handle).close()

    def close(self):
        assert not self.runs


class Fake(list):
    """Runs that only write their record: top-1 falls with the distance of the rate from 0.2. Has each epoch."""

    def body(self, spec, seed):
        with (store := Store()).claim(spec.id, seed) as claim:
            behind = [e["epoch"] for e in store.events(spec.id, seed) if e["event"] == "epoch"]
            claim.begin({"spec": {}, "resolved": {}})
            yield {"kind": "started"}
            rows = []
            for epoch in range(spec.epochs):
                score = 95 - 10 * abs(math.log(spec.optimizer.lr / PEAK)) - 2 * (spec.epochs - 1 - epoch) + 0.1 * seed
                rows.append({"epoch": epoch, "top1": round(score, 2)})
                if epoch not in behind:
                    claim.note("epoch", **rows[-1])
                    self.append((spec.id, seed, epoch))
                    try:
                        yield {"kind": "epoch", "at": rows[-1]}
                    except Interrupted:
                        claim.note("interrupted", safe=True)
                        raise
            images = {"train": 10, "test": 10_000}
            told = {"epochs": rows, "metrics": {"top1": rows[-1]["top1"]}, "macs": 2 * 10**9, "images": images}
            claim.finish(whole(told | {"sources": sources.of(spec)}), {})

    def serve(self, searched, epochs=math.inf, places=1):
        return serve(searched, self.body, epochs, places)


def trained(spec, seed, stop=lambda: False):
    """A run that is trained where the test stands; what it says comes when it has ended."""
    said = []
    end = attempt((spec, seed), Store(), torch.device("cpu"), said.append, stop)
    yield from said
    return end


def serve(searched, body=trained, epochs=math.inf, places=1):
    """The trials that a search leaves, and what it said; it is stopped after so many epochs."""
    engine, said = Engine(Store(), ["cpu"] * places, launcher=Here(body, places)), []

    def see(event):
        said.append(event)
        if sum(each["kind"] == "epoch" for each in said) >= epochs:
            engine.stopping = True

    run_search(searched, engine, see)
    return opened(searched).trials, said


def seen(trial):
    return trial.number, trial.state, trial.params, trial.values, trial.intermediate_values
