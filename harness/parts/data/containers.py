"""Images within other files: tars as WebDataset has them, parquet, and arrow as Hugging Face's `datasets` saves it."""

import json
import tarfile
from collections.abc import Callable, Iterator
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


def items(path: Path, columns: tuple[str, str]) -> Iterator[Item]:
    """The images of a container. Raises Problem, naming it, where it is none or lacks an image, or a label."""
    try:
        yield from READERS[path.suffix](path, columns)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise Problem(f"{path} cannot be read ({brief(error)}): repair it or take it out") from None


def _tar(path: Path, columns: tuple[str, str]) -> Iterator[Item]:
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


def _sample(path: Path, key: str, parts: dict[str, bytes], columns: tuple[str, str]) -> Item:
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


def _parquet(path: Path, columns: tuple[str, str]) -> Iterator[Item]:
    parquet = disk.arrow("parquet")
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        _have(path, schema.names, columns)
        yield from _rows(path, schema, file.iter_batches(AT_ONCE, columns=list(columns)), columns)


def _stream(path: Path, columns: tuple[str, str]) -> Iterator[Item]:
    """Arrow's stream format, as `save_to_disk` writes it, or its file format."""
    arrow = disk.arrow("ipc")
    with path.open("rb") as file:
        whole = file.read(6) == b"ARROW1"
        file.seek(0)
        with (arrow.open_file if whole else arrow.open_stream)(file) as reader:
            _have(path, reader.schema.names, columns)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if whole else reader
            small = (batch.slice(i, AT_ONCE) for batch in batches for i in range(0, batch.num_rows, AT_ONCE))
            yield from _rows(path, reader.schema, (batch.select(list(columns)) for batch in small), columns)


def _have(path: Path, names: list[str], columns: tuple[str, str]) -> None:
    for name in columns:
        if name not in names:
            there = ", ".join(names) or "none"
            raise Problem(f"{path}: no column {name}; there are: {there}: name the image and its class in data.columns")


def _rows(path: Path, schema: Any, batches: Any, columns: tuple[str, str]) -> Iterator[Item]:
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
            if names and isinstance(label, int) and not 0 <= label < len(names):
                raise Problem(
                    f"{path}: row {number:,} has the class {label}, of {len(names)}: correct it or take it out"
                )
            yield Item(f"{number:08}", image, names[label] if names and isinstance(label, int) else str(label))
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


READERS: dict[str, Callable[[Path, tuple[str, str]], Iterator[Item]]] = {
    ".tar": _tar,
    ".parquet": _parquet,
    ".arrow": _stream,
}
