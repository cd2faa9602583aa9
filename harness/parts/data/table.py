"""Image files that a table names, with their classes and splits."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.folders import Files, Folder
from harness.parts.data.gathered import USUAL
from harness.parts.data.listing import Listing
from harness.parts.data.reading import brief, told
from harness.parts.data.splits import chosen, is_known, lacking
from harness.spec import Spec

Cells = list[tuple[int, Mapping[str, Any]]]  # of rows, by the names of the columns
Row = tuple[int, tuple[str, ...]]  # its number, the first after the titles being 2; path, class and split
DRAWN = 64  # rows of each split that are looked at again


class Table(Files):
    """The table `root`, CSV or parquet, has a row an image: its `path`, its class, `label`, and its `split`.

    Paths are absolute or below `below`; without it, below the folder of the table. `columns` names the three where they
    are called otherwise. `train` and `test` are the values of `split`; without, "train", and "val" or the like, see
    `splits.chosen`; rows of other splits are not read. Without that column a `split` of the part sets a test set apart.
    Classes are what training rows have, sorted, numbers by their value. Where the table and the images lie, what they
    are called and how rows are ordered is not in the id; with `limit`, the paths choose the slice. A CSV's columns are
    parted by commas, semicolons or tabs.

    Beyond `Files`, raises Problem on a table that cannot be read, a column or cells or files that are not there, a file
    that is no image, a split that nobody knows, a class that only test rows have, and an image that is in two splits or
    two classes.
    """

    place_fields: ClassVar[frozenset[str]] = Files.place_fields | {"below", "columns", "train", "test"}

    below: Folder | None = None
    columns: tuple[str, str, str] = ("path", "label", "split")
    train: str | None = None
    test: str | None = None

    def listing(self) -> Listing:
        where, folder = f"data.root={self.root}", self.below or self.root.parent
        rows, divided = _rows(self.root, self.columns)
        rows = [(n, (_below(folder, own[0]), *own[1:])) for n, own in rows]
        found = sorted({own[2] for _, own in rows}) if divided else []
        train, test, notes = chosen(found, self.train, self.test, f"column {self.columns[2]} of {self.root}")
        if divided and train is None:
            raise Problem(
                f"{where}: no row's {self.columns[2]} is train; there are: {', '.join(found)}: name data.train"
            )
        lacking(where, self.split, test, "no row is of the split val" if divided else f"no column {self.columns[2]}")
        if self.train is None and self.test is None:
            strange = {n: own[2] for n, own in rows if divided and not is_known(own[2])}
            if strange:
                raise Problem(
                    f"{where}: {_rows_told('a split that nobody knows', strange)}; correct it, or name data.train"
                )
        splits = {"train": train, "test": test} if test else {"train": train}
        own = {split: [row for row in rows if not divided or row[1][2] == name] for split, name in splits.items()}
        notes += _once(where, own)
        classes = _classes(where, own, self.columns[1])
        label = {name: place for place, name in enumerate(classes)}
        files = {split: sorted({(path, label[name]) for _, (path, name, _) in some}) for split, some in own.items()}
        _there(where, folder, {path: n for some in own.values() for n, (path, _, _) in some})
        return Listing(
            classes, folder, files, {split: USUAL[split] for split in files}, "content", [], notes, named=True
        )

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Rows drawn from the table, read by pandas, and their files by Pillow: each is served as its row's class."""
        import pandas as pd

        images, known = spec.data.load(), dict[str, set[str]]()
        classes = self.listing().classes
        for split in images.counts:
            for content, own in zip(images.content(split), images.labels(split).tolist(), strict=True):
                known.setdefault(content, set()).add(classes[own])
        if self.root.suffix == ".parquet":
            table = pd.read_parquet(self.root)
        else:
            table = pd.read_csv(self.root, sep=None, engine="python", dtype=str, keep_default_na=False)
        found, amiss = 0, 0
        for place in trace.rng("audit", "table").permutation(len(table))[:DRAWN].tolist():
            path, name = (table[column].iloc[place] for column in self.columns[:2])
            whole = isinstance(name, np.floating) and float(name).is_integer()
            path, name = str(path).strip(), str(int(name) if whole else name).strip()
            served = known.get(self.stored(Path(self.below or self.root.parent, path).read_bytes()))
            found += served is not None
            amiss += served is not None and name not in served
        yield Check(f"images of {DRAWN} rows drawn, served as another class", "0", f"{amiss} of {found}", amiss == 0)


def titles(path: Path) -> list[str]:
    """What the columns of a CSV or parquet are called. Raises Problem where it cannot be read."""
    try:
        return list(disk.arrow("parquet").read_schema(path).names) if path.suffix == ".parquet" else _csv(path)[0]
    except (OSError, ValueError, csv.Error) as error:
        raise _unread(path, error) from None


def _rows(path: Path, columns: Sequence[str]) -> tuple[list[Row], bool]:
    """The rows of a table, and whether it has the column of splits. Raises Problem where cells are empty."""
    try:
        names, cells = _parquet(path, columns) if path.suffix == ".parquet" else _csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise _unread(path, error) from None
    divided = columns[2] in names
    for name in columns[:2]:
        if name not in names:
            there = ", ".join(map(str, names)) or "none"
            raise Problem(
                f"data.root={path}: no column {name}; there are: {there}: rename it, or name it in data.columns"
            )
    wanted = columns if divided else columns[:2]
    rows = [(n, tuple(_text(row.get(name)) for name in wanted)) for n, row in cells]
    if not rows:
        raise Problem(f"data.root={path}: the table has no rows: a row an image is needed")
    for place, name in enumerate(wanted):
        empty = {n: own[0] for n, own in rows if not own[place]}
        if empty:
            raise Problem(f"data.root={path}: {_rows_told(f'no {name}', empty)}; fill it in, or take the rows out")
    return [(n, (*own, "")[:3]) for n, own in rows], divided


def _unread(path: Path, error: Exception) -> Problem:
    return Problem(f"data.root={path} cannot be read as a table ({brief(error)}): name a CSV or parquet file")


def _text(cell: Any) -> str:
    """A cell as text: "" of none or NaN; a whole number as one, which pandas may have made a float of."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    return str(int(cell) if isinstance(cell, float) and cell == int(cell) else cell).strip()


def _csv(path: Path) -> tuple[list[str], Cells]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        between = max(",;\t", key=first.count)
        reader = csv.DictReader(file, delimiter=between, skipinitialspace=True)
        cells: Cells = [(reader.line_num, row) for row in reader]
        return list(reader.fieldnames or ()), cells


def _parquet(path: Path, columns: Sequence[str]) -> tuple[list[str], Cells]:
    parquet = disk.arrow("parquet")
    names = parquet.read_schema(path).names
    table = parquet.read_table(path, columns=[name for name in columns if name in names])
    return names, list(enumerate(table.to_pylist(), 2))


def _rows_told(what: str, found: Mapping[int, str]) -> str:
    """Rows of a kind, counted, five of them by number and with what they have."""
    names = [f"{n} ({name})" if name else f"{n}" for n, name in found.items()]
    have = "row has" if len(names) == 1 else "rows have"
    return told(f"{len(names)} {have} {what}: row", names)[0].replace("row:", "row")


def _below(folder: Path, path: str) -> str:
    """One way to write a path: below the folder where it lies there, and absolute elsewhere."""
    whole, root = (os.path.abspath(each) for each in (os.path.join(folder, path), folder))
    return os.path.relpath(whole, root) if whole.startswith(os.path.join(root, "")) else whole


def _once(where: str, own: Mapping[str, Sequence[Row]]) -> list[str]:
    """A note on rows that are there twice. Raises Problem where one image is in two splits, or two classes."""
    said = dict[str, set[tuple[str, str]]]()
    for split, rows in own.items():
        for _, (path, name, _) in rows:
            said.setdefault(path, set()).add((split, name))
    torn = {path: own for path, own in said.items() if len(own) > 1}
    if torn:
        what = told(f"{len(torn)} images are in two splits, or two classes", sorted(torn))[0]
        raise Problem(f"{where}: {what}; leave one row of each")
    counts = Counter(path for rows in own.values() for _, (path, _, _) in rows)
    twice = [path for path, n in counts.items() if n > 1]
    return told(f"{len(twice)} images have more rows than one, and are taken once", twice)


def _classes(where: str, own: Mapping[str, Sequence[Row]], column: str) -> tuple[str, ...]:
    classes = {split: {name for _, (_, name, _) in rows} for split, rows in own.items()}
    strange = sorted(classes.get("test", set()) - classes["train"])
    if strange:
        what = told("classes that only test rows have", strange)[0]
        raise Problem(f"{where}: {what}: nobody can learn them; correct the {column}, or take more images")
    if len(classes["train"]) < 2:
        raise Problem(f"{where}: {len(classes['train'])} class in column {column}; at least two are needed")
    return in_order(classes["train"])


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Classes sorted by name, or, where all are whole numbers, by value."""
    every = set(names)
    return tuple(sorted(every, key=int) if all(name.isdecimal() for name in every) else sorted(every))


def _there(where: str, folder: Path, rows: Mapping[str, int]) -> None:
    missing = {n: path for path, n in rows.items() if not os.path.isfile(os.path.join(folder, path))}
    if missing:
        what = _rows_told("a file that is not there", missing)
        below = (
            ""
            if len(missing) < len(rows)
            else f"; none is: paths are looked for below {folder}, data.below names another"
        )
        raise Problem(f"{where}: {what}; put it there, or take the row out{below}")
