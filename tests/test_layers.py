"""Who may import whom: each room only from the floors above its own, and no two modules from each other."""

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.kit import shipped
from tests.kit.imports import TREE, graph, imports, inner, outer

FLOORS = (  # from the top: its rooms, which may not import each other, and what it is
    ("harness", "a user's mistake in one line, and text that is fit to be shown"),
    ("paths", "where files lie, and writing them whole"),
    ("rng", "streams of random numbers, each by its purpose"),
    ("spec", "what a run is: slots, parts, ids"),
    ("stats", "statistics of a few runs: numpy and scipy alone"),
    ("metrics", "what runs may be compared by"),
    ("cli", "what the command lines share"),
    ("ranks", "processes that train one run together"),
    ("evidence", "what a run showed of itself"),
    ("parts", "what fills the slots"),
    ("tricks", "one trick a file"),
    ("tasks", "what a network is trained to answer"),
    ("passes", "how a pass is executed"),
    ("train", "the one training loop"),
    ("store", "records of runs on disk"),
    ("study", "plans of runs, and what they will cost"),
    ("report", "from records to tables, figures, pages"),
    ("outcomes", "a study's results for use from code, and its networks"),
    ("engine", "processes that train runs"),
    ("contract", "what every trick keeps to"),
    ("planned", "the options that say which runs a command is about"),
    ("where", "the options that say where runs execute"),
    ("tracking", "trackers, as projections of the store"),
    ("search", "searches of hyper-parameters"),
    ("simulate", "the scheduler in simulated time; and runs that sleep"),
    ("store.command", "what harness.store does with records, plans and studies"),
    (
        "__main__ ablate bench check compare doctor export gallery landscape new plan prepare sync weights worker "
        "report.__main__ search.__main__ store.__main__ tricks.__main__",
        "the command lines, which nothing imports",
    ),
)
FLOOR = {
    "harness" if room == "harness" else f"harness.{room}": floor
    for floor, (rooms, _) in enumerate(FLOORS)
    for room in rooms.split()
}
HARNESS = [name for name in graph() if name.partition(".")[0] == "harness"]


def room(name):
    """The room that a module is of; a package is one, whose modules may import each other."""
    owners = [place for place in FLOOR if name == place or (place != "harness" and name.startswith(f"{place}."))]
    assert owners, f"{name} is in no room: say in FLOORS which it may import from and which may import it"
    return max(owners, key=len)


def test_imports_are_read_wherever_they_stand():
    source = """
import numpy as np
if TYPE_CHECKING:
    import seen.by.checkers
def f():
    from . import sibling
    from harness.spec import Spec
    def g():
        import deep.er
        importlib.import_module("named")
"""
    run = {"numpy", "deep.er", "named", "harness.parts", "harness.parts.sibling", "harness.spec", "harness.spec.Spec"}
    assert imports(source, "harness.parts", checking=False) == run
    assert imports(source, "harness.parts") == run | {"seen.by.checkers"}


DOOR = ("harness", "harness.outcomes")  # harness.results opens that room when it is called: what it is to a user


@pytest.mark.parametrize("name", HARNESS)
def test_each_room_imports_from_the_floors_above_its_own(name):
    here = room(name)
    below = {other for other in inner(name) if room(other) != here and FLOOR[room(other)] >= FLOOR[here]}
    others = sorted(other for other in below if (name, room(other)) != DOOR)
    assert not others, f"{name} imports {', '.join(others)}, of a floor that is not above its own"


def test_no_two_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter({name: inner(name) - ({DOOR[1]} if name == DOOR[0] else set()) for name in graph()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' imports '.join(reversed(error.args[1]))}")


def test_parts_know_no_trick():
    parts = [name for name in HARNESS if name.startswith("harness.parts.")]
    assert len(parts) > 10
    for name in parts:
        assert not [module for module in inner(name) if module.startswith("harness.tricks")]


def test_experiments_are_made_of_parts_tricks_and_tasks():
    allowed = ("harness.spec", "harness.parts", "harness.tricks", "harness.tasks", "experiments")
    for name in set(graph()) - set(HARNESS):
        assert not [module for module in inner(name) if not module.startswith(allowed)]
        assert not [module for module in HARNESS if name in inner(module)], "no room imports a study by name"


def test_the_loop_names_no_trick():
    source = (TREE / "harness" / "train.py").read_text()
    words = set("".join(c if c.isalnum() or c == "_" else " " for c in source.lower()).split())
    assert shipped.TRICKS
    assert not shipped.TRICKS & words


@pytest.mark.parametrize("room", ["train.py", "evidence/*.py"])
def test_neither_the_loop_nor_the_evidence_names_a_task(room):
    for path in (TREE / "harness").glob(room):
        words = set(re.findall(r"\w+", path.read_text().lower()))
        assert not words & {"classify", "top1", "top5", "val_loss", "cross_entropy", "one_hot", "argmax"}, path.name


def of_room(name):
    return [module for module in HARNESS if room(module) == name]


def used(name):
    """All distributions that a room imports."""
    return set().union(*map(outer, of_room(name)))


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard", "wandb", "trackio"])
def test_only_tracking_imports_a_tracker(tracker):
    assert {room(name) for name in graph() if tracker in outer(name)} <= {"harness.tracking"}


def test_spec_is_light():
    assert used("harness.spec") == {"pydantic"}


@pytest.mark.parametrize("name", [name for name in HARNESS if name.startswith(("harness.report", "harness.stats"))])
def test_reports_need_neither_torch_nor_mlflow(name):
    assert not outer(name) & {"torch", "torchvision", "mlflow"}


def test_statistics_need_numpy_and_scipy_only():
    assert used("harness.stats") <= {"numpy", "scipy"}


def test_the_package_and_its_results_load_no_torch():
    """Results load it when a network is asked for; the package alone loads no pandas either."""
    code = "import sys, harness; a = set(sys.modules); harness.results; import harness.outcomes; b = set(sys.modules); "
    code += "print({'torch', 'pandas', 'numpy', 'pydantic'} & a, {'torch', 'mlflow'} & b)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TREE)
    assert done.stdout.strip() == "set() set()"


def test_reports_load_neither_torch_nor_mlflow():
    """Not through other rooms either."""
    code = "import sys, harness.report; print(*{'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TREE)
    assert done.stdout.strip() == ""
