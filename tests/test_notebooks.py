"""Notebooks: a .py to read and the .ipynb of the same cells, which run from top to bottom on a finished study.

`python -m tests.test_notebooks` makes each .ipynb from its .py anew, without outputs.
"""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PAIRED = {"formats": "ipynb,py:percent"}


def cells(text):
    """(type, source) of each cell of a file in jupytext's percent format."""
    _, *parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        assert mark in ("", " [markdown]"), mark
        source = body.strip("\n")
        found.append(("markdown", re.sub(r"^# ?", "", source, flags=re.MULTILINE)) if mark else ("code", source))
    return found


def notebook(text):
    """The .ipynb, format 4.5, of a file in percent format."""
    made = []
    for i, (kind, source) in enumerate(cells(text)):
        cell = {"cell_type": kind, "id": f"cell-{i}", "metadata": {}, "source": source.splitlines(keepends=True)}
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    metadata = {"jupytext": PAIRED, "kernelspec": KERNEL}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def faults(text, made):
    """What is wrong with `made`, read from an .ipynb, as the pair of a .py."""
    found = []
    if made.keys() != {"cells", "metadata", "nbformat", "nbformat_minor"} or made["nbformat"] != 4:
        found.append("not a notebook of format 4")
    if made["metadata"].get("jupytext") != PAIRED or not made["metadata"].get("kernelspec", {}).keys() >= KERNEL.keys():
        found.append("its metadata pair it with no .py, or name no kernel")
    ids = [cell.get("id", "") for cell in made["cells"]]
    if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[\w-]{1,64}", own, re.ASCII) for own in ids):
        found.append("ids are missing, or not unique")
    for i, cell in enumerate(made["cells"]):
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        if cell.keys() != {"cell_type", "id", "metadata", "source"} | code:
            found.append(f"cell {i} has the keys {sorted(cell)}")
        elif cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"cell {i} has outputs")
    theirs = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    ours = cells(text)
    found += [f"cell {i} differs" for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} cells in the .py, {len(theirs)} in the .ipynb")
    return found


def test_cells_by_hand():
    text = "# ---\n# a: b\n# ---\n\n# %% [markdown]\n# # One\n#\n# two\n\n# %%\nx = 1  # %% no mark\n\n\n# %%\ny\n"
    assert cells(text) == [("markdown", "# One\n\ntwo"), ("code", "x = 1  # %% no mark"), ("code", "y")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_both_files_have_the_same_cells_and_no_outputs(path):
    made = json.loads(path.with_suffix(".ipynb").read_text())
    assert not faults(path.read_text(), made), "python -m tests.test_notebooks makes the .ipynb of the .py"
    assert f"formats: {PAIRED['formats']}\n" in path.read_text().split("# %%")[0], "jupytext reads the header"
    kinds = [kind for kind, _ in cells(path.read_text())]
    assert kinds == ["markdown", "code"] * (len(kinds) // 2), "each cell has a sentence before it"


def test_no_notebook_is_alone():
    assert SOURCES
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {path.stem for path in SOURCES}


CHANGES = {
    "a word": lambda made: made["cells"][0]["source"].append("more"),
    "a number": lambda made: made["cells"][1].update(source=["x = 2"]),
    "another type": lambda made: made["cells"][0].update(cell_type="raw"),
    "one less": lambda made: made["cells"].pop(),
    "another order": lambda made: made["cells"].reverse(),
    "outputs": lambda made: made["cells"][1]["outputs"].append({"output_type": "stream", "name": "stdout", "text": ""}),
    "a count": lambda made: made["cells"][1].update(execution_count=1),
    "no list of outputs": lambda made: made["cells"][1].pop("outputs"),
    "the same id": lambda made: made["cells"][1].update(id="cell-0"),
    "an older format": lambda made: made.update(nbformat=3),
    "no pair": lambda made: made["metadata"].pop("jupytext"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_one_file_alone_is_noticed(change):
    text = "# %% [markdown]\n# One\n\n# %%\nx = 1\n"
    made = notebook(text)
    assert not faults(text, made)
    changed = copy.deepcopy(made)
    change(changed)
    assert faults(text, changed)
    for other in (
        "# %% [markdown]\n# One\n\n# %%\nx = 2\n",
        "# %% [markdown]\n# Two\n\n# %%\nx = 1\n",
        text + "# %%\n",
    ):
        assert faults(other, made)


# A fresh process that shows what each cell ends in, as Jupyter does, for each of some studies.
JUPYTER = """
import ast, json, sys
told = json.load(sys.stdin)
for label in told["studies"]:
    names = {"__name__": "__main__"}
    for source in told["cells"]:
        *body, last = ast.parse(source.replace('STUDY = "digits"', f"STUDY = {label!r}")).body
        value = None
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        else:
            exec(compile(ast.Module([*body, last], []), "cell", "exec"), names)
        for kind in ("_repr_svg_", "_repr_html_"):
            if hasattr(value, kind):
                print(getattr(value, kind)())
    print(chr(12))
print(*{"torch", "mlflow", "IPython"} & set(sys.modules))
"""

# Which of 16 test images each run has right, by seed
ONE = ("0011100000000000", "0011111100000000", "0011111000000000")
TWO = ("0011111100000000", "0011111000000001", "0011110111000000")


def accuracy(bits):
    return 100 * bits.count("1") / len(bits)


def hexadecimal(bits):
    return np.packbits([bit == "1" for bit in bits]).tobytes().hex()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the tour shows of a ladder of three seeds, and of a factorial of one, with a run that diverged at once."""
    from harness import report
    from harness.store import Store
    from tests.kit.records import designed, record, rung
    from tests.kit.tiny import finish

    folder = tmp_path_factory.mktemp("runs")
    check = {"part": "loop", "what": "steps", "expected": "4", "seen": "4", "ok": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(folder))
        store = Store()
        for place, name in enumerate(("baseline", "one", "two")):
            for seed, bits in enumerate((ONE, ONE, TWO)[place]):
                own = record(accuracy(bits), correct=hexadecimal(bits), tested=len(bits), evidence=[check])
                finish(store, name, seed, own)
        ladder = [rung("baseline"), rung("one", [1, 0]), rung("two", [2, 1])]
        report.remember(designed("ladder", ladder) | {"study": "digits", "label": "digits"})
        finish(store, "none", 0, record(0.0, status="diverged", epochs=1, correct="0000", tested=16))
        finish(store, "_all_$x$", 0, record(accuracy(ONE[0]), correct=hexadecimal(ONE[0]), tested=16))
        rungs = [rung("none", seeds=[0]), rung("_all_$x$", seeds=[0], on=[0])]
        report.remember(designed("factorial", rungs, ["x"]) | {"study": "alone", "label": "alone"})

    made = json.loads((FOLDER / "tour.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", JUPYTER],
        input=json.dumps({"cells": code, "studies": ["digits", "alone"]}),
        env=os.environ | {"HARNESS_RUNS": str(folder), "MPLBACKEND": "Agg"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    assert not done.stderr
    return done.stdout.split("\f")


def test_the_tour_tells_what_can_be_done_by_hand(shown):
    gains = [accuracy(two) - accuracy(one) for one, two in zip(ONE, TWO, strict=True)]  # 3, 0 and 2 of 16 images
    assert gains == [18.75, 0, 12.5]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(gains), scipy.stats.sem(gains))
    assert f"<td>{np.mean(gains):+.2f} [{low:+.2f}, {high:+.2f}]</td>" in shown[0]
    # images that only `two` and only `one` had right: 3 and 0, 1 and 1, 3 and 1; p = 2/2³, 1, and 2 · 5/2⁴
    rows = re.findall(r"<th>(\d)</th>\s*<td>(\d)</td>\s*<td>(\d)</td>\s*<td>([\d.]+)</td>", shown[0])
    assert rows == [("0", "3", "0", "0.25"), ("1", "1", "1", "1"), ("2", "3", "1", "0.62")]
    # images 0, 1 and 10 to 14; of 16 `one` misses 13, 10, 11, and `two` 10, 10, 9: 16 · 13/16 · 10/16 · ... = 1.227
    assert "\n7 of 16 images are missed by all 6 runs; by chance that would be 1.23.\n" in shown[0]
    # at a seed they differ on 3, 2, 4 images; two runs of `one` on 3, 2, 1 and of `two` on 2, 3, 5: 16 / 6
    assert "the two rungs differ on 3.0 images, two seeds of one rung on 2.7." in shown[0]


def test_the_tour_draws_two_figures_of_the_study_and_one_of_its_own(shown):
    axes = ("top-1 (%)", "training loss", "seeds that missed an image")
    for text, rungs in zip(shown, (("one", "two"), ("none", "_all_$x$")), strict=False):
        pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
        for picture, axis in zip(pictures, axes, strict=True):
            told = re.findall(r"<!-- +(.*?) -->", picture)  # what matplotlib tells beside the outlines of each text
            assert any(words.startswith(axis) for words in told)
            assert set(rungs) <= set(told)


def test_another_study_needs_another_name_only(shown):
    assert "1 run diverged, and counted in n: none seed 0." in shown[1]
    assert "13 of 16 images are missed by all 2 runs" in shown[1], "the run that diverged had nothing right"
    assert "there is no second seed to compare with." in shown[1]


def test_the_tour_needs_neither_torch_nor_jupyter(shown):
    assert shown[2].strip() == ""


if __name__ == "__main__":
    for source in SOURCES:
        made = json.dumps(notebook(source.read_text()), indent=1, ensure_ascii=False)
        source.with_suffix(".ipynb").write_text(made + "\n")
