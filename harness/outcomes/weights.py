"""What weights that others trained answer to a test set: one pass each, kept by what was asked, checked as runs are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import Problem
from harness.evidence import Check, digest
from harness.parts.data.images import digests
from harness.paths import write_atomic
from harness.rng import streams
from harness.spec import Spec
from harness.store import arrays
from harness.study.weights import asked, pretrained
from harness.tasks import of
from harness.train import evaluate, placed

Answer = dict[str, Any]  # what a pass came to, JSON-ready, and `labels` N and `logits` N x K
FILES = ("answers.json", "logits.npz")


def answers(
    weights: Mapping[str, Spec], folder: Path, device: torch.device, say: Callable[[str], None], fresh: bool = False
) -> dict[str, Answer]:
    """What each of `weights` answers, by its name, to the same test images; `folder` keeps it, and is asked first.

    Raises Problem where one does not fit the test set, or where two are of other test sets.
    """
    made: dict[str, Answer] = {}
    known = {name: None if fresh else kept(folder / asked(spec)) for name, spec in weights.items()}
    for name, spec in weights.items():
        if known[name] is None:
            check(name, spec)
    for name, spec in weights.items():
        place, found = folder / asked(spec), known[name]
        if found is None:
            say(f"{name}: {spec.data.load().counts['test']:,} images, on {device.type}")
            found = passed(name, spec, device)
            write(place, found)
        made[name] = found
    first, own = next(iter(made.items()))
    for name, other in made.items():
        same = other["names"] == own["names"] and np.array_equal(other["labels"], own["labels"])
        if not same or (other["size"] == own["size"] and other["test"] != own["test"]):
            raise Problem(f"{name} is tested on other images than {first}: give both the same data")
    return made


def check(name: str, spec: Spec) -> None:
    """Raise Problem where file, network and test set do not fit."""
    part, images = pretrained(spec), spec.data.load()
    if part is None or spec.data.truth != "class":
        raise Problem(f"{name}: weights are asked for a class an image, every tensor from a file (head='keep', strict)")
    try:
        part.check(spec)
    except ValueError as error:
        raise Problem(f"{name}: {str(error).partition('; strict=false')[0]}") from None
    keeps, why = of(spec).keeps(images.counts["test"], len(images.classes))
    if not keeps:
        raise Problem(f"{name}: {why}: take data.limit_test")


def passed(name: str, spec: Spec, device: torch.device) -> Answer:
    """One pass over the test set. Raises Problem where a check fails."""
    part, task, images = pretrained(spec), of(spec), spec.data.load()
    assert part
    classes = len(images.classes)
    net = spec.model.build(images.channels, classes)
    part(net, streams(0))
    model = placed(net, device)
    seen: list[Tensor] = []
    most = min(5, classes)  # of equal logits the one is answered that the loop takes
    watch = model.register_forward_hook(lambda module, given, z: seen.append(z.float().topk(most, 1).indices[:, 0]))
    shown = spec.evaluation.view(images) if spec.evaluation else images
    began = time.monotonic()
    scores, told = evaluate(task, model, shown, spec.precision.on(device), device)
    seconds = time.monotonic() - began
    watch.remove()
    checks = list(proofs(part, model, images, torch.cat(seen).cpu().numpy(), scores["top1"]))
    if wrong := next((check for check in checks if not check.ok), None):
        raise Problem(f"{name}: {wrong.what}: {wrong.seen} instead of {wrong.expected}: its answers are not kept")
    return {
        "top1": scores["top1"],
        "top5": scores.get("top5"),
        "labels": told["labels"].numpy(),
        "logits": told["logits"].numpy(),
        "names": list(images.classes),
        "test": digests(images)["test"],
        "size": shown.tested,
        "params": sum(p.numel() for p in model.parameters()),
        "network": digest(model.state_dict().items()),
        "file": part.file.identity()["sha256"],
        "device": device.type,
        "torch": torch.__version__,
        "seconds": seconds,
        "checks": [vars(check) for check in checks],
        "spec": spec.brief,
    }


def proofs(part: Any, model: nn.Module, images: Any, said: np.ndarray, top1: float) -> Iterator[Check]:
    """That the network that answered has the file's weights, and that its top-1 is what it answered."""
    live = {name: t.detach().cpu() for name, t in model.state_dict().items() if t.is_floating_point()}
    file = part.reference({name: t.shape for name, t in live.items()}, model, streams(0))
    due = {name: torch.from_numpy(values).to(live[name].dtype) for name, values in file.items()}  # rounded alike
    other = sum(name not in due or not torch.equal(t.nan_to_num(), due[name].nan_to_num()) for name, t in live.items())
    yield Check("tensors of the network that are not the file's, to the bit", "0", f"{other}", other == 0)
    right = 100 * float(np.mean(said == np.asarray(images.labels("test"))))
    yield Check("top-1, from what left the network", f"{right:.4f}", f"{top1:.4f}", abs(right - top1) < 1e-4)


def kept(place: Path) -> Answer | None:
    """What a pass left there; None where that is nothing, or is not whole."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told: Answer = json.loads((place / FILES[0]).read_bytes())
        data = (place / FILES[1]).read_bytes()
        if hashlib.sha256(data).hexdigest() == told["sha256"]:
            labels, logits = arrays.logits(data, told["images"])
            return told | {"labels": labels, "logits": logits}
    return None


def write(place: Path, found: Answer) -> None:
    """Keep a pass: the arrays first, so that where words are, they are of these."""
    plain = {name: value for name, value in found.items() if not isinstance(value, np.ndarray)}
    data = arrays.packed({"labels": found["labels"], "logits": found["logits"]})
    plain |= {"images": len(found["labels"]), "sha256": hashlib.sha256(data).hexdigest()}
    write_atomic(place / FILES[1], data)
    write_atomic(place / FILES[0], json.dumps(plain, indent=1).encode())
