import re

import pytest

from harness import Problem
from harness.bench import gpu
from harness.bench.__main__ import parser, run
from harness.bench.loop import Measured, recipe
from harness.train import PLAIN
from tests.kit.stops import trained

NOISE = gpu.Noise(size=8, classes=2, images=64)


def test_ways_are_shares_of_the_bare_loop_before_and_after(monkeypatch):
    bounds, studies = iter([1000.0, 3000.0]), []

    def study(spec, places, how):
        studies.append((spec, how))
        return Measured(
            rate=500.0, wall=10.0, spent={"start": 4.0, "forward": 5.7, "draw": 0.3}, in_loop=1200.0, fastest=1500.0
        )

    monkeypatch.setattr(gpu, "bound", lambda spec, places, seconds, compiled: next(bounds))
    monkeypatch.setattr(gpu, "study", study)
    spec = recipe("small", NOISE, 16)
    lines = list(gpu.against(spec, "cpu", {"plain": (spec, PLAIN), "quick": (spec, gpu.GRAPHS)}, 2.0, compiled=True))
    assert lines == [
        "  a bare compiled loop: 2,000 images a second",
        "  plain: fastest epoch 0.750 of that, all included 0.250 (start 40%, forward 57%)",
        "  quick: fastest epoch 0.750 of that, all included 0.250 (start 40%, forward 57%)",
    ]
    assert [how for _, how in studies] == [PLAIN, gpu.GRAPHS]
    assert len({spec.id for spec, _ in studies}) == 1
    assert studies[0][0].epochs == 31, "some 2000 images in epochs of 64"


def test_a_study_of_noise_is_trained():
    spec = recipe("small", NOISE, 16)
    images = NOISE.load()
    assert (images.size, images.channels, len(images.classes)) == (8, 3, 2)
    assert images.counts == {"train": 64, "test": 4}
    assert trained(spec).result["status"] == "finished"


def test_operations_are_done_both_ways():
    line, crops = gpu.operations("cpu", images=8, rounds=1)
    assert re.fullmatch(r"  RandAugment on the device: \d+\.\d\d times as fast as by the CPU", line)
    assert re.fullmatch(r"  crops together: \d+\.\d\d times as fast as one by one", crops)


def test_photos_come_by_each_decoder():
    pytest.importorskip("torchcodec")
    first, *rest = gpu.photos("cpu", images=16, batch=8)
    assert re.fullmatch(r"  Pillow, \d+ processes: [\d,]+ images a second", first)
    assert [re.sub(r"[\d.]+ of", "N of", line) for line in rest] == ["  torchcodec: N of that", "  nvjpeg: N of that"]


def test_what_there_is_no_time_for_is_said_and_an_error_is_none_of_the_others(capsys):
    def fails(place):
        yield "one line"
        raise RuntimeError("CUDA error:\nno kernel image")

    parts = (
        gpu.Section("first", 1, fails),
        gpu.Section("second", 9, fails),
        gpu.Section("third", 1, lambda place: iter([place])),
    )
    gpu.show_gpu("cuda:0", parts, limit=5)
    assert capsys.readouterr().out.splitlines() == [
        "first",
        "one line",
        "  RuntimeError: CUDA error: no kernel image",
        "second: left out, 5 s are left of 5",
        "third",
        "cuda:0",
    ]


def test_without_a_gpu_it_is_one_line():
    with pytest.raises(Problem, match="there is none here"):
        run(parser().parse_args(["--gpu"]))
