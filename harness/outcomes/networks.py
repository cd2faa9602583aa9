"""A trained network, made again from a run's record: whatever modules its parts come from."""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import harness.parts
import harness.parts.data.tensors as tensors
import harness.tasks
import harness.tricks
from harness import Problem, one_line
from harness.parts.data import Cached, Files, Images, Photos, centred
from harness.parts.data.memory import scaled
from harness.parts.data.photos import centre, cut_out, toned
from harness.parts.data.reading import opened, rgb
from harness.spec import Spec, parse, sources
from harness.store import Record, Store
from harness.study import files

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Network:
    """A trained network, on the CPU and ready to answer."""

    spec: Spec
    seed: int
    record: Record  # what the run came to
    module: nn.Module  # from normalised images N x channels x H x W to logits N x classes
    images: Images  # the data as it is tested

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self.images.classes

    @property
    def mean(self) -> tuple[float, ...]:
        """What is taken from pixels in [0, 255], a number a channel, before they are divided by `std`."""
        return self.images.mean

    @property
    def std(self) -> tuple[float, ...]:
        """What pixels are divided by, a number a channel, after `mean` is taken from them."""
        return self.images.std

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width, in px, of a test image as the network gets it."""
        return self.images.channels, self.images.tested, self.images.tested

    def logits(self, x: Tensor) -> Tensor:
        """The answers to normalised images, N x C x H x W, by precision and views that the run was tested with."""

        def net(x: Tensor) -> Tensor:
            z: Tensor = self.module(x.contiguous(memory_format=torch.channels_last)).float()
            return z

        with torch.no_grad(), self.spec.precision.on(CPU).forward():
            return self.images.answered(net, x)

    def predict(self, image: str | os.PathLike[str] | Image.Image | np.ndarray) -> dict[str, float]:
        """The classes of one image with their probabilities, the likeliest first.

        `image`: a file, one of Pillow's, or an array of uint8, H x W or H x W x channels in [0, 255]. It is cut and
        scaled as the run's test images are. Raises Problem on what is no such image, and on detectors and segmenters.
        """
        _of_classes(self.spec)
        sure = self.logits(self.prepared(image)).softmax(1)[0].double()
        order = sure.argsort(descending=True, stable=True).tolist()
        return {self.classes[i]: float(sure[i]) for i in order}

    def prepared(self, image: str | os.PathLike[str] | Image.Image | np.ndarray) -> Tensor:
        """One image as the network gets it: cut, scaled and normalised, 1 x C x H x W."""
        whole, view = _image(image), self.images
        colours = rgb(whole)
        whole = colours.convert("L") if view.channels == 1 else colours
        data, size = self.spec.data.source, view.size
        squashed = getattr(data, "fit", None) == "squash" or not isinstance(data, Files)
        if isinstance(view, Photos) and view.decoder:
            pixels = (
                tensors.cut_out(colours, size, None, None) if squashed else tensors.centred(colours, size, view.crop)
            )
            cut = Image.fromarray(toned(pixels, view.channels).squeeze())
        elif isinstance(view, Photos):
            cut = cut_out(whole, size, None, None) if squashed else centred(whole, size, view.crop)
        else:
            cut = whole.resize((size, size), Image.Resampling.BILINEAR) if squashed else centre(whole, size, size)
        x = torch.from_numpy(np.array(cut, np.float32).reshape(1, size, size, view.channels).transpose(0, 3, 1, 2))
        x = scaled(x, view.shown) if isinstance(view, Cached) and view.shown else x
        return view.normalised(x.contiguous())


def revived(store: Store, spec_id: str, seed: int) -> Network:
    """The network of a finished run. Raises Problem, see `Results.network`."""
    if (spec_id, seed) not in store:
        there = ", ".join(str(own) for other, own in store if other == spec_id and (other, own) in store)
        raise Problem(f"{spec_id}, seed {seed}: no finished run; finished seeds: {there or 'none'}")
    record = store.read(spec_id, seed)
    if record["status"] != "finished":
        raise Problem(f"{spec_id}, seed {seed}, {record['status']}: its weights are no answer to anything")
    if kinds := sources.changed(record):
        raise Problem(f"{spec_id}, seed {seed}, was trained before the source of {', '.join(kinds)} changed")
    spec = specification(store, spec_id, seed)
    images = spec.data.load()
    module = trained(spec, seed, store, images)
    return Network(spec, seed, record, module.eval(), spec.evaluation.view(images) if spec.evaluation else images)


def trained(spec: Spec, seed: int, store: Store, images: Any) -> nn.Module:
    """The network of `spec` with the weights that the run left. Raises Problem where they are damaged."""
    module = spec.model.build(images.channels, len(images.classes))
    module.load_state_dict(store.weights(spec.id, seed))
    return module


def specification(store: Store, spec_id: str, seed: int) -> Spec:
    """The specification of a run, made of parts again from what the store has of it."""
    form = store.forms(spec_id, seed)["spec"]
    for package in (harness.parts, harness.tricks, harness.tasks):  # all of ours are known once they are imported
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError, Problem):  # of an extra that is not installed, which this run may not need
                import_module(module.name)
    for kind in sorted({kind for kind in _kinds(form) if "." in kind}):
        _imported(kind)
    spec: Spec = parse(form)
    if spec.id != spec_id:
        raise Problem(
            f"{spec_id} is {spec.id} here: its data, or a file that it reads, is not what it was trained on, or the "
            "harness is another"
        )
    return spec


def _kinds(form: Any) -> Iterator[str]:
    """The kind of every part within a plain form."""
    for value in form.values() if isinstance(form, dict) else form if isinstance(form, list) else ():
        yield from _kinds(value)
    if isinstance(form, dict) and isinstance(form.get("kind"), str):
        yield form["kind"]


def _imported(kind: str) -> None:
    """Import the module of a part that is a user's own, of which the kind is module and class.

    A record may come from elsewhere: a module is imported only where its file has such a class.
    """
    for root in map(str, (Path.cwd(), *(folder.parent for folder in files.folders()))):
        if root not in sys.path:
            sys.path.append(root)
    module, _, name = kind.rpartition(".")
    found = sources.files({kind: ""})
    if not found or not re.search(rf"\bclass {re.escape(name)}\b", found[0].read_text(errors="replace")):
        raise Problem(f"{one_line(kind)}, a part of this run, is not found: run this in the folder of its study")
    try:
        import_module(module)
    except Exception as error:
        raise Problem(f"{found[0]}, of a part of this run, cannot be imported: {one_line(str(error), 300)}") from None


def _of_classes(spec: Spec) -> None:
    if spec.data.truth != "class":
        raise Problem(f"this network answers with {spec.data.truth}, not with a class an image")


def _image(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, str | os.PathLike):
        return opened(Path(image))
    array = np.asarray(image)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise Problem(
            f"an array of {array.dtype}, {' x '.join(map(str, array.shape))}, is no image: uint8 in [0, 255] is "
            "needed, height x width, or height x width x 1 or 3"
        )
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
