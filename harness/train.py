"""The only training loop. It calls slots, and names no trick."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence import Trace, prove
from harness.parts.data import Images
from harness.parts.models import cost
from harness.parts.precision import Runner
from harness.rng import streams
from harness.spec import Spec

EVAL_BATCH = 512
HEARTBEAT = 2.0  # seconds between reports of the loss within an epoch

Event = dict[str, Any]


@dataclass
class Trained:
    """What a run leaves: its result as JSON-ready values, and its weights."""

    result: dict[str, Any]
    model: nn.Module


def build(spec: Spec, seed: int, device: torch.device) -> nn.Module:
    """The network with its initial weights."""
    torch.manual_seed(int(streams(seed)("torch").integers(2**63)))  # for what a model draws by itself, as dropout does
    model = spec.model.build(spec.data.channels, len(spec.data.load().classes))
    for part in spec.init:
        part(model, streams(seed))
    return placed(model, device)


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).to(memory_format=torch.channels_last)  # 1.3 to 1.4 times contiguous, on CPUs too


def train(
    spec: Spec,
    seed: int,
    device: torch.device,
    inner: Callable[[Spec], nn.Module],
    report: Callable[[Event], None] = lambda event: None,
) -> Trained:
    """Train `spec` from `seed`; `inner` gives the trained model of an upstream specification.

    `report` receives a dict an epoch, `{"epoch": 0, "loss": …, "top1": …, …}`, and, within a long epoch, one with
    `"batch"` every 2 seconds. Top-1 and top-5 are percentages of the test set.
    """
    rng = streams(seed)
    images: Images = spec.data.load()
    classes = len(images.classes)
    steps = images.counts["train"] // spec.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = build(spec, seed, device)
    optimizer = spec.optimizer.build(spec.decay.groups(model), spec.batch_size)
    runner = spec.precision.on(device)
    teachers = tuple(part.bind(placed(inner(part.spec), device)) for part in spec.teacher)
    trace = Trace(steps, classes, model, optimizer, runner, rng, teachers)

    peak = spec.optimizer.rate(spec.batch_size)
    history: list[Event] = []
    started = spoke = time.monotonic()
    for epoch in range(spec.epochs):
        model.train()
        total = torch.zeros((), device=device)
        began = time.monotonic()
        for batch, (x, labels) in enumerate(images.train(epoch, spec.batch_size, spec.augment, rng, device)):
            for group in optimizer.param_groups:
                group["lr"] = peak * spec.schedule.factor(epoch * steps + batch, steps, spec.epochs)
            y = nn.functional.one_hot(labels, classes).float()
            for target in spec.targets:
                y = target(y)
            plain_x, plain_y = x, y
            for mix in spec.mix:
                x, y = mix(x, y, rng("mix", type(mix).__name__, epoch, batch))
            x = x.contiguous(memory_format=torch.channels_last)
            with runner.forward():
                z = model(x)
                loss = nn.functional.cross_entropy(z.float(), y)
                for teacher in teachers:
                    loss = loss + teacher(x, z)
            trace.saw_step(labels, plain_y, y, plain_x, z, loss)
            runner.step(loss, optimizer)
            total += loss.detach()
            if time.monotonic() - spoke > HEARTBEAT:
                spoke = time.monotonic()
                report({"epoch": epoch, "batch": batch, "batches": steps, "loss": loss.item()})
        event = {"epoch": epoch, "loss": total.item() / steps, "lr": trace.lr[-1]}
        event["seconds"] = time.monotonic() - began  # after .item(), which waits for the device
        scores, correct = evaluate(model, images, runner, device)
        event |= {**scores, "time": time.time()}
        history.append(event)
        report(event)
        if not math.isfinite(event["loss"]):
            break
    evidence = prove(spec, trace)
    params, macs = cost(spec.model, images.channels, classes, images.size)
    later = [e["seconds"] for e in history[1:]] or [history[0]["seconds"]]  # the first epoch warms caches up
    result = {
        "status": "finished" if math.isfinite(history[-1]["loss"]) else "diverged",
        "metrics": {name: history[-1][name] for name in scores},
        "epochs": history,
        "evidence": evidence,
        "params": params,
        "macs": macs,
        "classes": classes,
        "images": {**images.counts, "digest": images.digest},
        "precision": {"name": runner.name, "emulated": runner.emulated},
        "seconds": time.monotonic() - started,
        "seconds_per_epoch": float(np.median(later)),
        "peak_memory": peak_memory(device),
        "correct": np.packbits(correct).tobytes().hex(),
    }
    if not all(check["ok"] for check in evidence) and result["status"] == "finished":
        result["status"] = "refused"
    return Trained(result, model)


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Images, runner: Runner, device: torch.device
) -> tuple[dict[str, float], np.ndarray]:
    """Test loss, top-1 and (above five classes) top-5 in percent; and which test images were right, in order."""
    model.eval()
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    k = min(5, len(images.classes))
    for x, labels in images.test(EVAL_BATCH, device):
        with runner.forward():
            z = model(x.contiguous(memory_format=torch.channels_last)).float()
        losses.append(nn.functional.cross_entropy(z, labels, reduction="sum"))
        hits.append(z.topk(k, dim=1).indices == labels[:, None])
    correct = torch.cat(hits).cpu().numpy()
    scores = {"test_loss": float(torch.stack(losses).sum()) / len(correct), "top1": 100 * float(correct[:, 0].mean())}
    if len(images.classes) > 5:
        scores["top5"] = 100 * float(correct.any(1).mean())
    return scores, correct[:, 0]


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the device's allocator on CUDA, of this process and all it ran before elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
