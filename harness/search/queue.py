"""Which trials there are, which are still to do, and which lost their process."""

from optuna import Study, storages
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from harness.engine import RETRIES
from harness.search.search import Search
from harness.search.storage import is_held

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def revive(search: Search, study: Study, seen: set[int]) -> None:
    """Put trials whose process is gone back into the queue; those whose process died too often have failed.

    A journal has no heartbeats: there each trial holds a file while it runs. Called by whoever has the turn.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    storage = study._storage
    if isinstance(storage, BaseHeartbeat):
        for trial in running:
            if trial._trial_id not in seen:  # one that died before its first would never be called stale
                storage.record_heartbeat(trial._trial_id)
                seen.add(trial._trial_id)
        storages.fail_stale_trials(study)
        return
    for trial in running:
        if not is_held(search.folder / str(trial.number)):
            deaths = trial.user_attrs.get("deaths", 0) + 1
            storage.set_trial_user_attr(trial._trial_id, "deaths", deaths)
            if deaths > RETRIES:
                storage.set_trial_user_attr(trial._trial_id, "why", f"its process died, {deaths} times")
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL if deaths > RETRIES else TrialState.WAITING)


def failures(trials: list[FrozenTrial]) -> int:
    """Trials that failed for good: not the surplus, nor those that were tried again."""
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in again]
    return sum(trial.user_attrs.get("why") != "surplus" for trial in failed)


def left(search: Search, trials: list[FrozenTrial]) -> int:
    """Trials that are still to be finished; 0 too where as many failed as were asked for."""
    done = sum(trial.state in DONE for trial in trials)
    done += failures(trials) if search.sampler == "grid" else 0  # a point of a grid is tried once
    return max(0, search.trials - done) if failures(trials) < search.trials else 0


def is_surplus(search: Search, study: Study, number: int) -> bool:
    """Whether as many trials as were asked for came before, of those that did not fail: two machines may begin the last
    at once, and each sees the other."""
    before = study.get_trials(deepcopy=False)[:number]
    return sum(trial.state != TrialState.FAIL for trial in before) >= search.trials
