"""The same small photos in every layout that data may have: eight for training and four for test, of two classes."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Photo = tuple[str, str, bytes]  # split, class, file


def photo(number, shade=None, width=90, height=80, kind="PNG"):
    """A file of its own: noise of few pixels, grown."""
    rng = np.random.default_rng(number)
    low = rng.integers(0, 256, (4, 5, 3)) if shade is None else np.full((4, 5, 3), shade)
    buffer = io.BytesIO()
    Image.fromarray(low.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST).save(buffer, kind)
    return buffer.getvalue()


def photos(train=4, test=2) -> list[Photo]:
    """cat and dog, as often in each split; no two alike."""
    numbers = iter(range(1000))
    return [
        (split, name, photo(next(numbers)))
        for split, count in (("train", train), ("val", test))
        for name in ("cat", "dog")
        for _ in range(count)
    ]


def as_folder(root: Path, made, **called) -> Path:
    """root/train/CLASS/0.png and so on; `called` says other names of the splits."""
    for number, (split, name, data) in enumerate(made):
        place = root / called.get(split, split) / name
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(data)
    return root


def as_table(root: Path, made, absolute=False, name="photos.csv") -> Path:
    """A CSV, or a parquet, beside a folder of files whose names tell nothing."""
    (root / "files").mkdir(parents=True)
    rows = []
    for number, (split, label, data) in enumerate(made):
        path = root / "files" / f"{number * 7 % 1009}.png"
        path.write_bytes(data)
        rows.append({"path": str(path if absolute else path.relative_to(root)), "label": label, "split": split})
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), root / name)
    else:
        with (root / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "label", "split"])
            writer.writeheader()
            writer.writerows(rows)
    return root / name


def as_tars(root: Path, made) -> Path:
    """WebDataset: shards of three samples, a .png and a .cls each; val's label is in a .json."""
    root.mkdir(parents=True)
    for split in ("train", "val"):
        own = [(name, data) for one, name, data in made if one == split]
        for shard in range(0, len(own), 3):
            with tarfile.open(root / f"pets-{split}-{shard // 3:04}.tar", "w") as tar:
                for number, (name, data) in enumerate(own[shard : shard + 3]):
                    label = (
                        ("cls", name.encode()) if split == "train" else ("json", json.dumps({"label": name}).encode())
                    )
                    for kind, content in (("png", data), label):
                        member = tarfile.TarInfo(f"./{shard + number:06}.{kind}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
    return root


def features(names=("cat", "dog")):
    """What `datasets` leaves in a schema of images and classes."""
    told = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": told}})}


def arrow_table(made, names=("cat", "dog")):
    rows = [{"image": {"bytes": data, "path": None}, "label": names.index(name)} for _, name, data in made]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())], metadata=features(names))
    return pa.Table.from_pylist(rows, schema=schema)


def as_saved(root: Path, made) -> Path:
    """`DatasetDict.save_to_disk`: a folder a split, of arrow streams."""
    for split in ("train", "val"):
        own = [one for one in made if one[0] == split]
        folder = root / {"train": "train", "val": "validation"}[split]
        folder.mkdir(parents=True)
        half = len(own) // 2
        for place, some in enumerate((own[:half], own[half:])):
            table = arrow_table(some)
            path = str(folder / f"data-{place:05}-of-00002.arrow")
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=2)
        (folder / "state.json").write_text("{}")
        (folder / "dataset_info.json").write_text("{}")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    return root


def as_parquet(root: Path, made) -> Path:
    """A data set's files as Hugging Face's hub has them."""
    (root / "data").mkdir(parents=True)
    for split, called in (("train", "train"), ("val", "test")):
        own = [one for one in made if one[0] == split]
        pq.write_table(arrow_table(own), root / "data" / f"{called}-00000-of-00001.parquet")
    (root / "README.md").write_text("pets")
    return root
