from importlib import import_module

import optuna
import pytest

from harness.report import search as report
from tests.kit.trials import SEARCH, mixed


@pytest.fixture(autouse=True, scope="package")
def few_shuffles():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            import_module("harness.report.search.matters"), "SHUFFLES", 39
        )  # the package has a function so called
        yield


@pytest.fixture(scope="package")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return folder, report.render(SEARCH, mixed(), folder)
