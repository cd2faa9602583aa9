import pytest
from torch import nn

from harness import Problem
from harness.parts.models import DENSENET201
from harness.tricks.resnet_b import resnet_b


@pytest.mark.parametrize(("variant", "becomes"), [("A", "B"), ("B", "B"), ("C", "C"), ("D", "D")])
def test_changes_the_variant_only(variant, becomes, tiny):
    spec = tiny.but(model=tiny.model.but(variant=variant))
    assert resnet_b(spec).model.variant == becomes
    assert resnet_b(spec).but(model=spec.model) == spec


def test_the_network_that_is_built_strides_in_the_3x3(tiny):
    def strides(spec):
        convs = (m for m in spec.model.build(1, 10).modules() if isinstance(m, nn.Conv2d))
        return [m.kernel_size for m in convs if m.stride == (2, 2)]

    assert strides(tiny) == [(1, 1), (1, 1)], "the body's first, and the shortcut's"
    assert strides(resnet_b(tiny)) == [(3, 3), (1, 1)]


def test_a_model_that_is_no_resnet_is_refused(tiny):
    with pytest.raises(Problem, match=r"^ResNet-B is about ResNets, and Timm\(name='densenet201'.*\) has no variant"):
        resnet_b(tiny.but(model=DENSENET201))
