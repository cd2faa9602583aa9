import pytest

from harness.tricks.distillation import distillation


@pytest.fixture
def taught(tiny):
    return distillation(tiny, model=tiny.model)
