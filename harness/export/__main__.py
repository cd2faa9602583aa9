"""`python -m harness.export STUDY RUNG --to DIR`: a trained network, to take away."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Problem, one_line, planned
from harness.cli import answer, jsonable, main
from harness.paths import expanded, write_atomic

if TYPE_CHECKING:  # torch takes seconds, which --help need not wait for
    from harness.outcomes.networks import Network


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.export",
        description="Write what it takes to use a trained network elsewhere: model.safetensors, its weights; "
        "model.onnx, from pixels to logits; config.json, classes, normalisation and specification; README.md, a model "
        "card made from the record. ONNX is checked: onnxruntime must answer every test image as torch does.",
        epilog="ONNX needs the extra onnx, and is left out without it, and of detectors and segmenters.",
    )
    p.add_argument("study", help=planned.RAN)
    p.add_argument("rung", help="its name, or the id of its specification")
    p.add_argument("--seed", type=int, metavar="N", help="default: the first that is finished")
    p.add_argument("--to", type=expanded, required=True, metavar="DIR", help="a folder, which is made")
    return p


def run(options: argparse.Namespace) -> None:
    from safetensors.torch import save

    from harness.export import card, graph
    from harness.outcomes import Results

    found = Results(options.study)
    rung = found.plan["rungs"][found.place(options.rung)]
    network = found.network(rung["id"], options.seed)
    made, why = (None, "of classifiers alone") if network.spec.data.truth != "class" else graph.checked(network)
    weights = {name: tensor.contiguous() for name, tensor in network.module.state_dict().items()}
    files: dict[str, bytes] = {
        "model.safetensors": save(weights, {"format": "pt", "spec_id": network.spec.id, "seed": str(network.seed)}),
        "config.json": (json.dumps(jsonable(config(network)), indent=1, ensure_ascii=False) + "\n").encode(),
        "README.md": card.text(found, rung, network, made).encode(),
    } | ({"model.onnx": made.data} if made else {})
    clear(options.to)
    for name, data in files.items():
        write_atomic(options.to / name, data)
    if made:
        print(f"ONNX: {made.told}")
    else:
        print(f"harness.export: no model.onnx: {why}", file=sys.stderr)
    print(f"{one_line(rung['title'])}, seed {network.seed}: {', '.join(files)} written to {options.to}/")
    onnx = {"images": made.images, "difference": made.difference} if made else None
    answer({"folder": options.to, "files": list(files), "spec_id": network.spec.id, "seed": network.seed, "onnx": onnx})


def clear(folder: Path) -> None:
    """Take an ONNX of before out, which would not be of these weights. Raises Problem where `folder` is none."""
    if folder.exists() and not folder.is_dir():
        raise Problem(f"--to {folder}: is a file, and a folder is needed")
    (folder / "model.onnx").unlink(missing_ok=True)


def config(network: Network) -> dict[str, Any]:
    """What a program needs to know of the network; pixels are in [0, 255] before they are normalised."""
    from harness.spec import plain

    channels, height, width = network.shape
    return {
        "classes": network.classes,
        "input": {"channels": channels, "height": height, "width": width},
        "mean": network.mean,
        "std": network.std,
        "spec_id": network.spec.id,
        "seed": network.seed,
        "spec": plain(network.spec),
    }


if __name__ == "__main__":
    main(parser(), run)
