"""A classifier as ONNX, and whether onnxruntime answers the test images as torch does."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness import Problem
from harness.outcomes.networks import CPU, Network

EXTRA = ("onnx", "onnxscript", "onnxruntime")
BATCH = 64


class FromPixels(nn.Module):
    """The network with its normalisation: pixels N x C x H x W in [0, 255] to logits N x classes."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.module
        for name, values in (("mean", network.mean), ("std", network.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        made: Tensor = self.network((pixels - self.mean) / self.std)
        return made


@dataclass(frozen=True)
class Made:
    """An ONNX file, and how it compares with torch."""

    data: bytes
    images: int
    difference: float  # the largest, of any logit
    top1: float  # percent, of the test images

    @property
    def told(self) -> str:
        return (
            f"onnxruntime answers all {self.images:,} test images as torch does in FP32, top-1 {self.top1:.2f}; "
            f"logits differ by {self.difference:.2g} at most"
        )


def checked(network: Network) -> tuple[Made | None, str]:
    """The network as ONNX, which answers every test image as torch does; or None, and why.

    Raises Problem where it cannot be written, or answers otherwise.
    """
    lacking = [name for name in EXTRA if not find_spec(name)]
    if lacking:
        return None, f"{', '.join(lacking)} not installed: pip install 'ablation-harness[onnx]'"
    data = written(network)
    ours, theirs, labels = both(network, data)
    differ = int((ours.argmax(1) != theirs.argmax(1)).sum())
    if differ:
        raise Problem(f"onnxruntime answers {differ} of {len(ours)} test images otherwise than torch: nothing written")
    top1 = 100 * float((theirs.argmax(1) == labels).mean())
    return Made(data, len(ours), float(np.abs(ours - theirs).max()), top1), ""


def written(network: Network) -> bytes:
    """The file's bytes: input `pixels`, output `logits`, any number of images."""
    channels, height, width = network.shape
    whole = FromPixels(network).eval()
    example = torch.zeros(2, channels, height, width)
    images = torch.export.Dim("images", min=1)
    loud = logging.getLogger("torch.onnx")
    before, loud.level = loud.level, logging.ERROR
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of torch's and onnxscript's own
            program = torch.onnx.export(
                whole,
                (example,),
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_shapes={"pixels": {0: images}},
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            with tempfile.TemporaryDirectory() as folder:
                program.save(path := Path(folder, "model.onnx"))
                return path.read_bytes()
    except Exception as error:
        raise Problem(f"torch cannot write this network as ONNX ({type(error).__name__}: {error})") from None
    finally:
        loud.level = before


def both(network: Network, data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of the test images by torch, on normalised images, and by onnxruntime, on their pixels; and their labels.

    All are in FP32; normalisation is not shared.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (network.mean, network.std))
    ours, theirs, labels = [], [], []
    for x, y in network.images.test(BATCH, CPU):
        with torch.no_grad():
            ours.append(network.module(x).numpy())
        theirs.append(session.run(["logits"], {"pixels": x.numpy() * std + mean})[0])
        labels.append(y.numpy())
    return np.concatenate(ours), np.concatenate(theirs), np.concatenate(labels)
