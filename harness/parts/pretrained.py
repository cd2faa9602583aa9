"""Initial weights from a file: safetensors, or a state dict; timm's own where its cache has them."""

import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness import Problem, one_line
from harness.evidence import Check, Trace
from harness.parts.models.base import HEADS
from harness.rng import Stream
from harness.spec import File, Init, Spec

SHOWN = 3  # names of tensors that are listed


class Pretrained(Init):
    """Weights and running statistics of a file, over those that were drawn before it. Slot: `init`, after Xavier.

    `file` is safetensors, by its name, or what `torch.save` made of a state dict, as the `weights.pt` of a run is; that
    is read with `weights_only`: no code in it runs. Its content is in the id. Tensors are matched by name; a leading
    "module." is left out, and a dict within, "state_dict" or "model", is taken for the whole. `head` says what becomes
    of the last linear layer (fc, classifier, head): "new" leaves it as it was drawn, for other classes; "keep" takes
    it too. `strict` refuses a file that lacks a tensor of the network, or has it in another shape, or has one that has
    no place; without it those are left out, and the evidence names them. Integers, such as a batch norm's count of
    batches, are not loaded: nothing here goes by them. What images the file's network learned is not known here.
    """

    loads: ClassVar[bool] = True
    file: File
    strict: bool = True
    head: Literal["new", "keep"] = "new"

    def check(self, spec: Spec) -> None:
        if hasattr(spec.model, "backbone"):
            raise ValueError("init=Pretrained is of classifiers: a detector's backbone is a run, and that may begin so")
        if all(isinstance(part, Pretrained) for part in spec.init[: spec.init.index(self) + 1]):
            raise ValueError("init=Pretrained comes after a part that draws every weight, such as Xavier")
        with torch.device("meta"):
            net = spec.model.build(spec.data.channels, len(spec.data.load().classes))
        taken, lacking, left = self.matched(net.state_dict())
        if not taken:
            raise ValueError(f"{self.file.path} has no tensor of this network: it has {_listed(left)}")
        if self.strict and (lacking or left):
            raise ValueError(
                f"{self.file.path} does not fit: it lacks {len(lacking)} tensors of the network ({_listed(lacking)}), "
                f"and {len(left)} of its own have no place ({_listed(left)}); strict=false leaves them out"
            )

    def matched(self, places: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
        """(The file's tensors by the names of `places`, places that it lacks, names of it that have no place)."""
        state = _opened(self.file, self.file.identity()["sha256"])
        due = {name: t.shape for name, t in places.items() if t.is_floating_point() and not self._spared(name)}
        there = {name: t for name, t in state.items() if t.is_floating_point() and not self._spared(name)}
        taken = {name: t for name, t in there.items() if due.get(name) == t.shape}
        return taken, sorted(due.keys() - taken.keys()), sorted(there.keys() - taken.keys())

    def _spared(self, name: str) -> bool:
        return self.head == "new" and name.startswith(HEADS)

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        live = model.state_dict()  # the tensors themselves
        for name, tensor in self.matched(live)[0].items():
            live[name].copy_(tensor)

    def reference(self, shapes: dict[str, Any], model: nn.Module, rng: Stream) -> dict[str, np.ndarray]:
        """What the file has by the name and the shape of each tensor, safetensors read by their format alone."""
        path, found = self.file.path.expanduser(), {}
        for name, values in (_by_hand(path) if path.name.endswith(".safetensors") else _by_torch(path)).items():
            own = name[7:] if name[:7] == "module." else name
            own = own[10:] if own[:10] == "_orig_mod." else own  # of torch.compile
            last = own.partition(".")[0] in ("fc", "classifier", "head") and self.head == "new"
            if own in shapes and tuple(shapes[own]) == values.shape and values.dtype.kind == "f" and not last:
                found[own] = values.astype(np.float64)
        return found

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        taken, lacking, left = self.matched(trace.model.state_dict())
        due, there, _ = trace.taken
        what = "tensors that the network began with, to the bit, of those that the file has for it"
        yield Check(what, f"{len(taken)}", f"{there} of {due}", 0 < there == due <= len(taken))
        for what, names in (
            ("tensors of the network that the file lacks", lacking),
            ("tensors of the file that have no place", left),
        ):
            seen = f"{len(names)}: {_listed(names)}" if names else "0"
            yield Check(what, "0" if self.strict else "any", seen, not (self.strict and names))


def timm_file(name: str) -> File:
    """The file of timm's own weights of a network, "resnet18.a1_in1k" say, where its cache has it: nothing is fetched.

    Raises Problem where it is not there.
    """
    import timm
    from huggingface_hub import try_to_load_from_cache

    told = timm.get_pretrained_cfg(name)
    if told is None:
        raise Problem(f"timm {timm.__version__} has no weights of {one_line(name)}: timm.list_pretrained() lists them")
    held = told.to_dict()
    for file in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(held["hf_hub_id"], file) if held.get("hf_hub_id") else None
        if isinstance(found, str):
            return File(path=Path(found))
    if held.get("url") and (found := Path(torch.hub.get_dir(), "checkpoints", Path(held["url"]).name)).is_file():
        return File(path=found)
    once = f"timm.create_model({name!r}, pretrained=True)"
    raise Problem(f"timm's cache has no weights of {name}: {once} fetches them, once, where there is a network")


@lru_cache(maxsize=4)
def _opened(file: File, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file of this content, by name. Raises Problem where it holds none."""
    data = file.read()
    try:
        if file.path.suffix == ".safetensors":
            from safetensors.torch import load

            state: Any = load(data)
        else:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of a file of any kind, whatever its reader raises
        why = one_line(f"{type(error).__name__}: {error}", 60)
        raise Problem(
            f"{file.path} holds no weights ({why}): a .safetensors is needed, or what torch.save made of a state dict"
        ) from None
    for key in ("state_dict", "model"):
        state = state.get(key, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        there = f"; it has {_listed(sorted(map(str, state)))}" if isinstance(state, Mapping) else ""
        raise Problem(
            f"{file.path} holds no state dict: tensors by name are wanted, as model.state_dict() has them{there}"
        )
    return {name.removeprefix("module.").removeprefix("_orig_mod."): tensor for name, tensor in state.items()}


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return one_line(", ".join([*names[:SHOWN], *more]), 200) or "none"


def _by_hand(path: Path) -> dict[str, np.ndarray]:
    """safetensors: eight bytes of length, a JSON header of types, shapes and places, and the numbers."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = file.read()
    found = {}
    for name, told in header.items():
        if name == "__metadata__":
            continue
        held = body[slice(*told["data_offsets"])]
        if told["dtype"] == "BF16":  # the upper half of a float32
            numbers: np.ndarray = (np.frombuffer(held, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            numbers = np.frombuffer(held, f"<f{int(told['dtype'][1:]) // 8}" if told["dtype"][0] == "F" else "u1")
        found[name] = numbers.reshape(told["shape"] if numbers.dtype.kind == "f" else -1)
    return found


def _by_torch(path: Path) -> dict[str, np.ndarray]:
    held = torch.load(path, map_location="cpu", weights_only=True)
    held = held.get("state_dict", held)
    held = held.get("model", held)
    return {name: (t.double() if t.is_floating_point() else t).numpy() for name, t in held.items()}
