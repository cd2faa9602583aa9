"""Every test runs on one thread, and what the harness leaves goes to a folder that is removed at the end."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

SHARED = Path("/dev/shm")  # memory: a store syncs each file that it writes, which a disk takes milliseconds for
if os.access(SHARED, os.W_OK) and shutil.disk_usage(SHARED).free > 4e9:  # a container's are 64 MB
    tempfile.tempdir = os.environ.setdefault("TMPDIR", str(SHARED))
FOLDER = tempfile.TemporaryDirectory(prefix="harness-runs-")
os.environ["HARNESS_RUNS"] = FOLDER.name  # here, not in a fixture: test modules are imported before any fixture runs
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what a GPU does, python -m harness.doctor asks
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))  # `experiments` is no installed package


SECONDS = Counter[str]()  # of each file's tests, added over processes
SLOWEST = 20  # files that are told of


FIRST = (  # files of minutes, the longest first: one that began last would leave the other process without work
    *("test_mutants", "faults/test_faults", "test_contract", "engine/test_slurm", "test_ranks", "test_ablate"),
    *("test_wheel", "test_shipped", "engine/test_ray", "parts/test_optimizers", "engine/test_ranks", "bench/test_main"),
    *("bench/test_evidence", "parts/data/test_decoding", "search/test_driver", "engine/test_local"),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    place = {f"tests/{name}.py": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


def pytest_runtest_logreport(report):
    SECONDS[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter, config):
    """Where the time of a suite went, so that the slowest can pay; of a few files it is known."""
    if hasattr(config, "workerinput") or len(SECONDS) < SLOWEST:
        return
    told = ", ".join(f"{name.removeprefix('tests/')} {seconds:.0f}" for name, seconds in SECONDS.most_common(SLOWEST))
    terminalreporter.write_line(f"{SECONDS.total():.0f} s of tests, of {len(SECONDS)} files; the slowest: {told}")


@pytest.fixture(scope="session", autouse=True)
def no_pdf():
    """They take as long as all else of a figure; `tests/report/figures` draws them."""
    import_module("harness.report.figures.style").PDF = False


@pytest.fixture(scope="session", autouse=True)
def memory_is_kept():
    """As a worker's is: a page given back is a fault when it is needed again."""
    from harness.engine.worker import keep_freed

    keep_freed()


@pytest.fixture(autouse=True)
def one_thread():
    """Networks that other tests train afterwards would have other bits."""
    yield
    torch = sys.modules.get("torch")
    assert torch is None or torch.get_num_threads() == 1


@pytest.fixture(autouse=True)
def no_module_of_a_users_stays(tmp_path_factory):
    """Other tests' users may call theirs the same, and libraries too."""
    before, users = set(sys.modules), f"{tmp_path_factory.getbasetemp()}{os.sep}"
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(users):
            del sys.modules[name]


@pytest.fixture(scope="session", autouse=True)
def folder_of_runs():
    yield Path(FOLDER.name)
    FOLDER.cleanup()


@pytest.fixture(scope="session")
def tiny():
    """The digits study's baseline with a slim network: two steps an epoch, and epochs enough for a warmup of 5."""
    from experiments.digits import BASELINE
    from harness.parts.data import Digits

    network = BASELINE.model.but(blocks=(1, 1), width=4)
    return BASELINE.but(data=Digits(limit_test=300), model=network, batch_size=298, epochs=6)


@pytest.fixture(scope="session")
def live(tiny):
    """Trains a specification, once, and gives (what was trained, the trace that its evidence was read from)."""
    from tests.mutants.breaking import traced

    return cache(traced)


@pytest.fixture(scope="session")
def audits(tiny):
    """Trains a specification, once, and gives (the trace, the audited steps as they were judged)."""
    from harness.evidence import audit
    from tests.mutants.breaking import traced

    @cache
    def run(spec, seed=0):
        steps, judged = [], audit.judged

        def keep(replay, step, first):
            steps.append((replay, step))
            return judged(replay, step, first)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(audit, "judged", keep)
            _, trace = traced(spec, seed)
        return trace, [step for replay, step in steps if replay is trace.auditor.replay]

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of runs of a study named tiny, its one rung trained at seed 0."""
    import torch

    from harness.engine import execute
    from harness.report import remember
    from harness.store import Store
    from harness.study import Study, describe, plan
    from tests.kit.tiny import BASELINE

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(folder))
        store = Store()
        execute(BASELINE, 0, store, torch.device("cpu"))
        remember(describe(plan(Study("tiny", "A study.", BASELINE, (), (0,))), store))
    return folder
