import copy

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, update_bn

from harness import Problem
from harness.rng import streams
from harness.tricks.swa import SWA, swa
from tests.mutants.breaking import TINY, traced
from tests.tricks.test_lookahead import Weights

SPEC = swa(TINY.but(batch_size=298, epochs=4), last=2)


def test_the_mean_and_its_statistics_are_torchs():
    """Of the weights after the third and the fourth epoch of the plain run; `update_bn` by the fourth's images."""
    keeper = Weights()
    traced(SPEC.but(average=()), keeper=keeper)
    trained, _ = traced(SPEC)
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    model = copy.deepcopy(trained.model)
    theirs = AveragedModel(model)
    for weights in keeper.kept[2:]:
        model.load_state_dict(weights)
        theirs.update_parameters(model)
    images = SPEC.data.load()
    batches = images.train(3, 298, SPEC.augment, streams(0), torch.device("cpu"))
    with torch.no_grad():
        update_bn((x.contiguous(memory_format=torch.channels_last) for x, _ in batches), theirs)
    for name, tensor in theirs.module.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(trained.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_what_goes_in_when():
    part = SWA(last=3)
    shares = [part.share(step, 2, 5) for step in range(10)]
    assert shares == [0, 1, 0, 1, 0, 1, 0, 0.5, 0, pytest.approx(1 / 3)]
    assert [part.renewing(epoch, 5) for epoch in range(5)] == [0, 0, 0, 100, 100]
    for own in (part, SWA(), SWA(last=1)):
        for per, epochs in ((2, 5), (7, 40), (1, 3)):
            for step in range(per * epochs):
                assert own.share(step, per, epochs) == pytest.approx(own.reference(step, per, epochs))
    assert SWA().first(40) == 30


def test_it_has_no_more_epochs_than_the_run():
    with pytest.raises(Problem, match="averages last=5 epochs of epochs=4"):
        swa(SPEC, last=5).agree()


def test_passes_of_a_batch_are_as_in_training():
    trained, trace = traced(SPEC.but(microbatch=149))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert [gaps["passes"] for gaps in trace.auditor.renewed] == [0]
    assert np.isfinite(trace.auditor.renewed[0]["statistics"])
