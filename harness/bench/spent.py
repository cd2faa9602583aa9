"""Where a worker's time goes: its stack is looked at a hundred times a second.

Each look adds the time since the last one to a *phase*, that of the innermost function which `RULES` know. So phases
add up to the whole, and the loop holds no clocks. On CUDA a function only asks for work, and the time is where it is
waited for; `CUDA_LAUNCH_BLOCKING=1` in the environment puts it where it belongs, and makes the whole slower.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from harness.engine.worker import work

EVERY = 0.01  # seconds from one look to the next
START, END, OTHER = "start", "end", "the rest"
RULES = {  # of a function in a file, or of all in a file or folder; an inner function goes before an outer one
    ("engine/worker.py", "work"): "idle",
    ("engine/worker.py", "execute"): "load",
    ("train.py", "train"): "load",
    ("train.py", "begin"): "build",
    ("train.py", "train_epoch"): "loop",
    ("train.py", "gradient"): "forward",
    ("parts/precision.py", "backward"): "backward",
    ("tricks/fp16.py", "backward"): "backward",
    ("tricks/tf32.py", "backward"): "backward",
    ("parts/precision.py", "step"): "step",
    ("tricks/fp16.py", "step"): "step",
    ("parts/grouping.py", "set_rate"): "step",
    ("parts/averaging.py", ""): "step",
    ("parts/clipping.py", ""): "step",
    ("ranks.py", "reduce"): "ranks",
    ("ranks.py", "in_turn"): "evaluation",
    ("parts/data", "load"): "load",
    ("parts/data", "train"): "draw",
    ("parts/data", "on"): "copy",
    ("parts/draws.py", "copied"): "copy",
    ("parts/draws.py", ""): "draw",
    ("rng.py", ""): "draw",
    ("train.py", "renew"): "evaluation",
    ("train.py", "test"): "evaluation",
    ("train.py", "evaluate"): "evaluation",
    ("train.py", "result"): "record",
    ("evidence", ""): "evidence",
    ("engine/worker.py", "keep"): "checkpoint",
    ("engine/worker.py", "due"): "checkpoint",
    ("engine/worker.py", "report"): "journal",
    ("store", "finish"): "record",
}
PHASES = (START, *dict.fromkeys(RULES.values()), OTHER, END)
HOME = str(Path(__file__).parents[1]) + "/"
IMPORTING = "<frozen importlib._bootstrap>"


def phase(frame: FrameType | None) -> str:
    """The phase that a stack is in, given its innermost frame."""
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file == IMPORTING:
            return START
        if file.startswith(HOME):
            room = file.removeprefix(HOME)
            found = RULES.get((room, name)) or RULES.get((room, ""))
            for folder in (p.as_posix() for p in Path(room).parents):
                found = found or RULES.get((folder, name)) or RULES.get((folder, ""))
            if found:
                return found
        frame = frame.f_back
    return OTHER


@contextmanager
def watched(every: float = EVERY, look: Callable[[FrameType | None], str] = phase) -> Iterator[dict[str, float]]:
    """Seconds by phase of the thread that enters it; they are whole when it is left."""
    spent: dict[str, float] = defaultdict(float)
    whose, over = threading.get_ident(), threading.Event()
    last = time.monotonic()

    def add(what: str) -> None:
        nonlocal last
        now = time.monotonic()
        spent[what] += now - last
        last = now

    def watch() -> None:
        while not over.wait(every):
            add(look(sys._current_frames().get(whose)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield spent
    finally:
        over.set()
        thread.join()
        add(OTHER)


def watched_worker(folder: str, connection: Any, *told: Any) -> None:
    """A worker's life, and in `folder` a file of where its time went: seconds by phase, when it began and ended."""
    began = time.monotonic()
    with watched() as spent:
        work(connection, *told)
    kept = {"began": began, "ended": time.monotonic(), "spent": spent}
    Path(folder, f"{threading.get_native_id()}.json").write_text(json.dumps(kept))


def gathered(folder: Path, began: float, ended: float) -> dict[str, float]:
    """Mean seconds a worker by phase, in order of `PHASES`, of those that ran between two times of `time.monotonic`.

    Before a worker lives, it starts; after it, the parent ends: MLflow is sent what is left.
    """
    files = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    total: dict[str, float] = defaultdict(float)
    for file in files:
        for name, seconds in file["spent"].items():
            total[name] += seconds
        total[START] += file["began"] - began
        total[END] += ended - file["ended"]
    return {name: total[name] / len(files) for name in PHASES if total[name]}
