from harness.tricks.freeze import freeze
from harness.tricks.linear_probe import linear_probe


def test_the_head_alone_learns_whatever_was_frozen_before(tiny):
    for spec in (linear_probe(tiny), linear_probe(freeze(tiny)), freeze(linear_probe(tiny))):
        net = spec.model.build(1, 10)
        assert {name for name, _ in net.named_parameters() if not spec.frozen(name)} == {"fc.weight", "fc.bias"}
