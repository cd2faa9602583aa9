"""Searches for the values of a rung's slots: trials by Optuna, trained by the engine, kept in the store.

From code, under an Optuna study of your own:

    from harness.search import objective
    from harness.study import load

    study = optuna.create_study(direction="maximize")
    study.optimize(objective(load("digits"), rung="cosine"), n_trials=20, catch=Problem)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # these take seconds, which --help need not wait for
    from harness.search.standalone import Objective
    from harness.store import Store
    from harness.study import Study


def objective(
    study: "Study | str",
    rung: str | None = None,
    seeds: int = 1,
    share: float = 0.2,
    store: "Store | None" = None,
    device: str = "cpu",
    settings: Sequence[tuple[str, Any]] = (),
) -> "Objective":
    """A function of an Optuna trial, to maximize: the validation score, top-1 say, in percent; see `Objective`.

    study = optuna.create_study(direction="maximize")
    study.optimize(objective("digits", rung="cosine"), n_trials=20, catch=Problem)
    """
    from harness.search.search import make
    from harness.search.standalone import Objective
    from harness.store import Store
    from harness.study import load

    search = make(load(study) if isinstance(study, str) else study, rung, settings, seeds=seeds, share=share)
    return Objective(search, store or Store(), device)
