"""One real step, audited, of each network that the rungs of `voc_detection` or `ade20k_segmentation` make, full size.

    python -m tests.kit.full_size detection VOCDEVKIT
    python -m tests.kit.full_size segmentation ADE

From scratch, since the networks that they stand on take weeks; on two images, as the studies' batches take 68 GB and
more. Rungs whose networks differ by how they were trained alone make one network here.
"""

import sys
import time
from collections.abc import Iterator

import torch

from experiments import ade20k_segmentation, transfer_detection, transfer_segmentation, voc_detection
from harness.parts.schedules import Piecewise
from harness.paths import expanded
from harness.spec import Spec
from harness.study import Study, plan
from harness.train import peak_memory, train

KINDS = {
    "detection": (voc_detection, transfer_detection.BASELINE.data),
    "segmentation": (ade20k_segmentation, transfer_segmentation.BASELINE.data),
}
IMAGES = 2


def networks(kind: str, root: str) -> Iterator[tuple[str, Spec]]:
    """The names of rungs that make one network, and its specification from scratch, on two images."""
    own, small = KINDS[kind]
    size = {name: getattr(own.BASELINE.data, name) for name in ("short", "long")}
    data = small.but(root=expanded(root), limit=IMAGES, limit_test=1, **size)
    found: dict[str, list[str]] = {}
    specs: dict[str, Spec] = {}
    for rung in plan(Study("full", "Full size.", own.BASELINE, own.TRICKS, (0,))).rungs:
        scratch = transfer_detection.from_scratch(rung.spec)
        spec = scratch.but(data=data, batch_size=IMAGES, epochs=1, schedule=Piecewise())  # one step has no warm-up
        found.setdefault(spec.id, []).append(rung.name)
        specs[spec.id] = spec
    for key, names in found.items():
        yield ", ".join(names), specs[key]


def main(kind: str, root: str) -> None:
    torch.set_num_threads(1)
    for names, spec in networks(kind, root):
        began = time.monotonic()
        result = train(spec, 0, torch.device("cpu"), lambda upstream: None).result  # type: ignore[arg-type, return-value]
        wrong = [check["what"] for check in result["evidence"] if not check["ok"]]
        audited = sum(check["part"] == "audit" for check in result["evidence"])
        print(
            f"{names}: {result['status']}, {result['params'] / 1e6:.1f} M parameters, loss"
            f" {result['epochs'][0]['loss']:.4f}, {audited} checks of audits, {len(wrong)} wrong {wrong or ''},"
            f" {time.monotonic() - began:.0f} s, {peak_memory(torch.device('cpu')) / 1e9:.1f} GB at the peak",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
