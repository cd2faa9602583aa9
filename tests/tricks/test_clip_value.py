import pytest

from harness import Problem
from harness.parts.clipping import ClipValue
from harness.tricks.clip_norm import clip_norm
from harness.tricks.clip_value import clip_value


def test_it_is_the_part_that_detectors_have(tiny):
    """Whose arithmetic `tests/parts/test_clipping.py` tries by hand."""
    assert clip_value(tiny, most=2.0).clip == (ClipValue(most=2.0),)
    assert clip_value(clip_value(tiny), most=2.0).clip == (ClipValue(most=2.0),)


def test_two_ways_to_clip_are_refused(tiny):
    with pytest.raises(
        Problem, match="^clip has ClipNorm, and there is room for one: leave out ClipValue, or ClipNorm$"
    ):
        clip_value(clip_norm(tiny))
