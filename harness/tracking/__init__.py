"""MLflow, as a projection of the store: the only room that imports it.

Experiment = study, parent run = one invocation, child run = (specification, seed). What is sent comes from journals
and results, and only what MLflow lacks: sending may be repeated, and several processes may do it. A `Tracker` does it
in a thread of its own while runs train, which never wait for it. What a slow or absent server misses is sent at the end
of the invocation, or by `harness.sync`.
"""

from harness.tracking.database import (
    SPOILT,
    database,
    default_uri,
    one_at_a_time,
    open_experiment,
    ready,
    shown_uri,
    told,
    tracking_uri,
    ui_command,
)
from harness.tracking.projection import LIMIT, MAX_PARAM, MAX_TAG, NO_METRIC, Event, Key, Projection
from harness.tracking.tracker import FLUSH, Tracker
