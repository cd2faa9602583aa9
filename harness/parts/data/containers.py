"""Images within other files: tars as WebDataset has them, parquet, and arrow as Hugging Face's `datasets` saves it."""

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import harness.parts.data.reading as disk
from harness import Problem
from harness.parts.data.reading import ENDINGS, brief

AT_ONCE = 64  # rows of a table that are in memory


class Item(NamedTuple):
    """An image as it is stored."""

    name: str  # of the image within its container
    image: bytes
    label: str
    split: str | None = None  # of a table with a column for it


Columns = tuple[str, str, str]  # of the image, its class and its split


def splits(path: Path, columns: Columns) -> set[str] | None:
    """What a table's column of splits has; None where it has no such column, and of tars. Raises Problem as `items`."""
    try:
        if path.suffix == ".parquet":
            parquet = disk.arrow("parquet")
            names = parquet.read_schema(path).names
            found = parquet.read_table(path, columns=[columns[2]])[0].unique() if columns[2] in names else None
            return None if found is None else {str(value.as_py()) for value in found if value.is_valid}
        if path.suffix == ".arrow":
            with _reader(path) as (schema, batches):
                if columns[2] not in schema.names:
                    return None
                return {str(value) for batch in batches for value in batch[columns[2]].to_pylist() if value is not None}
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be read ({brief(error)}): repair it or take it out") from None
    return None


def items(path: Path, columns: Columns) -> Iterator[Item]:
    """The images of a container. Raises Problem, naming it, where it is none or lacks an image, or a label."""
    try:
        yield from READERS[path.suffix](path, columns)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise Problem(f"{path} cannot be read ({brief(error)}): repair it or take it out") from None


def _tar(path: Path, columns: Columns) -> Iterator[Item]:
    """Of files with one name up to its first dot: the one with an image's ending, and `.cls`, or a `.json` with it."""
    key, parts = "", dict[str, bytes]()
    with tarfile.open(path, "r|") as tar:  # never unpacked by the names that it has
        for member in tar:
            if not member.isfile():
                continue
            folder, _, last = member.name.rpartition("/")
            stem, _, kind = last.partition(".")
            if stem == "" or last.startswith("."):
                continue  # what an archiver of a Mac leaves
            if (name := f"{folder}/{stem}".strip("/")) != key:
                if parts:
                    yield _sample(path, key, parts, columns)
                key, parts = name, {}
            file = tar.extractfile(member)
            parts[kind.lower()] = file.read() if file else b""
        if parts:
            yield _sample(path, key, parts, columns)


def _sample(path: Path, key: str, parts: dict[str, bytes], columns: Columns) -> Item:
    images = [kind for kind in parts if f".{kind.rpartition('.')[2]}" in ENDINGS]
    label = parts.get("cls", parts.get("cls.txt"))
    if label is None and "json" in parts:
        told = json.loads(parts["json"])
        own = told.get(columns[1]) if isinstance(told, dict) else None
        label = None if own is None else str(own).encode()
    if len(images) != 1 or label is None:
        raise Problem(
            f"{path}: {key} has {', '.join(f'.{kind}' for kind in parts)}; one image and its class are needed, "
            f"in .cls or as {columns[1]} in .json"
        )
    return Item(f"{key}.{images[0]}", parts[images[0]], label.decode(errors="backslashreplace").strip())


def _parquet(path: Path, columns: Columns) -> Iterator[Item]:
    parquet = disk.arrow("parquet")
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        own = _have(path, schema.names, columns)
        yield from _rows(path, schema, file.iter_batches(AT_ONCE, columns=own), columns)


def _stream(path: Path, columns: Columns) -> Iterator[Item]:
    with _reader(path) as (schema, batches):
        own = _have(path, schema.names, columns)
        small = (batch.slice(i, AT_ONCE) for batch in batches for i in range(0, batch.num_rows, AT_ONCE))
        yield from _rows(path, schema, (batch.select(own) for batch in small), columns)


@contextmanager
def _reader(path: Path) -> Iterator[tuple[Any, Iterable[Any]]]:
    """The schema and the batches of Arrow's stream format, as `save_to_disk` writes it, or of its file format."""
    arrow = disk.arrow("ipc")
    with path.open("rb") as file:
        whole = file.read(6) == b"ARROW1"
        file.seek(0)
        with (arrow.open_file if whole else arrow.open_stream)(file) as reader:
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if whole else reader
            yield reader.schema, batches


def _have(path: Path, names: list[str], columns: Columns) -> list[str]:
    """The columns that are there. Raises Problem where the image or its class is not."""
    for name in columns[:2]:
        if name not in names:
            there = ", ".join(names) or "none"
            raise Problem(f"{path}: no column {name}; there are: {there}: name the image and its class in data.columns")
    return [name for name in columns if name in names]


def _rows(path: Path, schema: Any, batches: Any, columns: Columns) -> Iterator[Item]:
    """Images are bytes, or `{"bytes": …, "path": …}` as `datasets` has them; a class is a number or text."""
    names, number = _names(schema, columns[1]), 0
    for batch in batches:
        for row in batch.to_pylist():
            image, label = row[columns[0]], row[columns[1]]
            if isinstance(image, dict):
                image = image.get("bytes") or _outside(image.get("path"))
            if not isinstance(image, bytes) or label is None:
                what = columns[1] if isinstance(image, bytes) else columns[0]
                raise Problem(f"{path}: row {number:,} has no {what}: fill it in, or take the row out")
            if (split := row.get(columns[2], "")) is None:
                raise Problem(f"{path}: row {number:,} has no {columns[2]}: fill it in, or take the row out")
            if names and isinstance(label, int) and not 0 <= label < len(names):
                raise Problem(
                    f"{path}: row {number:,} has the class {label}, of {len(names)}: correct it or take it out"
                )
            called = names[label] if names and isinstance(label, int) else str(label)
            yield Item(f"{number:08}", image, called, str(split) if columns[2] in row else None)
            number += 1


def _outside(path: Any) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _names(schema: Any, column: str) -> list[str] | None:
    """The classes' names that `datasets` leaves in a schema."""
    told = (schema.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(told)["info"]["features"][column]["names"] if told else None
    except (ValueError, KeyError, TypeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


READERS: dict[str, Callable[[Path, Columns], Iterator[Item]]] = {
    ".tar": _tar,
    ".parquet": _parquet,
    ".arrow": _stream,
}
