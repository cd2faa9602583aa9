import pytest
import torch
from torch import nn

from harness import Problem
from harness.spec import Model
from harness.tricks.dropblock import dropblock
from harness.tricks.sam import sam
from harness.tricks.torch_compile import COUNTED, torch_compile
from tests.kit.stops import Stops, trained, untimed
from tests.mutants.quick import COMPILED, PLAIN


def test_what_one_seed_compiled_serves_the_next():
    first = trained(COMPILED).result
    before, ran = COUNTED.compiled, COUNTED.ran
    second = trained(COMPILED, seed=1).result
    assert first["status"] == second["status"] == "finished"
    assert COUNTED.compiled == before > 0
    assert COUNTED.ran == ran + len(second["epochs"]) * (second["images"]["train"] // 99)
    assert second["passes"]["way"] == "compiled"
    assert second["passes"]["compared"] > 16


def test_it_is_the_same_network_in_other_sums():
    plain, other = trained(PLAIN), trained(COMPILED)
    losses = [[row["loss"] for row in each.result["epochs"]] for each in (plain, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for (name, a), b in zip(plain.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)


def test_a_run_that_is_stopped_goes_on_and_its_calls_are_counted_over_both():
    stopped = Stops([12])
    with pytest.raises(KeyboardInterrupt):
        trained(COMPILED, keeper=stopped)
    again = trained(COMPILED, keeper=stopped).result
    assert again["status"] == "finished"
    assert untimed(again) == untimed(trained(COMPILED).result)


def test_a_gradient_at_other_weights_is_compiled_too():
    spec = sam(COMPILED)
    result = trained(spec).result
    assert result["status"] == "finished"
    (row,) = (row for row in result["evidence"] if row["what"] == "forward passes by the compiled network")
    assert int(row["seen"]) == 2 * spec.epochs * (result["images"]["train"] // spec.batch_size)


class Hard(Model):
    """Dropout; and a bias before batch norm, whose gradient is but noise."""

    def build(self, channels, classes):
        first = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 8), nn.BatchNorm1d(8), nn.ReLU())
        return nn.Sequential(first, nn.Dropout(), nn.Linear(8, classes))


def test_dropout_draws_what_it_draws_as_written_and_gradients_that_are_noise_are_no_gap():
    result = trained(torch_compile(PLAIN.but(model=Hard()))).result
    assert (result["status"], result["passes"]["way"]) == ("finished", "compiled")


def test_a_network_that_is_told_its_step_is_refused_before_it_is_trained(tiny):
    with pytest.raises(Problem, match="would compile anew at each step"):
        torch_compile(dropblock(tiny)).agree()
