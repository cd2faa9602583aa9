"""Run records on disk: `runs/store/<spec id>/<seed>/`, the truth that tables and MLflow are made from.

A folder holds `spec.json`, `journal.jsonl` (one line an event, as it happens), `weights.pt` and, written last and
whole, `result.json`: a run is finished when that file is there. One that its evidence refused has `refused.json`.
"""

import fcntl
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Problem
from harness.paths import runs, write_atomic

FORMAT = 1
Record = dict[str, Any]


class Store:
    def __init__(self, root: Path | None = None) -> None:
        self.root = root or runs() / "store"

    def folder(self, spec_id: str, seed: int) -> Path:
        return self.root / spec_id / str(seed)

    def __contains__(self, run: tuple[str, int]) -> bool:
        return os.path.exists(f"{self.root}/{run[0]}/{run[1]}/result.json")  # a plan asks this of thousands

    def refused(self, spec_id: str, seed: int) -> Record | None:
        """The record of a run that its evidence refused; None where there is none."""
        exists = os.path.exists(f"{self.root}/{spec_id}/{seed}/refused.json")
        return self.read(spec_id, seed, "refused.json") if exists else None

    def read(self, spec_id: str, seed: int, name: str = "result.json") -> Record:
        """The record of a finished run. Raises Problem where it is of a newer format or unreadable."""
        path = self.folder(spec_id, seed) / name
        try:
            record: Record = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise Problem(f"{path} cannot be read ({error}): move it aside and the run is trained again") from None
        if record["format"] > FORMAT:
            raise Problem(f"{path} is of format {record['format']}, newer than {FORMAT}: read it with a newer harness")
        return record

    def write(self, spec_id: str, seed: int, spec: Any, result: Record, weights: dict[str, Any]) -> None:
        """Make a run finished. `spec` is the plain form of its specification, `weights` a state dict."""
        import torch

        folder = self.folder(spec_id, seed)
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        write_atomic(folder / "weights.pt", buffer.getvalue())
        write_atomic(folder / "spec.json", json.dumps(spec, indent=1).encode())
        head = {"format": FORMAT, "spec_id": spec_id, "seed": seed, "finished": time.time()}
        refused = result["status"] == "refused"  # evidence kept, and no result: it is trained again when asked for
        write_atomic(folder / ("refused.json" if refused else "result.json"), json.dumps(head | result).encode())

    def weights(self, spec_id: str, seed: int) -> dict[str, Any]:
        """The trained weights of a finished run, on the CPU."""
        import torch

        path = self.folder(spec_id, seed) / "weights.pt"
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return weights

    @contextmanager
    def claim(self, spec_id: str, seed: int) -> Iterator[None]:
        """Hold a run while training it; waits for another process that does. The claim dies with its owner."""
        folder = self.folder(spec_id, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def journal(self, spec_id: str, seed: int) -> Iterator[Any]:
        """A function that adds one event to the run's journal, begun anew."""
        with (self.folder(spec_id, seed) / "journal.jsonl").open("w") as file:

            def add(event: dict[str, Any]) -> None:
                file.write(json.dumps(event) + "\n")
                file.flush()

            yield add
