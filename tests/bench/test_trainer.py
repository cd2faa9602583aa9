import re

import pytest
from PIL import Image

from harness import Problem
from harness.bench import trainer

SCRIPT = """
import sys
train = "Train: {} [   1/2 (100%)]  Loss: 2.3 (2.3)  Time: 0.5s,    8.00/s  (0.8s,  {:>6.2f}/s)  LR: 0.1  Data: 0.1"
for line in (train.format(0, 4.0), "Test: [   0/0]  Time: 0.1 (0.1)  Loss: 1.0 (1.0)", train.format(1, 5.5)):
    print(line, file=sys.stderr)
open(__file__ + ".words", "a").write(" ".join(sys.argv) + "\\n")
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 9), ("val", 2)):
        for number in range(count):
            path = root / split / f"class {number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((80, 80), 50 + number).convert("RGB").save(path)
    return trainer.photos("test_resnet", root, 80, 4, epochs=2)


def script(folder, text=SCRIPT):
    path = folder / "train.py"
    path.write_text(text)
    return path


def test_theirs_is_asked_for_the_same_and_its_last_rate_is_read(spec, tmp_path):
    whole, loop = trainer.theirs(script(tmp_path), spec, "test_resnet", 2, ["--fast"])
    assert loop == 5.5
    assert 0 < whole < 2 * 8 / 0.01
    words = (tmp_path / "train.py.words").read_text()
    for said in (
        "--num-classes 2",
        "--input-size 3 80 80",
        "--batch-size 4",
        "--epochs 2",
        "--workers 2",
        "--device cpu",
        "--val-split val",
        "--interpolation bilinear",
        "--crop-pct 0.875",
        "--smoothing 0",
        "--fast --output",
    ):
        assert f" {said} " in words


@pytest.mark.parametrize(
    ("text", "why"), [("raise SystemExit('no such option')", "no such option"), ("print('done')", "done")]
)
def test_one_that_fails_or_tells_no_rate_is_a_line(text, why, spec, tmp_path):
    with pytest.raises(Problem, match=f"train.py: {why}"):
        trainer.theirs(script(tmp_path, text), spec, "test_resnet", 1)


def test_images_that_nobody_decodes_are_refused(tmp_path):
    with pytest.raises(Problem, match="--size 32: photos above 64 px"):
        trainer.photos("resnet18", tmp_path, 32, 4)


def test_ours_stands_beside_theirs_as_it_comes_and_in_channels_last(spec, tmp_path, capsys):
    trainer.show_trained(script(tmp_path), spec.but(epochs=1), "test_resnet", ["cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["harness", "timm", "channels_last"]
    plain, told = (tmp_path / "train.py.words").read_text().splitlines()
    assert "--channels-last" not in plain
    assert " --channels-last " in told
    ours, theirs = float(lines[3].split()[2]), 5.5
    for line, name in zip(lines[6:], ("timm", "channels_last"), strict=True):
        found = re.fullmatch(rf"harness / {name}: (\d+\.\d\d), in the loop (\d+\.\d\d)", line)
        assert float(found[2]) == pytest.approx(ours / theirs, abs=0.02)
