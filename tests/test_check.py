"""`harness.check` on studies of a user's own."""

import pytest
import torch

from harness import Problem, check
from harness.parts.data import Holdout
from harness.parts.stopping import EarlyStopping
from tests.kit import dense
from tests.kit.tiny import BASELINE as TINY

OWN = """
from harness.evidence import Check
from harness.spec import Augment, Branches, declares
from tests.kit.tiny import BASELINE

class Dimmed(Augment):
    def __call__(self, x, rng):
        return x * 0.9

class Proven(Dimmed):
    def __call__(self, x, rng):
        return x * 0.8
    def reference(self, x, rng):
        return x * 0.8

class Hiding(Dimmed):
    def __call__(self, x, rng):
        return x * 0.7
    def proof(self, spec, trace):
        yield Check("images dimmed", "yes", "yes", True)

CALLS = []

class Counting(Proven):
    def __call__(self, x, rng):
        CALLS.append(1)
        return x * len(CALLS)

class Torn(Dimmed):
    def proof(self, spec, trace):
        yield trace.no_such_thing

class Idle(Proven):
    def __call__(self, x, rng):
        return x

def having(kind):
    @declares("augment")
    def trick(spec):
        return spec.having("augment", kind())
    trick.__name__ = kind.__name__.lower()
    trick.__doc__ = kind.__name__ + ": one."
    return trick

@declares("epochs")
def longer(spec):
    return spec.but(epochs=9)

@declares("epochs")
def longer_torn(spec):
    return spec.but(epochs=9)

ALONE = ((having(kind),) for kind in (Dimmed, Proven, Hiding, Counting, Idle))
TRICKS = (Branches(*ALONE, (longer,), (having(Torn), longer_torn)),)
SEEDS = (0,)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    import sys

    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("experiments.own", None)


def told(capsys, *words):
    code = check.run(check.parser().parse_args([*words, "--device", "cpu"]))
    lines = capsys.readouterr().out.splitlines()
    name, found = "", {}
    for line in lines[1:-1]:
        if line.startswith(" "):
            found[name][1].append(line.strip())
        else:
            word, name = line.split()[0], line.split()[1].rstrip(":")
            found[name] = (word, [])
    return code, found


def test_each_part_is_tried_and_what_is_amiss_is_told(own, capsys):
    code, found = told(capsys, "own")
    assert code == 1
    assert found["baseline"] == ("ok", [])
    assert found["proven"] == found["longer"] == ("ok", [])
    assert found["hiding"][0] == "FAILED"
    assert found["hiding"][1][0].startswith("did nothing, and no check of its run would show it"), "when it sleeps"
    assert len(found["hiding"][1]) == 1
    assert found["torn.longer_torn"] == ("FAILED", []), "as that is of which it is but a longer training"
    assert found["dimmed"] == (
        "FAILED",
        ["experiments.own.Dimmed is unproven: give it a `proof`, or a `reference`"],
    ) or (found["dimmed"] == ("FAILED", ["Dimmed is unproven: give it a `proof`, or a `reference`"]))
    assert any("goes on" in line or "gone on" in line for line in found["counting"][1])
    assert any("no_such_thing" in line and "own.py" in line for line in found["torn"][1])
    assert any("bit for bit" in line for line in found["idle"][1])
    assert not (own / "runs").exists(), "nothing is kept"


UNRULY = """
from tests.kit.tiny import BASELINE

def longer(spec):
    return spec.but(epochs=2 * spec.epochs)

def scaled(spec):
    return spec.but(optimizer=spec.optimizer.but(lr=0.01 * spec.epochs))

TRICKS = (longer, scaled)
SEEDS = (0,)
"""


def test_tricks_that_do_not_keep_to_what_each_must_are_told(own, capsys):
    (own / "unruly.py").write_text(UNRULY)
    code = check.run(check.parser().parse_args(["./unruly.py", "--device", "cpu"]))
    told = capsys.readouterr().out
    assert code == 1
    assert "\n       longer done twice it is not what it is done once: epochs moves again\n" in told
    assert "\nFAILED longer and scaled do not commute: in another order optimizer is another; say so" in told


def test_only_some_and_settings(own, capsys):
    code, found = told(capsys, "own", "--only", "proven", "--set", "epochs=3")
    assert (code, set(found)) == (0, {"proven"})
    with pytest.raises(Problem, match="no rung 'x' in own; rungs: baseline, dimmed"):
        told(capsys, "own", "--only", "x")


def test_batches_are_scaled_alike(tiny):
    small, large = (check.few(tiny.but(batch_size=size), 32 / 512) for size in (128, 512))
    assert (small.batch_size, large.batch_size) == (8, 32)
    assert small.data.load().counts["train"] == 16
    assert check.few(tiny.but(batch_size=512, microbatch=128), 32 / 512).microbatch == 8


def test_images_held_out_are_of_the_few():
    """What holding out must keep is told of the images that are there."""
    held = TINY.but(data=Holdout(of=TINY.data), stop=(EarlyStopping(),))
    made = check.few(held, 0.25)
    images, whole = made.data.load(), made.data.of.load()
    assert images.counts["train"] + images.counts["val"] == whole.counts["train"] < 200
    assert images.counts["train"] >= 2 * made.batch_size
    told, *_ = check.tried(made, torch.device("cpu"))
    assert told == []


def test_a_backbone_is_tried_on_few_images_too(monkeypatch):
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    made = check.few(dense.DETECTOR.but(model=dense.DETECTOR.model.but(backbone=dense.BACKBONE.but(epochs=9))), 0.5)
    assert (made.batch_size, made.model.backbone.batch_size) == (2, 6)
    assert (made.epochs, made.model.backbone.epochs) == (2, 2)
    images = made.data.load()
    assert (images.counts["train"], images.counts["test"]) == (4, 6)
    assert made.model.backbone.data.load().counts["train"] == 12
    told, _, opinions, _ = check.tried(made, torch.device("cpu"))
    assert told == []
    assert "FasterRCNN" in opinions
