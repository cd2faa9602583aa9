"""Numbers of tensors: whether two are the same, how far apart they are, what a narrow float can hold."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Named = dict[str, Tensor]


def weighed(model: nn.Module) -> float:
    """One number of all weights and buffers: another where any of them is another."""
    return told([t.detach() for t in (*model.parameters(), *model.buffers())])


def held(optimizer: Any) -> float:
    """One number of what an optimizer holds of all its parameters."""
    every = [p for group in optimizer.param_groups for p in group["params"]]
    return told([torch.as_tensor(value).detach() for p in every for value in optimizer.state.get(p, {}).values()])


def told(tensors: list[Tensor]) -> float:
    """Norms and sums of tensors, each by its place."""
    if not tensors:
        return 0.0
    floats = [t.float() for t in tensors]
    device = max((t.device for t in floats), key=lambda device: device.type == "cuda")
    norms = torch.stack([n.to(device) for n in torch._foreach_norm(floats)]).double()
    sums = torch.stack([t.sum().to(device) for t in floats]).double()
    places = torch.linspace(1, 2, len(floats), dtype=torch.float64, device=device)
    return float(norms @ places + 1e-3 * (sums @ places.flip(0)))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * abs(b)


def is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def narrow(precision: Any) -> str:
    """The float of 16 bits that a precision stores; that which one of 32 bits must not be, float16."""
    return "bfloat16" if precision.kind == "bfloat16" else "float16"


def rounded(x: Tensor, kind: str) -> Tensor:
    """`x` as the float of that name holds it, in float32."""
    return to_tf32(x) if kind == "tf32" else x.to(getattr(torch, kind)).float()


def to_tf32(x: Tensor, nearest: bool = True) -> Tensor:
    """`x` in eleven bits, with float32's range: the nearest, ties away from 0; or with the rest cut off."""
    mantissa, _ = torch.frexp(x.double())
    whole = mantissa * 2**11
    kept = (whole.abs() + (0.5 if nearest else 0.0)).floor() * whole.sign()
    return torch.where(x.isfinite() & (x != 0), x.double() * (kept / whole), x.double()).float()


def held_by(x: Tensor, kind: str) -> bool:
    """Whether every number of `x` is one that the float of that name can hold; inf and nan are."""
    x = x.detach()
    return bool(((x == rounded(x, kind).to(x.dtype)) | x.isnan()).all())


def some(x: Tensor) -> Tensor:
    """Eight of a batch, from all over it."""
    return x[:: max(1, len(x) // 8)]


def on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


def cloned(tensors: Named) -> Named:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def copies(model: nn.Module) -> Named:
    return cloned(dict((*model.named_parameters(), *model.named_buffers())))


@contextmanager
def own_numbers(device: torch.device) -> Iterator[None]:
    """Within it gradients are recorded, in float32, and the random numbers of others stay as they were."""
    with torch.random.fork_rng(), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def number(value: Any) -> np.ndarray:
    """What an optimizer holds, as numpy's; nan of what it has not."""
    held = value.detach().cpu() if isinstance(value, Tensor) else math.nan if value is None else value
    return np.asarray(held, dtype=np.float64)


def distance(seen: np.ndarray, due: np.ndarray) -> float:
    """The greatest gap, in units of the greatest number due; inf where shapes differ or one side alone is no number."""
    if seen.shape != due.shape or (np.isfinite(seen) != np.isfinite(due)).any():
        return math.inf
    return greatest(seen - due) / max(greatest(due), 1e-12)


def greatest(x: np.ndarray) -> float:
    """The greatest size of a number in `x`, of those that are numbers; 0 of none."""
    found = max(float(x.max(initial=0)), -float(x.min(initial=0)))
    return found if math.isfinite(found) else float(np.abs(x[np.isfinite(x)]).max(initial=0))


def of_statistics(seen: Mapping[str, np.ndarray], due: Mapping[str, np.ndarray]) -> float:
    """The greatest gap of buffers; of running means in units of the greatest deviation too, where that is more.

    After a batch norm and a convolution of one place, with nothing between, every mean is 0 but for float32's last bit,
    of which nothing can be asked.
    """
    gaps = [0.0]
    for name, value in due.items():
        spread, gap = due.get(f"{name.removesuffix('mean')}var"), distance(seen[name], value)
        if name.endswith("running_mean") and spread is not None and math.isfinite(gap):
            greatest = float(np.abs(value)[np.isfinite(value)].max(initial=1e-12))
            gap *= greatest / max(greatest, float(np.sqrt(np.abs(spread)[np.isfinite(spread)].max(initial=0))))
        gaps.append(gap)
    return max(gaps)


def worst(due: Named, seen: Named) -> float:
    """The greatest relative gap of a parameter's gradient; of one that is but noise, relative to all the others."""
    if due.keys() - seen.keys():
        return math.inf
    if any(seen[name].shape != gradient.shape for name, gradient in due.items()):
        return math.inf
    square = sum(of**2 if math.isfinite(of := norm(g)) else norm(g[g.isfinite()]) ** 2 for g in due.values())
    each = math.sqrt(square / max(1, sum(g.numel() for g in due.values())))
    gaps = [0.0]
    for name, gradient in due.items():
        gap, of, count = norm(seen[name] - gradient), norm(gradient), gradient.numel()
        if not math.isfinite(gap + of):  # what either side has no number for is left out
            finite = seen[name].isfinite() & gradient.isfinite()
            a, b = seen[name][finite].double(), gradient[finite].double()
            gap, of, count = norm(a - b), norm(b), b.numel()
        gaps.append(gap / max(of, 1e-3 * each * math.sqrt(max(1, count)), 1e-30))
    return max(gaps)


def norm(x: Tensor) -> float:
    """Euclid's, summed in float64 without a copy."""
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def digest(items: Iterable[Any]) -> str:
    """16 hexadecimal digits of tensors' bytes, in order of their indices, and of other values' texts."""
    made = hashlib.sha256()
    for item in items:
        for value in item if isinstance(item, tuple) else (item,):
            if isinstance(value, Tensor):
                made.update(f"{value.dtype}{tuple(value.shape)}".encode())
                made.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            else:
                made.update(f"{value!r},".encode())
    return made.hexdigest()[:16]
