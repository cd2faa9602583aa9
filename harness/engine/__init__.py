"""Where runs execute: what goes next, one process's life, and who starts the processes."""

from harness.engine.engine import Engine
from harness.engine.local import decoders, places
from harness.engine.ranks import widest
from harness.engine.scheduler import RETRIES, RETRY, Event, Key, Source, key
from harness.engine.signals import ECHO, STOPS, asked_to_stop
from harness.engine.worker import Interrupted, Say, execute, settle, why

__all__ = [
    "ECHO",
    "RETRIES",
    "RETRY",
    "STOPS",
    "Engine",
    "Event",
    "Interrupted",
    "Key",
    "Say",
    "Source",
    "asked_to_stop",
    "decoders",
    "execute",
    "key",
    "places",
    "settle",
    "why",
]
