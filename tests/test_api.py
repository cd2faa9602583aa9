"""`harness/API.md`: what a user's code may call, from the docstrings. `python -m tests.test_api` writes it anew."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

from tests.kit import shipped

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "harness" / "API.md"
HEAD = """# From code

What a study, a trick, a part and a notebook of yours may use, made from the docstrings by `python -m tests.test_api`.
The rest may change without a word. A `Problem` is a user's mistake or a broken input, in one line.
"""
CLASSES = "every class"
VALUES = {"Data", "Networks", "Parts"}  # of these a user gives fields, and calls nothing
PUBLIC: dict[str, tuple[str, dict[str, object]]] = {
    "Results": (
        "What a study that was run came to.",
        {"harness": ["results", "Problem"], "harness.outcomes": ["Results"], "harness.outcomes.networks": ["Network"]},
    ),
    "Studies": (
        "A study as a file: `BASELINE`, `TRICKS`, `SEEDS`, `SPACE` for a search, and `METRICS` of its own.",
        {
            "harness.metrics": ["Metric"],
            "harness.study.files": ["load"],
            "harness.study.study": ["Study"],
            "harness.study.plans": ["plan"],
            "harness.spec.tricks": ["declares", "Branches", "on_backbone", "stack"],
        },
    ),
    "Specs and parts": (
        "`from harness.spec import …`.",
        {"harness.spec.part": ["Part", "Check", "File"], "harness.spec.spec": ["Spec"]},
    ),
    "Slots": (
        "What a part of each slot must do: `from harness.spec import …`, and inherit.",
        {"harness.spec.slots": CLASSES, "harness.spec.spec": ["Teacher"]},
    ),
    "Evidence": (
        "What a part's `proof` reads: `from harness.evidence import Trace`.",
        {"harness.evidence.trace": ["Trace", "Upstream"]},
    ),
    "Search": (
        "Values of slots, under an Optuna study of your own: `from harness.search import objective`.",
        {"harness.search": ["objective"], "harness.search.standalone": ["Objective"]},
    ),
    "Data": (
        "What fills `data`: `from harness.parts.data import …`.",
        {
            "harness.parts.data.sets": ["Digits", "Torchvision"],
            "harness.parts.data.folders": ["Files", "ImageFolder"],
            "harness.parts.data.table": ["Table"],
            "harness.parts.data.packed": ["Packed"],
            "harness.parts.data.prepared": ["Prepared"],
            "harness.parts.data.arrays": ["Arrays"],
            "harness.parts.data.boxes": ["VOC"],
            "harness.parts.data.masks": ["ADE20K", "Cityscapes"],
            "harness.parts.data.splits": ["Split"],
            "harness.parts.data.holdout": ["Holdout"],
        },
    ),
    "Networks": (
        "What fills `model`, and weights to start from: `from harness.parts.models import …`.",
        {
            "harness.parts.models.resnet": ["ResNet"],
            "harness.parts.models.timm": ["Timm"],
            "harness.parts.models.dense": ["Dense"],
            "harness.parts.models.faster_rcnn": ["FasterRCNN"],
            "harness.parts.models.fcn": ["FCN"],
            "harness.parts.pretrained": ["Pretrained"],
        },
    ),
    "Parts": (
        "What fills the other slots, but for what tricks bring with them.",
        {
            "harness.parts.augment": [
                "Shift",
                "Flip",
                "Crop",
                "ScaledCrop",
                "RandomAreaCrop",
                "ColorJitter",
                "PCANoise",
            ],
            "harness.tricks.random_erasing": ["RandomErasing"],
            "harness.tricks.cutout": ["Cutout"],
            "harness.tricks.trivial_augment": ["TrivialAugment"],
            "harness.tricks.randaugment": ["RandAugment"],
            "harness.tricks.augmix": ["AugMix"],
            "harness.tricks.mixup": ["Mixup"],
            "harness.tricks.cutmix": ["CutMix"],
            "harness.tricks.one_of": ["OneOf"],
            "harness.parts.init": ["Xavier"],
            "harness.parts.decay": ["DecayAll"],
            "harness.parts.optimizers": ["SGD", "NAG", "Adam", "AdamW", "AdamP", "Lamb", "Lion", "Expectigrad"],
            "harness.tricks.muon": ["Muon"],
            "harness.parts.schedules": ["Piecewise", "Step", "Poly", "Warmup", "Shape"],
            "harness.parts.precision": ["FP32"],
        },
    ),
    "Tricks": (
        "`from harness.tricks.NAME import NAME`; values by `partial(NAME, …)`.",
        {f"harness.tricks.{name}": [name] for name in sorted(shipped.TRICKS)},
    ),
}


def source(module):
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def nodes():
    """(heading, module, node) of everything that is public."""
    for heading, (_, modules) in PUBLIC.items():
        for module, names in modules.items():
            tree = ast.parse(source(module).read_text()).body
            found = {node.name: node for node in tree if isinstance(node, ast.ClassDef | ast.FunctionDef)}
            own = [n for n, node in found.items() if isinstance(node, ast.ClassDef) and n[0] != "_"]
            for name in own if names is CLASSES else names:
                yield heading, module, found[name]


def members(node):
    """The public methods and properties of a class, none of a function."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    return [
        each for each in body if isinstance(each, ast.FunctionDef) and (each.name[0] != "_" or each.name == "__call__")
    ]


def fields(module, node):
    """The lines of a class that say its fields, with what is noted beside them."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    own = [each for each in body if isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_")]
    shown, lines = [each for each in own if "ClassVar" not in ast.unparse(each.annotation)], source(module).read_text()
    return [line[each.col_offset :] for each in shown for line in lines.split("\n")[each.lineno - 1 : each.end_lineno]]


def signature(node):
    """`name(x: Tensor) -> Tensor`; of a property its name and what it is."""
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if any(ast.unparse(each).endswith("property") for each in node.decorator_list):
        return f"{node.name}{gives.replace(' -> ', ': ')}"
    node.args.args = [each for each in node.args.args if each.arg not in ("self", "cls")]
    return f"{node.name}({ast.unparse(node.args)}){gives}"


def about(node):
    return inspect.cleandoc(ast.get_docstring(node) or "")


def page():
    lines, last = [HEAD.strip()], ""
    for heading, module, node in nodes():
        if heading != last:
            lines += [f"## {heading}", PUBLIC[heading][0]]
            last = heading
        title = node.name if isinstance(node, ast.ClassDef) else signature(node)
        lines += [f"### `{module}`: `{title}`", about(node)]
        if own := fields(module, node):
            lines.append("\n".join(["```python", *own, "```"]))
        for each in () if heading in VALUES else members(node):
            if about(each):
                lines.append(
                    f"- `{signature(each)}`\n\n" + "\n".join(f"  {line}".rstrip() for line in about(each).split("\n"))
                )
    return "\n\n".join(lines) + "\n"


def test_the_page_is_that_of_the_docstrings():
    assert PAGE.read_text() == page(), "python -m tests.test_api writes it anew"


def test_all_that_is_public_has_a_docstring_and_can_be_imported():
    every = list(nodes())
    assert {heading for heading, _, _ in every} == set(PUBLIC)
    assert [f"{module}.{node.name}" for _, module, node in every if len(about(node)) < 20] == []
    assert [node.name for _, module, node in every if not hasattr(importlib.import_module(module), node.name)] == []


@pytest.mark.parametrize(
    ("module", "node"), [own[1:] for own in nodes() if own[0] not in VALUES], ids=lambda own: getattr(own, "name", own)
)
def test_what_can_be_called_says_what_it_takes_and_gives(module, node):
    kind = getattr(importlib.import_module(module), node.name)
    inherited = inspect.getmro(kind)[1:] if inspect.isclass(kind) else ()
    for each in members(node):
        said = about(each) or any(
            inspect.getdoc(vars(base).get(each.name)) for base in inherited if each.name in vars(base)
        )
        assert said, f"{module}.{node.name}.{each.name}"


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page()) < 0)
