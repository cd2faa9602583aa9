"""A report for programs: `table.json`, and the runs behind its numbers as `runs.csv` and `runs.parquet`."""

import io
import json
import math
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from harness import one_line
from harness.cli import jsonable
from harness.paths import runs, write_atomic
from harness.report.frames import MARKS, Plan, headline, measure
from harness.report.tables import comma_separated
from harness.report.words import SECOND

FORMAT = 1  # of table.json
LINES = 2000  # runs
RUN = ("seed", "status", "spec_id", "mlflow_run_id", "commit", "folder")  # what table.json tells of a run, with metrics


def behind(plan: Plan, every: pd.DataFrame) -> pd.DataFrame:
    """The runs of a report, one a row: rung, seed, status, every metric, epochs, seconds, and where each is found.

    Metrics are as in records: scores in percent, losses as they are; `seconds` are of the whole run. `spec_id` and
    `folder`, below the folder of runs, name the record; `mlflow_run_id` is empty where the database here does not know
    the run; `commit` is the harness's. `place` is that of the rung in the plan. Refused runs are in, by their status.
    """
    ids = [plan["rungs"][place]["id"] for place in every["place"]]
    known = mlflow_runs()
    made = every[["place", "rung", "seed", "status", *metrics(every)]].copy()
    made["epochs"] = [len(epochs) for epochs in every["epochs"]]
    made["seconds"] = every["seconds"]
    made["spec_id"] = ids
    made["mlflow_run_id"] = [known.get(record, "") for record in every["record"]]
    made["commit"] = [one_line(str(own["commit"])) for own in every["environment"]]
    made["folder"] = [f"store/{spec_id}/{seed}" for spec_id, seed in zip(ids, every["seed"], strict=True)]
    return made.reset_index(drop=True)


def metrics(every: pd.DataFrame) -> list[str]:
    """The names of all metrics that these runs have."""
    return list(dict.fromkeys(name for own in every["metrics"] for name in own))


def mlflow_runs() -> dict[str, str]:
    """MLflow's run id by record, as its database here has them; nothing where it is a server's, which is not asked."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs() / 'mlflow.db'}"
    path = uri.removeprefix("sqlite:///")
    asked = "select value, run_uuid from tags join runs using (run_uuid) where key = 'record' and lifecycle_stage = ?"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as database:
        return dict(database.execute(asked, ("active",)).fetchall())
    return {}


def table(
    plan: Plan, every: pd.DataFrame, rungs: pd.DataFrame, effects: pd.DataFrame | None, notes: list[str]
) -> dict[str, Any]:
    """What `table.json` holds: numbers unrounded, null where a number is none.

    `format`: raised when a key changes its meaning or goes; new keys may come. `study`, `label` (of this report),
    `design`, `settings` (what differs from the study as written), `command` (the words after `harness.ablate`), `score`
    (the metric that rungs are compared by: top1, mAP or mIoU, or that of `--metric`), its `unit`, which values are
    `better`, "higher" or "lower", and `notes`. `rungs` has one object a rung; scores and gains are in that unit:

    - `place`, `name`, `title`, `id` (of its specification), `n` (runs), `marks` (names of what a reader should doubt);
    - `score` and `second`: `metric`, `mean`, `sd`, percent over its n runs; `second` may be null;
    - `gain`: null, or `over` (the rung that it is held against), `value`, `low`, `high` in points, `pairs`, `p`,
      `adjusted` (Holm's, over `share`), `rho`, `mde`, `test` (moderated or t), `why` (it is not the one asked for),
      `df` (its degrees of freedom), `d0` (lower bound), `d0_estimate` (Smyth's), and `plain`: null, or what the plain
      t-test says: `low`, `high`, `p`, `adjusted`, `mde`, `verdict`; `total`: null, or `value`, `low`, `high` over the
      baseline; `verdict`;
    - `params`, `gmacs` (10^9 multiply-adds of one image's forward), `seconds_per_epoch`;
    - `runs`: of each `seed`, `status`, `spec_id`, `mlflow_run_id`, `commit`, `folder` and `metrics`, as `behind` says.

    `effects`: null, or of Shapley values and factorial effects `name`, `value`, `low`, `high`, `order_se`, `p`,
    `adjusted`, `verdict`, `aliases`, `main`, `n`.
    """
    own, names = behind(plan, every), metrics(every)
    rows = []
    for row in rungs.to_dict("records"):
        of = own[own["place"] == row["place"]].to_dict("records")
        runs_of = [{name: run[name] for name in RUN} | {"metrics": {name: run[name] for name in names}} for run in of]
        rows.append(_rung(plan, row) | {"runs": runs_of})
    told = {
        "format": FORMAT,
        **{name: plan[name] for name in ("study", "label", "design", "settings", "command")},
        "score": headline(rungs),
        "unit": measure(rungs).unit,
        "better": "lower" if measure(rungs).lower else "higher",
        "rungs": rows,
        "effects": None if effects is None else effects.to_dict("records"),
        "notes": notes,
    }
    whole: dict[str, Any] = jsonable(told)
    return whole


def _rung(plan: Plan, row: dict[Any, Any]) -> dict[str, Any]:
    rung, score = plan["rungs"][row["place"]], row["score"]
    second = SECOND.get(score, "top1")
    over = next((one_line(plan["rungs"][i]["name"]) for i in rung["gain"] or () if i != row["place"]), None)
    gain = {"over": over, "value": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
    gain |= {"pairs": row["gain_pairs"]} | {name: row[name] for name in ("p", "adjusted", "rho", "mde")}
    gain |= {name: row[name] for name in ("test", "why", "df", "d0", "d0_estimate", "share")}
    plain = {name: row[f"plain_{name}"] for name in ("low", "high", "p", "adjusted", "mde", "verdict")}
    gain["plain"] = plain if row["plain_verdict"] else None
    total = {"value": row["total"], "low": row["total_low"], "high": row["total_high"]}
    spread = {
        name: {"metric": name, "mean": row.get(f"{name}_mean"), "sd": row.get(f"{name}_sd")} for name in (score, second)
    }
    return {
        **{"place": row["place"], "name": row["rung"], "title": row["title"], "id": rung["id"], "n": row["n"]},
        "marks": [name for name in MARKS if row[name]],
        "score": spread[score],
        "second": spread[second] if f"{second}_mean" in row else None,
        "gain": None if math.isnan(row["gain"]) else gain,
        "total": None if math.isnan(row["total"]) else total,
        **{name: row[name] for name in ("verdict", "params", "gmacs", "seconds_per_epoch")},
    }


def write(folder: Path, told: dict[str, Any], own: pd.DataFrame) -> None:
    """Write table.json and runs.{csv,parquet}, of what `table` and `behind` give.

    The JSON of many runs is one line: to set each value on its own takes ten times as long.
    """
    indent = 1 if len(own) <= LINES else None
    columns, parquet = own.drop(columns="place"), io.BytesIO()
    columns.to_parquet(parquet, index=False)
    write_atomic(folder / "table.json", (json.dumps(told, indent=indent, ensure_ascii=False) + "\n").encode())
    write_atomic(folder / "runs.csv", comma_separated(columns).encode())
    write_atomic(folder / "runs.parquet", parquet.getvalue())
