"""A model card, made from a run's record and its report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness import __version__, one_line
from harness.report.tables import literal, spread
from harness.report.words import METRICS, count, opening
from harness.stats import t_interval, wilson

if TYPE_CHECKING:
    from harness.export.graph import Made
    from harness.outcomes import Results
    from harness.outcomes.networks import Network

LICENSE = "# license: to be said by whoever publishes this; so is that of the data"
SHOWN = 40  # classes


def text(found: Results, rung: dict[str, Any], network: Network, made: Made | None) -> str:
    """Markdown with the head that model hubs read: what it is, data, recipe, scores, evidence, where it came from."""
    record, images = network.record, network.images
    title, study = one_line(rung["title"]), one_line(found.study)
    tags = {"study": study, "spec_id": network.spec.id}
    head = ["---", LICENSE, "tags: [image-classification]", *(f"{k}: {json.dumps(v)}" for k, v in tags.items()), "---"]
    channels, height, width = network.shape
    names = ", ".join(map(one_line, images.classes[:SHOWN]))
    more = f", … ({len(images.classes):,} in all)" if len(images.classes) > SHOWN else ""
    data = type(network.spec.data).__name__
    splits = ", ".join(f"{n:,} {split}" for split, n in images.counts.items())
    recipe = [f"- {path}: {value}" for path, value in network.spec.brief.items() if not path.startswith("data")]
    sections = [
        "\n".join(head),
        f"# {literal(f'{study}: {title}')}",
        f"The network of one run, seed {network.seed}: {record['params']:,} parameters, {record['macs']:,} "
        f"multiply-adds an image. It takes {channels} x {height} x {width} px; pixels in [0, 255] less "
        f"{_numbers(network.mean)}, by {_numbers(network.std)}, a number a channel. See `config.json`.",
        "## Files",
        f"`model.safetensors`: weights and buffers. {_of_onnx(made)}",
        "## Data",
        f"{data}, digest `{images.digest}`: {splits} images. Classes, in the order of the answers: "
        f"{literal(names)}{more}.",
        "## Scores",
        "\n".join(f"- {line}" for line in scores(found, rung, network)),
        "## Recipe",
        "\n".join(map(literal, recipe)),
        "## Evidence",
        evidence(record),
        "## Where it came from",
        f"Specification `{network.spec.id}`, seed {network.seed}, record `{record['digest'][:16]}`; harness "
        f"{__version__}, commit `{one_line(str(record['environment']['commit'])) or 'none'}`; on "
        f"{literal(one_line(str(record['environment']['device_name'])))}.",
    ]
    return "\n\n".join(sections) + "\n"


def _of_onnx(made: Made | None) -> str:
    if not made:
        return "There is no ONNX file."
    return f"`model.onnx`: `pixels`, N x C x H x W in [0, 255], to `logits`; the normalisation is in it. {made.told}."


def scores(found: Results, rung: dict[str, Any], network: Network) -> list[str]:
    """This run's scores, with the interval that the number of test images allows, and the rung's over seeds."""
    record, score = network.record, network.record.get("score", "top1")
    value, n = record["metrics"][score], record["images"]["test"]
    line = f"{opening(METRICS[score])} of this run: {value:.2f} % of {count(n, 'test image')}"
    if score == "top1":
        low, high = (100 * end for end in wilson(round(value * n / 100), n))
        line += f", 95 % Wilson interval {low:.2f} to {high:.2f}"
    lines = [line]
    own = found.runs[(found.runs["place"] == found.place(rung["id"])) & (found.runs["status"] == "finished")]
    if len(own) > 1:
        low, high = t_interval(own[score])
        told = f"{spread(own[score].mean(), own[score].std())}, 95 % t-interval of the mean {low:.2f} to {high:.2f}"
        lines.append(f"{opening(METRICS[score])} over {len(own)} seeds: {told}")
    others = {name: value for name, value in record["metrics"].items() if name != score}
    return [*lines, *(f"{METRICS.get(name, name)}: {value:.4g}" for name, value in others.items())]


def evidence(record: dict[str, Any]) -> str:
    """How many of the run's checks held, and how its parts are known."""
    checks = record["evidence"]
    held = f"{sum(bool(check['ok']) for check in checks)} of {count(len(checks), 'check')} of the run held."
    known = "; ".join(f"{one_line(kind)}: {one_line(how)}" for kind, how in record.get("opinions", {}).items())
    return f"{held} How its parts are known to do what they say: {literal(known)}." if known else held


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
