import pytest

from harness.spec import MAY, Spec, may


def test_every_slot_says_what_it_may_move():
    assert set(MAY) == set(Spec.model_fields)
    assert may(("schedule.warmup",)) == ("rates",)
    assert set(may(("mix", "epochs"))) == {"mixing", "teacher", "rates", "steps"}
    assert may(()) == ()
    with pytest.raises(KeyError):
        may(("no slot",))
