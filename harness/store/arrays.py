"""What a record keeps of single test images, read with numpy alone: labels, and logits in half precision."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 100_000_000  # bytes: a run keeps 64 MB of logits at most, and it may come from elsewhere


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Arrays by name as the bytes of a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def logits(data: bytes, images: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Labels N and logits N x K of a file's bytes. Raises ValueError where it does not hold those of N `images`."""
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            if sum(member.file_size for member in file.infolist()) > MOST:
                raise ValueError(f"more than {MOST / 1e6:.0f} MB")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {name: file[name] for name in ("labels", "logits")}
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from None
    labels, z = found["labels"], found["logits"]
    if labels.dtype.kind not in "iu" or z.dtype != np.float16 or labels.shape != (images,) or z.shape[:-1] != (images,):
        raise ValueError(f"labels {labels.dtype} {labels.shape}, logits {z.dtype} {z.shape}, of {images} images")
    if images and not 0 <= labels.min() <= labels.max() < z.shape[1]:
        raise ValueError(f"labels {labels.min()} to {labels.max()} of {z.shape[1]} classes")
    return labels.astype(np.int64), z
