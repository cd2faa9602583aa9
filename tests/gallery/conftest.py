import pytest
import torch

from harness.engine import execute
from harness.store import Store
from tests.kit.tiny import BASELINE


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    """The tiny study's baseline, trained."""
    made = Store(tmp_path_factory.mktemp("runs") / "store")
    execute(BASELINE, 0, made, torch.device("cpu"))
    return made
