"""Names from outside stay in their cell, folder or file; and what the program never does, read from its source.

Every name below is put into every sink as a rung's name and title, a setting, a device and, where it may be any text,
the study's name. A sink is read back by a parser that is not the harness's, and must look as it does with a plain name.
"""

import ast
import contextlib
import csv
import functools
import html.parser
import io
import json
import re
import sys
import tarfile
import tempfile
import warnings
from argparse import ArgumentParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from harness import Problem, cli, report, study, without_password
from harness.report import figures, frames, page, tables
from harness.store import Store, archive, spec_hash
from tests.kit import shipped
from tests.kit.hostile import NAMES, size_of
from tests.kit.tiny import BASELINE

ROOT = Path(__file__).parent.parent
SINKS = {}


def sink(name):
    return lambda function: SINKS.setdefault(name, function)


# --- the sinks: (name, what a reader must see, an empty folder) -----------------------------------------------------


class Records:
    """Three rungs of three seeds, a fourth is missing. The second, which has the name, loses 2, 2 and 1 points."""

    def __init__(self, device):
        self.device = device

    def __contains__(self, run):
        return run[1] < 3

    root = Path("nowhere")

    def refused(self, rung, seed):
        return None

    def read(self, rung, seed, known=False):
        return {
            "status": "diverged" if (rung, seed) == ("b", 2) else "finished",
            "metrics": {"top1": {"a": (90, 91, 92), "b": (88, 89, 91), "c": (95, 97, 94)}[rung][seed]},
            "params": 1000,
            "macs": 1_500_000,
            "seconds": 1.0,
            "seconds_per_epoch": 0.5,
            "precision": {"name": "FP32", "emulated": rung == "c"},
            "environment": {"device_name": self.device, "commit": "c"},
            "images": {"train": 8, "test": 8},
            "correct": "ff",
            "epochs": [{"epoch": i, "loss": 1.0, "top1": 50.0 + i, "lr": 0.1} for i in range(2)],
            "evidence": [
                {"part": self.device, "what": self.device, "expected": "1", "seen": self.device, "ok": seed < 2}
            ],
        }


def a_plan(name, label="s", names=None):
    rungs = [
        {"name": n, "title": n, "id": i, "epochs": 2, "seeds": [0, 1, 2, 3], "on": [], "also": [], "may": []}
        | {"gain": ["abc".index(i), "abc".index(i) - 1] if i > "a" else None}
        for n, i in zip(names or ("baseline", name, "two"), "abc", strict=True)
    ]
    plan = {"study": label, "label": label, "about": name, "command": [name], "settings": [f"data.root={name}"]}
    return plan | {"design": "ladder", "decide": None, "tricks": [], "rungs": rungs, "upstream": []}


@functools.cache
def every_table(name):
    """The texts of the files of a table that was written with `name` wherever a name can be, by their endings."""
    plan = a_plan(name)
    every = frames.runs(plan, Records(name))
    table, proof = frames.rungs(plan, every), frames.evidence(plan, every)
    notes = frames.footnotes(plan, every, table)
    made = page.page(name, name, {"Rungs": tables.shown(table)}, notes, {}, proof, report.commands(plan, every))
    with tempfile.TemporaryDirectory() as folder:
        tables.write(Path(folder), name, "ladder", table, None, proof, notes)
        return {file.suffix: file.read_bytes().decode() for file in Path(folder).glob("table.*")} | {".html": made}


def in_notes(shown, notes):
    """A setting, a device, a diverged and a missing run have the name; settings may be longer than names."""
    begin = shown.removesuffix("…")
    assert f"data.root={begin}" in re.sub("root= ", "root=", notes)
    assert f"on {shown}." in notes
    assert f"{shown} seed 2" in notes
    assert f"{shown} (1 of 4)" in notes


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *((key, key == "aria-label" or value) for key, value in attributes)))  # a label names
        self.texts.append("")

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def handle_comment(self, data):
        self.tags.append("comment")

    def of(self, tag):
        opened = [entry for entry in self.tags if isinstance(entry, tuple)]
        return [text.strip() for entry, text in zip(opened, self.texts, strict=True) if entry[0] == tag]


@sink("HTML")
def _(name, shown, folder):
    seen = Page(every_table(name)[".html"])
    assert seen.tags == Page(every_table("plain")[".html"]).tags
    assert {"baseline", shown, "two ‡"} <= set(seen.of("th"))
    assert seen.of("title") == seen.of("h1") == [shown]
    in_notes(shown, "\n".join(seen.of("li")))


TYPESET = {rf"\{letter}": letter for letter in "$&%#_{}"} | {
    "\\textbackslash ": "\\",
    "\\textasciitilde ": "~",
    "\\textasciicircum ": "^",
    "\\space ": " ",
    r"\dots{}": "…",
}


def tex(text):
    """(what steers, what is read) of LaTeX. A [ or a * steers where the end of the row above would take it."""
    steering, read = [], ""
    for match in re.finditer(rf"{'|'.join(map(re.escape, TYPESET))}|\\[A-Za-z]+|\\.|.", text, re.DOTALL):
        token = match[0]
        taken = token in "[*" and re.search(r"\\(\\|midrule)\s*$", text[: match.start()])
        if token in TYPESET:
            read += TYPESET[token]
        elif taken or token[0] in "\\{}$&%#_^~":
            steering.append(token)
        else:
            read += token
    return "".join(steering).replace("{}", ""), read  # an empty group does nothing


@sink("LaTeX")
def _(name, shown, folder):
    text, plain = every_table(name)[".tex"], every_table("plain")[".tex"]
    steering, read = tex(text)
    assert steering == tex(plain)[0]
    assert len(text.splitlines()) == len(plain.splitlines())
    row = text.split("\\midrule\n")[1].splitlines()[1]
    assert tex(re.split(r"(?<!\\)&", row)[0])[1].strip() == shown
    assert f"{shown}: Top-1 in percent" in read
    in_notes(shown, read)


@sink("CSV")
def _(name, shown, folder):
    rows = list(csv.reader(io.StringIO(every_table(name)[".csv"], newline="")))
    assert [len(row) for row in rows] == [len(rows[0])] * 4
    assert all(not re.match(r"[=+\-@\t\r＝＋－＠]", row[0]) for row in rows)
    assert rows[2][0] in (shown, f"'{shown}")
    assert rows[2][0] == f"'{shown}" or shown[0] not in "=+-@＝"
    gain = rows[2][rows[0].index("gain")]
    assert gain.startswith("-")
    assert float(gain) == pytest.approx(-5 / 3)


def markdown(text):
    """(kinds of block and of what is in each line, the text of each line), by CommonMark with tables."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    lines = [token for token in tokens if token.type == "inline"]
    kinds = [token.type for token in tokens] + [[child.type for child in line.children] for line in lines]
    return kinds, ["".join(child.content for child in line.children) for line in lines]


@sink("Markdown")
def _(name, shown, folder):
    text = every_table(name)[".md"]
    kinds, lines = markdown(text)
    assert kinds == markdown(every_table("plain")[".md"])[0]
    columns = kinds.count("th_open")
    assert lines[1 + columns :: columns][:3] == ["baseline", shown, "two ‡"]
    assert lines[0] == shown
    in_notes(shown, "\n".join(lines))
    assert text.replace("\n", "").isprintable()


def drawn(name, folder):
    plan = a_plan(name)
    every = frames.runs(plan, Records(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter the font lacks is a box
        forest(folder, name, plan, every)
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    elements = list(ElementTree.parse(folder / "ladder.svg", parser).iter())
    return elements, size_of((folder / "ladder.png").read_bytes())


def forest(folder, name, plan, every):
    drawn = figures.forest(name, every, frames.rungs(plan, every), frames.seeds_as_dots(plan, every))
    figures.save(folder, "ladder", drawn)


@functools.cache
def size_of_plain():
    figure = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        keep = lambda path, data: path.suffix == ".png" and figure.write(data)  # noqa: E731
        patch.setattr(sys.modules["harness.report.figures.style"], "write_atomic", keep)  # `style` is a function
        plan = a_plan("plain")
        every = frames.runs(plan, Records("plain"))
        forest(Path(), "plain", plan, every)
    return size_of(figure.getvalue())


@sink("figure")  # whose letters `report/figures/test_figures.py` reads
def _(name, shown, folder):
    elements, size = drawn(name, folder)
    tags = {element.tag.split("}")[-1] for element in elements if isinstance(element.tag, str)}
    drawing = {"svg", "g", "defs", "style", "path", "use", "clipPath", "rect"}
    about = {"metadata", "RDF", "Work", "type", "format", "creator", "Agent", "title"}
    assert tags <= drawing | about
    assert size == size_of_plain()


@contextlib.contextmanager
def nothing_left(folder):
    """A folder of a user's own deep in `folder`, with what a name may lead to in each folder above; all stays so."""
    home = folder / "a" / "b" / "home"
    for inner in ("runs/studies", "runs/reports", "experiments"):
        (home / inner).mkdir(parents=True)
    for above in (folder, *(path for path in folder.rglob("*") if path.is_dir() and path.name != "experiments")):
        (above / "x.json").write_text(json.dumps(a_plan("x")))
        (above / "x.py").write_text("from pathlib import Path\nPath(__file__).with_name('imported').touch()\n")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(home / "runs"))
        patch.chdir(home)
        yield
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def refused(call, *arguments, why="cannot be a study's name"):
    with pytest.raises(Problem, match=why) as problem:
        call(*arguments)
    assert str(problem.value).isprintable()
    assert len(str(problem.value)) < 300


@sink("report's folder")
def _(name, shown, folder):
    with nothing_left(folder):
        refused(report.render, a_plan("x", label=name), Records("d"))


@sink("remembered plan")
def _(name, shown, folder):
    with nothing_left(folder):
        refused(report.plan_path, name)
        refused(report.remember, a_plan("x", label=name))
        refused(report.recall, name)


@sink("study's file")
def _(name, shown, folder):
    with nothing_left(folder):
        refused(study.load, name, why="cannot be a study's name|no study")  # it may be an address


@sink("title")
def _(name, shown, folder):
    def trick(spec):
        return spec.but(epochs=spec.epochs + 1)

    trick.__doc__, trick.__name__ = name, name
    rung = study.plan(study.Study("s", "", BASELINE, (trick,), (0,))).rungs[1]
    assert rung.name == shown
    title = rung.title.removeprefix("+ ")
    assert title
    assert title.isprintable()
    assert len(title) <= 80
    assert title == shown or shown.startswith(title) or ":" in shown


@sink("terminal")
def _(name, shown, folder):
    def fail(options):
        raise Problem(f"about {name}")

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr("sys.argv", ["x"])
        with pytest.raises(SystemExit):
            cli.main(ArgumentParser(prog="p"), fail)
    line = said.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert line.startswith(f"p: about {shown.removesuffix('…')}")
    assert len(line) < 2100


@functools.cache
def known_to_mlflow():
    """All names are put into one experiment, each as the title, a parameter and the command of a run of its own.

    In a folder of their own, whatever address an earlier test left: MLflow puts it into the environment.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("HARNESS_RUNS", folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return sent_to_mlflow()


def sent_to_mlflow():
    from harness.tracking import Projection

    store, titles, ids = Store(), {}, {}
    for name, _ in NAMES.values():
        resolved = {"kind": "Spec", "data": {"kind": "Digits", "root": name}}
        ids[name] = spec_hash(resolved)
        titles[ids[name]] = name
        with store.claim(ids[name], 0) as claim:
            claim.begin({"spec": resolved, "resolved": resolved})
            claim.note("epoch", epoch=0, loss=1.0)
    for name, spec_id in ids.items():
        Projection("names", titles, store, name).send((spec_id, 0))
    sink = Projection("names", titles, store, "").sink
    found = sink.client.search_runs([sink.experiment])
    children = {run.data.tags["spec_id"]: run for run in found if "spec_id" in run.data.tags}
    commands = {run.info.run_id: run.data.tags["command"] for run in found if "command" in run.data.tags}
    return ids, children, commands


@sink("MLflow")
def _(name, shown, folder):
    ids, children, commands = known_to_mlflow()
    run = children[ids[name]]
    start = shown.removesuffix("…")
    assert run.info.run_name.startswith(start)
    assert run.info.run_name.endswith(", seed 0") or len(run.info.run_name) == 250
    assert set(run.data.params) == {"data", "data.root"}
    values = run.data.tags["rung"], run.data.params["data.root"], commands[run.data.tags["mlflow.parentRunId"]]
    for value in values:
        assert value.startswith(start)
        assert value.isprintable()
        assert len(value) <= 6000


@sink("store archive")
def _(name, shown, folder):
    with nothing_left(folder), tempfile.NamedTemporaryFile() as file:
        with tarfile.open(file.name, "w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        refused(archive.bring, Store(Path("runs/store")), Path(file.name), why="is no archive of runs")


@pytest.mark.parametrize("where", SINKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_where_it_belongs(name, where, tmp_path):
    SINKS[where](*NAMES[name], tmp_path)


# --- names that are as they should be -------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["digits", "digits@12ab34", "my-study", "größe", "2024_study"])
def test_ordinary_names_of_studies_are_taken(label, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setattr(report, "draw", lambda *_: ())
    report.remember(a_plan("plain", label))
    made = report.render(report.recall(label), Records("d"))
    assert made.folder == tmp_path / "reports" / label
    assert {path.name for path in tmp_path.iterdir()} == {"reports", "studies"}


@pytest.mark.parametrize("names", [("baseline", "a", "a"), ("baseline", "x" * 100 + "a", "x" * 100 + "b")])
def test_rungs_whose_names_look_the_same_are_not_one(names):
    plan = a_plan("", names=names)
    table = frames.rungs(plan, frames.runs(plan, Records("d")))
    assert list(table["n"]) == [3, 3, 3]
    assert list(table["top1_mean"]) == pytest.approx([91, 268 / 3, 286 / 3])
    assert list(table["gain"][1:]) == pytest.approx([-5 / 3, 6])


@pytest.mark.parametrize("docstring", [None, "", ":", " \n", ": what it is", "\n: x"])
def test_a_trick_without_a_title_is_called_by_its_name(docstring):
    def plain(spec):
        return spec

    plain.__doc__ = docstring
    assert study.trick_title(plain) == "plain"


def test_the_command_line_refuses_a_name_that_leads_elsewhere(monkeypatch, capsys, tmp_path):
    from harness.report import __main__ as command

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["harness.report", "../../x"])
    with pytest.raises(SystemExit) as done:
        cli.main(command.parser(), command.run)
    assert done.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("harness.report: '../../x' cannot be a study's name")
    assert said.count("\n") == 1


# --- passwords ------------------------------------------------------------------------------------------------------

ADDRESSES = {  # and what may be seen of them
    "postgresql://me:w0rd@db.org:5432/mlflow": "postgresql://me:***@db.org:5432/mlflow",
    "postgresql+psycopg2://me@corp:w0rd@db.org/m": "postgresql+psycopg2://me@corp:***@db.org/m",
    "postgresql://me:se@w0rd@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://me:se:w0rd@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://me:se/w0rd@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://me:se?w0rd#x@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://me:se%40w0rd%2F@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://me:se w0rd@db.org/m": "postgresql://me:***@db.org/m",
    "postgresql://:w0rd@db.org/m": "postgresql://:***@db.org/m",
    "postgresql:/me:w0rd@db.org/m": "postgresql:/me:***@db.org/m",
    "me:w0rd@db.org/m": "me:***@db.org/m",
    "postgresql://db.org/m?user=me&password=se@w0rd&x=1": "postgresql://db.org/m?user=me&password=***&x=1",
    "postgresql://db.org:9/m?user=me&password=S3C@RET": "postgresql://db.org:9/m?user=me&password=***",
    "http://me:w0rd@127.0.0.1:5000": "http://me:***@127.0.0.1:5000",
    "https://w0rd@db.org/api": "https://***@db.org/api",
    "https://db.org/api?token=w0rd": "https://db.org/api?token=***",
    "https://db.org/api?access_token=w0rd&API-Key=w0rd": "https://db.org/api?access_token=***&API-Key=***",
    "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dw0rd": "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D***",
    "postgresql://mlflow:mlflow@mlflow/mlflow": "postgresql://mlflow:***@mlflow/mlflow",
    "postgresql://me@db.org/m": "postgresql://me@db.org/m",
    "http://127.0.0.1:5000": "http://127.0.0.1:5000",
    "sqlite:////home/me/runs/mlflow.db": "sqlite:////home/me/runs/mlflow.db",
}
QUOTED = [  # by errors, of which some cut an address where its password has an @ or a /
    "cannot reach {}: refused",
    "({}) and {!r}",
    "API request to {}/api/2.0/mlflow failed",
    "could not translate host name 'w0rd@db.org' to address",
    "Invalid port: 'w0rd'",
    "host='se', w0rd",
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES.items())
def test_a_password_is_seen_nowhere(address, shown):
    assert without_password(address, address) == shown
    for quoted in QUOTED if "w0rd" in address else ():
        assert "w0rd" not in without_password(quoted.format(address, address), address)
    if " " not in address and ":/" in address:
        assert (
            without_password(f"python -m x --storage {address} --jobs 2") == f"python -m x --storage {shown} --jobs 2"
        )


def test_a_text_without_a_password_stays():
    text = "digits@12ab34: http://127.0.0.1:5000/#/experiments/1, mail me@corp.org at 12:30, a@b:c, tokens=3, lr=0.1"
    assert without_password(text) == without_password(text, "http://127.0.0.1:5000") == text


# --- what the program never does ------------------------------------------------------------------------------------

RUN_WHAT_THEY_READ = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "yaml", "shelve", "marshal"}


def faults(source):
    """What in `source` runs what it reads, or listens to other machines; a line each."""
    tree = ast.parse(source)
    full = {"torch": "torch", "np": "numpy", "numpy": "numpy"}  # a local name, and what it is
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def named(node):
        first, dot, rest = ast.unparse(node).partition(".")
        return full.get(first, first) + dot + rest

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in RUN_WHAT_THEY_READ)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUN_WHAT_THEY_READ:
            yield node.module
        elif isinstance(node, ast.Name) and node.id in ("eval", "exec"):
            yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle"):
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value == "0.0.0.0":
            yield node.value
        elif isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if named(node.func) == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load"
            if named(node.func) == "numpy.load" and given.get("allow_pickle", "False") != "False":
                yield "numpy.load"
            if named(node.func).endswith(("import_module", "__import__")):
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                yield from (word for word in words if str(word).split(".")[0] in RUN_WHAT_THEY_READ)
    yield from listens(tree)


def listens(tree):
    """Addresses other than 127.0.0.1 that a server is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            for word, value in zip(node.elts, node.elts[1:], strict=False):
                if ast.unparse(word) == "'--host'" and ast.unparse(value) != "'127.0.0.1'":
                    yield f"--host {ast.unparse(value)}"
        if not isinstance(node, ast.Call):
            continue
        where = ast.unparse(node.func)
        places = [word.value for word in node.keywords if word.arg in ("host", "address", "server_address")]
        if where.endswith(("Server", ".bind", "create_server")):
            places += node.args[:1]
        for place in places:
            if isinstance(place, ast.Tuple):
                place = place.elts[0]
            elif where.endswith(".bind"):
                continue  # a teacher is bound to a model, a socket to a pair
            if ast.unparse(place) != "'127.0.0.1'":
                yield f"{where} at {ast.unparse(place)}"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import yaml as y",
        "def f():\n    from marshal import loads",
        "from joblib.memory import Memory",
        "importlib.import_module('shelve')",
        "eval(text)",
        "map(exec, texts)",
        "pd.read_pickle(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "import torch as t\nt.load(path)",
        "from torch import load\nload(path)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
        "host = '0.0.0.0'",
        "run(['mlflow', 'ui', '--host', host])",
        "HTTPServer(('', 80), handler)",
        "socket.bind(('', 80))",
        "serve(host='::')",
    ],
)
def test_what_must_not_be_is_found(source):
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "part.bind(model)",
        "run(['mlflow', 'ui', '--host', '127.0.0.1'])",
        "ThreadingHTTPServer(('127.0.0.1', 0), handler)",
    ],
)
def test_what_may_be_is_not_found(source):
    assert not list(faults(source))


OURS = filter(shipped.ours, (ROOT / "harness").rglob("*.py"))


@pytest.mark.parametrize("path", sorted(OURS), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_runs_what_it_reads_or_listens_to_other_machines(path):
    assert not list(faults(path.read_text()))
