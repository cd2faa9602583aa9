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

ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".bin", ".ckpt")
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
    """Every file of weights in a folder and those below, by its name, in order, each for the network of `base`.

    A file that shares its name with another is called by its path below the folder. Raises Problem where there is none.
    """
    place = Path(folder).expanduser()
    if place.is_file():
        return {_called(place.name): of_file(base, place)}
    if not place.is_dir():
        raise Problem(f"{one_line(str(place), 200)}: no such file or folder of weights")
    found = sorted(path for path in place.rglob("*") if path.name.lower().endswith(ENDINGS) and path.is_file())
    if not found:
        kinds = ", ".join(ENDINGS)
        raise Problem(f"{one_line(str(place), 200)} has no weights: files that end in {kinds} are looked for")
    names = [_called(path.name) for path in found]
    below = [_called(str(path.relative_to(place))) for path in found]
    whole = names if len(set(names)) == len(names) else below if len(set(below)) == len(below) else None
    each = whole or [one_line(str(path.relative_to(place)), 200) for path in found]
    return {name: of_file(base, path) for name, path in zip(each, found, strict=True)}


def _called(name: str) -> str:
    """A file's name without its ending, fit to be shown."""
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return one_line(name[: len(name) - len(ending)].encode(errors="replace").decode(), 200)


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
            kind, colon, name = each.partition(":")
            if kind == "timm" and colon and not name:
                raise Problem(f"{one_line(each)}: name weights of timm's after it, timm:resnet50.a1_in1k say")
            if name.startswith("//"):
                raise Problem(f"{one_line(each)}: addresses are not fetched: give a file or a folder")
            own = of_timm(base, name) if kind == "timm" and colon else in_folder(base, each)
            if set(own) & set(weights):  # two files of one name, in different folders
                own = {
                    one_line(f"{each.rstrip('/')}/{key}" if Path(each).is_dir() else each, 200): own[key] for key in own
                }
            if twice := sorted(set(own) & set(weights)):
                raise Problem(f"{one_line(twice[0])} is there twice")
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
