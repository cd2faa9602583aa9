"""`python -m harness.doctor`: what is on this machine, what will run how, and what tests on a CPU cannot see.

Exits with 1 where a check fails, and says which. The checks are functions of a device; those that mean something on a
CPU are tested there. On a GPU, an H100, all of them passed, once, by hand; those of TF32 and of photos were never run
on one.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Problem, where
from harness.cli import answer, main

if TYPE_CHECKING:
    import torch

    from harness.evidence import Check
    from harness.spec import Precision

PACKAGES = ("torch", "torchvision", "numpy", "pydantic", "mlflow", "pandas", "scikit-learn", "pillow", "psutil")
BATCH, STEPS, SIDE = 32, 10, 224  # of the timings: ResNet-50 in FP32 then takes some 4 GB


def run(options: argparse.Namespace) -> int:
    import torch

    from harness.engine import settle

    checks: list[Any] = []
    if where.check(options) != "local":
        failed = _show(cluster(options), checks)
        answer({"checks": list(map(asdict, checks))})
        print(f"failed: {'; '.join(failed)}" if failed else "no check failed")
        return 1 if failed else 0
    facts = (*versions(), *machine(), *plan())
    for name, value in facts:
        print(f"{name:12} {value}")
    failed = _show(places_written(), checks)
    if torch.cuda.is_available():
        device = settle("cuda:0")
        for check in (half_dtypes, loss_scaling, tensor_floats, photos_decoded, operations_drawn, speeds, same_bits):
            failed += _show(attempted(check, device), checks)
    else:
        print("no CUDA device: not checked")
    answer({"facts": [{"what": name, "value": value} for name, value in facts], "checks": list(map(asdict, checks))})
    print(f"failed: {'; '.join(failed)}" if failed else "no check failed")
    return 1 if failed else 0


def cluster(options: argparse.Namespace) -> Iterable["Check"]:
    """What a worker on each node of a cluster tells."""
    from harness.engine.probing import probed
    from harness.store import Store

    return probed(where.cluster(options, Store()))


def _show(checks: Iterable["Check"], shown: list["Check"]) -> list[str]:
    """Print each check as it ends, and add it to `shown`; what the failed ones were about."""
    failed = []
    for check in checks:
        shown.append(check)
        print(f"{'ok' if check.ok else 'FAILED':6} {check.what}: {check.seen} (expected {check.expected})", flush=True)
        if not check.ok:
            failed.append(check.what)
    return failed


def attempted(check: Callable[["torch.device"], Iterable["Check"]], device: "torch.device") -> Iterator["Check"]:
    """The results of `check`; an error in it is a failed one, and the checks after it still run."""
    from harness.evidence import Check

    try:
        yield from check(device)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        yield Check(check.__name__.replace("_", " "), "to run", text, False)


# --- what is here -----------------------------------------------------------------------------------------------------


def versions() -> Iterator[tuple[str, str]]:
    import torch

    yield "python", f"{platform.python_version()} on {platform.system()} {platform.release()}"
    yield "packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    yield "CUDA", f"{torch.version.cuda or 'not in this torch'}, cuDNN {cudnn or 'not loaded'}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING"


def machine() -> Iterator[tuple[str, str]]:
    import psutil
    import torch

    from harness.engine.environment import cpu_name
    from harness.engine.mps import told
    from harness.paths import runs

    memory = psutil.virtual_memory()
    yield "CPU", f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores for this process"
    for i in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(i)
        yield f"cuda:{i}", f"{seen.name}, {seen.total_memory / 2**30:.1f} GiB, compute {seen.major}.{seen.minor}"
    if torch.cuda.device_count():
        yield "MPS", told()
    yield "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
    yield "disk", f"{shutil.disk_usage(_existing(runs())).free / 2**30:.1f} GiB free at {runs()}"


def plan() -> Iterator[tuple[str, str]]:
    """What a study that is started here, without options, would run on."""
    import torch

    from harness.engine import decoders, places

    where = places(None, None)
    cuda = where[0] != "cpu"
    threads = torch.get_num_threads() if cuda else 1
    yield (
        "a study runs",
        f"{len(where)} at a time on {', '.join(dict.fromkeys(where))}, threads: {threads} each, FP16"
        f" {'native' if cuda else 'emulated'}, decoding processes for photos: {decoders(len(where))} each",
    )


def places_written() -> Iterator["Check"]:
    """Whether the run store and MLflow's store can be written to. Leaves nothing behind."""
    from harness.evidence import Check
    from harness.store import Store
    from harness.tracking import shown_uri, tracking_uri

    trouble = _unwritable(Store().root)
    yield Check(f"run store {Store().root}", "writable", trouble or "writable", not trouble)
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        trouble = _unreachable(uri)
        yield Check(f"MLflow {shown_uri()}", "answers", trouble or "answers", not trouble)
    elif uri.startswith("sqlite:///"):
        trouble = _unwritable(Path(uri.removeprefix("sqlite:///")))
        yield Check(f"MLflow {shown_uri()}", "writable", trouble or "writable", not trouble)
    else:
        yield Check(f"MLflow {shown_uri()}", "not checked", "not checked", True)


def _unwritable(path: Path) -> str | None:
    """Why `path` cannot be written, or made; None where it can."""
    found = _existing(path)
    if found.is_file():
        return None if found == path.absolute() and os.access(found, os.W_OK) else f"{found}: a file that will not do"
    try:
        tempfile.TemporaryFile(dir=found).close()
    except OSError as error:
        return f"{found}: {error.strerror}"
    return None


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _unreachable(uri: str) -> str | None:
    import requests  # as MLflow does: it takes a user and a password in an address

    from harness import without_password

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=3).raise_for_status()
    except (OSError, ValueError) as error:
        return f"no answer ({without_password(str(error), uri)})"
    return None


# --- what a CPU cannot see --------------------------------------------------------------------------------------------


def half_dtypes(device: "torch.device") -> Iterator["Check"]:
    """One FP16 step of a small ResNet. On CUDA a convolution's output is float16; emulated, a rounded float32."""
    import torch
    from torch import nn

    from harness.evidence import Check
    from harness.parts.models import ResNet
    from harness.tricks.fp16 import FP16

    model = ResNet(blocks=(1, 1), width=16, small=True).build(3, 10).to(device)
    model.to(memory_format=torch.channels_last)
    seen: set[torch.dtype] = set()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
    x = torch.randn(8, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    runner = FP16().on(device)
    with runner.forward():
        loss = nn.functional.cross_entropy(model(x).float(), torch.arange(8, device=device))
    runner.backward(loss)
    runner.step(optimizer)
    wanted = "float16" if device.type == "cuda" else "float32"
    yield Check("FP16: convolution outputs", wanted, _names(seen), _names(seen) == wanted)
    masters = _names({p.dtype for p in model.parameters()})
    yield Check("FP16: master weights", "float32", masters, masters == "float32")
    buffers = [b for state in optimizer.state.values() for b in state.values() if isinstance(b, torch.Tensor)]
    momenta = _names({b.dtype for b in buffers}) or "none, the first step was skipped"
    yield Check("FP16: momentum", "float32 or none", momenta, momenta.startswith(("float32", "none")))


def _names(dtypes: "set[torch.dtype]") -> str:
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def loss_scaling(device: "torch.device") -> Iterator["Check"]:
    """The FP16 runner's step, by hand: a finite gradient moves weights once, an infinite one only halves the scale.

    A step that is taken twice, or with the gradients still scaled, trains on and shows only in the accuracy.
    """
    import torch

    from harness.evidence import Check
    from harness.tricks.fp16 import FP16

    runner = FP16().on(device)
    w = torch.nn.Parameter(torch.ones(4, device=device))
    optimizer = torch.optim.SGD([w], lr=0.25, fused=True)
    runner.backward(w.sum())
    runner.step(optimizer)
    moved = (w.detach() - 1).tolist()  # the gradient is 1, and so -0.25 exactly
    yield Check("FP16: a finite step moves the weights once", "-0.25", _one(moved), set(moved) == {-0.25})
    before, scale = w.detach().clone(), runner.scaler.get_scale()
    runner.backward((w * float("inf")).sum())
    runner.step(optimizer)
    change = (w.detach() - before).tolist()
    yield Check("FP16: an infinite step moves no weight", "0", _one(change), set(change) == {0.0})
    halved = runner.scaler.get_scale() / scale
    yield Check("FP16: and the loss scale becomes", "x 0.5", f"x {halved:g}", halved == 0.5)


def _one(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(set(values)))


def tensor_floats(device: "torch.device") -> Iterator["Check"]:
    """Steps of a small ResNet in TF32 and in FP32: of which numbers its layers' outputs and gradients are products.

    CUDA's libraries decide layer by layer whether to take TF32; emulated, all do. FP32 comes last: TF32 is to be over.
    """
    import torch
    from torch import nn

    from harness.evidence import Check, Products
    from harness.parts.models import ResNet
    from harness.parts.precision import FP32
    from harness.tricks.tf32 import TF32

    if not _has_tf32(device):
        yield Check("TF32", "needs compute 8.0", "not on this device", True)
        return
    cuda = device.type == "cuda"
    model = ResNet(blocks=(1, 1), width=64 if cuda else 16, small=True).build(3, 10).to(device)
    model.to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    for precision, due in ((TF32(), "some" if cuda else "all"), (FP32(), "none")):
        runner, found = precision.on(device), Counter[str]()
        for place in range(6):  # a few layers each
            products = Products(place)
            products.watch(model)
            with runner.forward():
                loss = nn.functional.cross_entropy(model(x).float(), torch.arange(8, device=device))
            runner.backward(loss)
            products.work_out()
            found += products.found
        coarse, told = found["coarse"], found["plain"] + found["coarse"] + found["neither"]
        ok = {"some": coarse > 0, "all": coarse == told > 0, "none": found["plain"] == told > 0}[due]
        yield Check(f"{type(precision).__name__}: products of rounded numbers", due, f"{coarse} of {told}", ok)


def _has_tf32(device: "torch.device") -> bool:
    """Whether it rounds to TF32; a CPU does, emulated."""
    import torch

    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)


def photos_decoded(device: "torch.device") -> Iterator["Check"]:
    """JPEGs decoded and resized on the device, for `data.decoder="nvjpeg"`: against whole numbers, and Pillow."""
    import io
    from functools import partial
    from importlib.util import find_spec

    import numpy as np
    from PIL import Image

    from harness.evidence import Check
    from harness.parts.data import nvjpeg, tensors
    from harness.parts.data.reading import opened, rgb

    if not find_spec("torchcodec"):
        yield Check("photos decoded by the device", "needs torchcodec", "not installed", True)
        return
    coarse, files = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 3), np.uint8), list[bytes]()
    for pixels, size in zip(coarse, ((500, 375), (640, 427), (333, 500)), strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())

    def shown(*places: int) -> np.ndarray:
        images = [opened(Path(f"photo {place}"), files[place]) for place in places]
        batch = nvjpeg.encoded(images, partial(nvjpeg.drawn, size=SIDE, crop=None, rng=None), SIDE)
        made: np.ndarray = nvjpeg.shown(batch, SIDE, device).permute(0, 2, 3, 1).cpu().numpy().astype(np.float64)
        return made

    every = [opened(Path("a photo"), file) for file in files]
    decoded, together = nvjpeg.pixels(every), shown(0, 1, 2)
    due = np.stack([tensors.in_whole_numbers(x, SIDE, SIDE) for x in decoded])
    gap = np.abs(together - due).max()
    yield Check("photos resized by the device, from whole numbers: gap of 255", "0", f"{gap:g}", gap == 0)
    alone = np.abs(together - np.concatenate([shown(place) for place in range(3)])).max()
    yield Check("photos decoded one by one, from a batch's: gap of 255", "0", f"{alone:g}", alone == 0)
    apart = max(float(np.abs(x - np.asarray(rgb(i), np.float64)).mean()) for x, i in zip(decoded, every, strict=True))
    fine = apart < nvjpeg.APART
    yield Check("photos decoded, from Pillow's, of 255: mean gap", f"below {nvjpeg.APART}", f"{apart:.2g}", fine)


def operations_drawn(device: "torch.device") -> Iterator["Check"]:
    """What RandAugment and its like draw from, done to a batch on the device: against the CPU, which is as Pillow."""
    import numpy as np
    import torch

    from harness.evidence import Check
    from harness.parts.batched import OPERATIONS, carried_out
    from harness.tricks.trivial_augment import TrivialAugment

    rng = np.random.default_rng(0)
    drawn = [TrivialAugment().drawn(32, 32, rng) for _ in range(512)] + [[("Invert", 0.0)]]
    images = torch.from_numpy(rng.integers(0, 256, (len(drawn), 3, 32, 32))).int()
    amiss = (carried_out(images.to(device), drawn).cpu() != carried_out(images, drawn)).sum().item()
    met = len({name for (name, _), *_ in drawn} & {*OPERATIONS})
    yield Check(f"pixels that {met} drawn operations change otherwise on the device", "0", f"{amiss}", amiss == 0)


def speeds(device: "torch.device") -> Iterator["Check"]:
    """ResNet-50 at 224 px: FP16 and TF32 against FP32, and channels_last against contiguous in FP16.

    In true FP32 there are no tensor cores, and channels_last may be the slower there: shown, not judged.
    """
    from harness.evidence import Check
    from harness.parts.precision import FP32
    from harness.tricks.fp16 import FP16
    from harness.tricks.tf32 import TF32

    fp32, tf32, fp16 = (milliseconds(part, device, channels_last=True) for part in (FP32(), TF32(), FP16()))
    yield Check("FP16 against FP32, speed", "above x 1", _faster(fp32, fp16), fp16 < fp32)
    if _has_tf32(device):
        yield Check("TF32 against FP32, speed", "above x 1", _faster(fp32, tf32), tf32 < fp32)
    contiguous = milliseconds(FP16(), device, channels_last=False)
    yield Check("FP16: channels_last against contiguous", "above x 1", _faster(contiguous, fp16), fp16 < contiguous)
    contiguous = milliseconds(FP32(), device, channels_last=False)
    yield Check("FP32: channels_last against contiguous", "any", _faster(contiguous, fp32), True)


def _faster(old: float, new: float) -> str:
    return f"x {old / new:.2f} ({old:.1f} to {new:.1f} ms a step of {BATCH})"


def milliseconds(precision: "Precision", device: "torch.device", channels_last: bool) -> float:
    """Of one training step of ResNet-50, the mean of a few after a warm-up."""
    import torch

    from harness.parts.models import RESNET50

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = RESNET50.build(3, 1000).to(device).to(memory_format=layout).train()
    x = torch.randn(BATCH, 3, SIDE, SIDE, device=device).contiguous(memory_format=layout)
    labels = torch.arange(BATCH, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    runner = precision.on(device)

    def steps(count: int) -> None:
        for _ in range(count):
            with runner.forward():
                loss = torch.nn.functional.cross_entropy(model(x).float(), labels)
            runner.backward(loss)
            runner.step(optimizer)

    steps(3)  # cuDNN picks its algorithms, the allocator finds its size
    return _clocked(lambda: steps(STEPS), device) / STEPS


def _clocked(work: Callable[[], None], device: "torch.device") -> float:
    """Milliseconds that the device needs for `work`. CUDA runs behind Python: events in its stream are the clock."""
    import torch

    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - began)
    with torch.cuda.device(device):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
    return float(begin.elapsed_time(end))


def same_bits(device: "torch.device", graphs: bool | None = None) -> Iterator["Check"]:
    """Two epochs of the digits, in FP32 and in FP16, each twice from one seed, by processes of their own.

    And with `graphs`, which are asked of CUDA, a third time with passes played again as CUDA graphs.
    """
    from harness.engine import Engine
    from harness.evidence import Check
    from harness.store import Store
    from harness.train import PLAIN, How

    place = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
    asked = [(spec, 0) for spec in _short()]
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder:
        graphs = device.type == "cuda" if graphs is None else graphs
        ways = {"a": PLAIN, "b": PLAIN} | ({"c": How(cuda_graphs=True)} if graphs else {})
        stores = [Store(Path(folder, name)) for name in ways]
        for store, how in zip(stores, ways.values(), strict=True):
            for event in Engine(store, [place], how=how).events(asked):
                if event["kind"] == "failed":
                    raise Problem(event["why"])
                if event["kind"] == "interrupted":
                    raise KeyboardInterrupt
        for spec, seed in asked:
            kind = type(spec.precision).__name__
            one, *others = (store.weights(spec.id, seed) for store in stores)
            for two, what in zip(others, ("weights of two runs of one seed", "weights by CUDA graphs"), strict=False):
                off = [name for name in one if not one[name].equal(two[name])]
                seen = f"{len(off)} of {len(one)} tensors differ" if off else "the same"
                yield Check(f"{kind}: {what}", "the same", seen, not off)
            if len(stores) > 2:
                told = stores[2].read(spec.id, seed)["passes"]
                seen = f"{told.get('played', 0)}" + (f", {told['why']}" if "why" in told else "")
                yield Check(f"{kind}: passes played as CUDA graphs", "some", seen, bool(told.get("played")))


def _short() -> list[Any]:
    from harness.parts.augment import Shift
    from harness.parts.data import Digits
    from harness.parts.decay import DecayAll
    from harness.parts.init import Xavier
    from harness.parts.models import ResNet
    from harness.parts.optimizers import NAG
    from harness.parts.precision import FP32
    from harness.parts.schedules import Piecewise
    from harness.spec import Spec
    from harness.tricks.fp16 import fp16

    spec = Spec(
        data=Digits(),
        model=ResNet(blocks=(1, 1), width=16, small=True),
        init=(Xavier(),),
        decay=DecayAll(),
        optimizer=NAG(),
        schedule=Piecewise(),
        batch_size=32,
        epochs=2,
        augment=(Shift(pixels=1),),
        precision=FP32(),
    )
    return [spec, fp16(spec)]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.doctor",
        description="Show what is on this machine and check what runs depend on; with --engine, on each node of a "
        "cluster. Exits with 1 where a check fails.",
    )
    where.add(p)
    return p


if __name__ == "__main__":
    main(parser(), run)
