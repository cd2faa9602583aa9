import pydantic
import pytest

from harness.parts.augment import Flip, Shift
from harness.parts.decay import DecayAll
from harness.spec import Spec, first_error


def test_a_part_is_a_frozen_value(tiny):
    assert Shift(pixels=2) == Shift(pixels=2) != Shift(pixels=1)
    assert len({Shift(pixels=2), Shift(pixels=2), Flip()}) == 2
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        tiny.epochs = 3
    with pytest.raises(pydantic.ValidationError, match="Extra inputs are not permitted"):
        Shift(pixel=2)  # type: ignore[call-arg]


def test_a_change_is_validated_as_a_new_value_is(tiny):
    changed = tiny.but(epochs=9)
    assert (changed.epochs, tiny.epochs) == (9, 6)
    assert changed.id != tiny.id, "an id that was read before is not carried over"
    for wrong in ({"epochs": 0}, {"epochs": "many"}, {"epoch": 3}, {"model": Shift()}, {"augment": (DecayAll(),)}):
        with pytest.raises(pydantic.ValidationError):
            tiny.but(**wrong)


@pytest.mark.parametrize("part", [Flip(), Shift(pixels=1)])
def test_a_part_where_a_tuple_is_due_is_said_in_a_line(part, tiny):
    """It would be taken for the tuple of its fields: of Flip, which has none, for an empty slot."""
    own = type(part).__name__
    for make in (tiny.but, lambda **slot: Spec(**{**dict(tiny), **slot})):
        with pytest.raises(pydantic.ValidationError) as error:
            make(augment=part)
        assert first_error(error.value) == f"augment is a tuple of parts: augment=({own}(…),), not augment={own}(…)"
    assert tiny.but(augment=[part]).augment == (part,)


def test_a_slot_has_one_of_a_kind(tiny):
    spec = tiny.but(augment=(Shift(pixels=1), Flip()))
    assert spec.having("augment", Shift(pixels=3)).augment == (Shift(pixels=3), Flip())
    assert tiny.having("augment", Flip()).augment == (Shift(pixels=1), Flip())
