import pytest
from torch import nn

from harness import Problem
from harness.parts.models import DENSENET201
from harness.tricks.resnet_c import resnet_c


@pytest.mark.parametrize(("variant", "becomes"), [("A", "C"), ("B", "C"), ("C", "C"), ("D", "D")])
def test_changes_the_variant_only(variant, becomes, tiny):
    spec = tiny.but(model=tiny.model.but(variant=variant))
    assert resnet_c(spec).model.variant == becomes
    assert resnet_c(spec).but(model=spec.model) == spec


def test_the_network_that_is_built_has_three_3x3(tiny):
    def stem(spec):
        convs = (m for m in spec.model.build(1, 10).get_submodule("stem").modules() if isinstance(m, nn.Conv2d))
        return [(m.kernel_size[0], m.stride[0], m.out_channels) for m in convs]

    large = tiny.but(model=tiny.model.but(small=False))
    assert stem(large) == [(7, 2, 4)]
    assert stem(resnet_c(large)) == [(3, 2, 2), (3, 1, 2), (3, 1, 4)]


def test_a_network_for_small_images_refuses_it(tiny):
    with pytest.raises(Problem, match="the stem of large images"):
        resnet_c(tiny).agree()


def test_a_model_that_is_no_resnet_is_refused(tiny):
    with pytest.raises(Problem, match=r"^ResNet-C is about ResNets, and Timm\(name='densenet201'.*\) has no variant"):
        resnet_c(tiny.but(model=DENSENET201))
