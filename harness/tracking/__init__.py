"""Trackers, as projections of the store: MLflow, TensorBoard, wandb. The only room that imports them.

What is sent comes from journals and results, and only what a tracker lacks: sending may be repeated, and several
processes may do it. A `Tracker` does it in threads of its own while runs train, which never wait for it. What a slow
or absent server misses is sent at the end of the invocation, or by `harness.sync`.
"""

from harness.tracking.database import (
    SPOILT,
    database,
    default_uri,
    open_experiment,
    ready,
    shown_uri,
    told,
    tracking_uri,
    ui_command,
)
from harness.tracking.mlflow import LIMIT, MAX_PARAM, MAX_TAG, MLflow
from harness.tracking.projection import Projection
from harness.tracking.sink import NO_METRIC, Event, Key, Sink, Told, one_at_a_time
from harness.tracking.tensorboard import TensorBoard
from harness.tracking.tracker import FLUSH, KINDS, Tracker, again
from harness.tracking.wandb import Wandb
