"""Weights that others trained, each as a specification of what is asked: a network, a file, a test set.

    BASELINE = photos.BASELINE.but(data=ImageFolder(root="data/imagenet", train="val", test="val"))
    WEIGHTS = of_timm(BASELINE, "resnet50.tv_in1k", "resnet50.a1_in1k") | in_folder(BASELINE, "checkpoints")

A study's file that has `WEIGHTS` can be asked by `python -m harness.weights`. A test set alone is named as both
folders: nothing is trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from harness import Problem, one_line
from harness.parts.init import Xavier
from harness.parts.models.timm import Timm
from harness.parts.pretrained import Pretrained, timm_file
from harness.spec import File, Spec, resolved
from harness.study.files import find, imported

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
ASKED = ("data", "model", "init", "precision", "task", "evaluation")  # slots that decide what a network answers
Weights = Mapping[str, Spec]


def of_timm(base: Spec, *names: str) -> dict[str, Spec]:
    """timm's own weights by their names there, "resnet50.a1_in1k", on the data of `base`, of photos.

    Images have the size, the mean and the s.d. that timm tests these weights with. How they are cut and resized stays
    the harness's: timm's crop may be another. Raises Problem where timm's cache has no such file.
    """
    import timm

    made = {}
    for name in names:
        file, cfg = timm_file(name), timm.get_pretrained_cfg(name)
        told = cfg.to_dict() if cfg else {}
        size = (told.get("test_input_size") or told["input_size"])[1]
        data = base.data.but(size=size, mean=tuple(told["mean"]), std=tuple(told["std"]))
        model = Timm(name=told["architecture"])
        made[name] = of_file(base.but(data=data, model=model, evaluation=None), file.path)
    return made


def in_folder(base: Spec, folder: str | Path) -> dict[str, Spec]:
    """Every file of weights in a folder, by its name, in order, each for the network of `base`, on its data.

    Raises Problem where there is none.
    """
    place = Path(folder).expanduser()
    if place.is_file():
        return {place.stem: of_file(base, place)}
    if not place.is_dir():
        raise Problem(f"{one_line(str(place), 200)}: no such file or folder of weights")
    found = sorted(path for path in place.iterdir() if path.suffix in ENDINGS and not path.name.startswith("."))
    if not found:
        raise Problem(
            f"{one_line(str(place), 200)} has no weights: files that end in {', '.join(ENDINGS)} are looked for"
        )
    stems = [path.stem for path in found]
    return {path.stem if stems.count(path.stem) == 1 else path.name: of_file(base, path) for path in found}


def of_file(base: Spec, path: Path) -> Spec:
    """`base` with all weights of a file, its last layer too."""
    return base.but(init=(Xavier(), Pretrained(file=File(path=path), head="keep")))


def load(address: str, paths: tuple[str, ...] = ()) -> Weights:
    """The weights of a study's file, see `find`: its `WEIGHTS`, or those at `paths`, for its `BASELINE`.

    A path is a file, a folder of files, or timm:NAME. Raises Problem where there are none, or the file is no such.
    """
    path = find(address)
    module = imported(path)
    base, weights = getattr(module, "BASELINE", None), getattr(module, "WEIGHTS", None)
    if paths:
        if not isinstance(base, Spec):
            raise Problem(f"{path}: BASELINE must be a Spec: its network and its data are asked for")
        weights = {}
        for each in paths:
            kind, _, name = each.partition(":")
            own = of_timm(base, name) if kind == "timm" and name else in_folder(base, each)
            if twice := sorted(set(own) & set(weights)):
                raise Problem(f"{one_line(twice[0])} is there twice: give files of different names")
            weights |= own
    if weights is None:
        raise Problem(f"{path} has no WEIGHTS: name files, folders or timm:NAME after it, or see experiments/README.md")
    if not isinstance(weights, Mapping) or not weights or not all(map(_told, weights.items())):
        raise Problem(f"{path}: WEIGHTS must be a dict of names and Specs that begin with Pretrained(head='keep')")
    return dict(weights)


def _told(item: tuple[object, object]) -> bool:
    name, spec = item
    return isinstance(name, str) and bool(name) and isinstance(spec, Spec) and pretrained(spec) is not None


def pretrained(spec: Spec) -> Pretrained | None:
    """The part that loads every weight of a specification's network; None where it has none."""
    own = [part for part in spec.init if isinstance(part, Pretrained)]
    return own[-1] if own and own[-1] is spec.init[-1] and own[-1].strict and own[-1].head == "keep" else None


def asked(spec: Spec) -> str:
    """16 hexadecimal digits of what is asked: network, weights, test set, precision. How it would train is not."""
    form = resolved(spec)
    text = json.dumps({slot: form[slot] for slot in ASKED if slot in form}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
