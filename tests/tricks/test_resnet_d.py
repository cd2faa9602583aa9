import pytest
from torch import nn

from harness import Problem
from harness.parts.models import INCEPTION_V3
from harness.study import Study, plan
from harness.tricks.resnet_d import resnet_d


@pytest.mark.parametrize("variant", "ABCD")
def test_changes_the_variant_only(variant, tiny):
    spec = tiny.but(model=tiny.model.but(variant=variant))
    assert resnet_d(spec).model.variant == "D"
    assert resnet_d(spec).but(model=spec.model) == spec


def test_the_network_that_is_built_averages(tiny):
    def pools(spec):
        net = spec.model.build(1, 10)
        return [(m.kernel_size, m.stride) for m in net.modules() if isinstance(m, nn.AvgPool2d)]

    assert pools(tiny) == []
    assert pools(resnet_d(tiny)) == [(2, 2)], "in the one block that halves the image"


def test_a_model_that_is_no_resnet_is_refused(tiny):
    spec = tiny.but(model=INCEPTION_V3)
    with pytest.raises(Problem, match=r"^ResNet-D is about ResNets, and Timm\(name='inception_v3'.*\) has no variant"):
        plan(Study("s", "", spec, (resnet_d,), (0,)))
