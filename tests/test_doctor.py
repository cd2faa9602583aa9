"""The doctor's checks find what they are for; on a CPU, where they mean something there."""

import subprocess
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from harness import doctor, engine
from harness.parts.precision import FP32, Runner
from harness.tricks import fp16, tf32

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def command():
    return doctor.run(doctor.parser().parse_args([]))


def failed(checks):
    return [check.what for check in checks if not check.ok]


def test_a_screen_without_cuda(tmp_path, capsys):
    assert command() == 0
    out = capsys.readouterr().out
    assert "no CUDA device: not checked" in out
    assert torch.__version__.split("+")[0] in out
    assert f"sqlite:///{tmp_path}/runs/mlflow.db" in out
    assert "FP16 emulated" in out
    assert len(out.splitlines()) <= 24
    assert not (tmp_path / "runs").exists()  # looking leaves nothing behind


def test_whether_mps_is_there_is_said_where_there_are_cards(tmp_path, monkeypatch):
    assert "MPS" not in dict(doctor.machine())
    card = SimpleNamespace(name="a card", total_memory=2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dict(doctor.machine())["MPS"] == "not there: no nvidia-cuda-mps-control on the PATH"
    control = tmp_path / "nvidia-cuda-mps-control"
    for code, words in ((0, "a daemon answers, and would be used"), (1, "there: --jobs auto would start it")):
        control.write_text(f"#!/bin/sh\nexit {code}\n")
        control.chmod(0o700)
        assert dict(doctor.machine())["MPS"] == words


def test_stores_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "file" / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert command() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"failed: run store {tmp_path}/file/runs/store; MLflow http://127.0.0.1:9"


@pytest.mark.parametrize("scheme", ["http", "postgresql", "htp"])
def test_a_password_in_mlflows_address_is_not_shown(monkeypatch, capsys, scheme):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:se/cret@127.0.0.1:9")
    command()
    out = capsys.readouterr().out
    assert f"MLflow {scheme}://me:***@127.0.0.1:9" in out
    assert "cret" not in out


def test_half_precision_passes():
    assert failed(doctor.half_dtypes(CPU)) == []
    assert failed(doctor.loss_scaling(CPU)) == []


class Twice(fp16.HalfRunner):
    """pytorch/vision#4874: the optimizer is stepped by the scaler, and again."""

    def step(self, optimizer):
        self.scaler.step(optimizer)
        optimizer.step()
        self.scaler.update()
        optimizer.zero_grad()


class StillScaled(fp16.HalfRunner):
    def step(self, optimizer):
        optimizer.step()
        optimizer.zero_grad()


class NeverSkips(fp16.HalfRunner):
    def backward(self, loss):
        loss.backward()

    def step(self, optimizer):
        optimizer.step()
        optimizer.zero_grad()


class Stubborn(fp16.HalfRunner):
    """Skips, and never finds a scale that will do."""

    def step(self, optimizer):
        self.scaler.step(optimizer)
        self.scaler.update(self.scaler.get_scale())
        optimizer.zero_grad()


@pytest.mark.parametrize(
    ("runner", "caught"),
    [
        (Twice, "once"),
        (StillScaled, "once"),
        (NeverSkips, "an infinite step moves no weight"),
        (Stubborn, "the loss scale becomes"),
    ],
)
def test_a_broken_scaler_is_caught(monkeypatch, runner, caught):
    monkeypatch.setattr(fp16.FP16, "on", lambda self, device: runner(device))
    assert any(caught in what for what in failed(doctor.loss_scaling(CPU)))


def test_half_masters_are_caught(monkeypatch):
    class Halved(fp16.HalfRunner):
        def step(self, optimizer):
            super().step(optimizer)
            for p in optimizer.param_groups[0]["params"]:
                p.data = p.data.half()

    monkeypatch.setattr(fp16.FP16, "on", lambda self, device: Halved(device))
    assert "FP16: master weights" in failed(doctor.half_dtypes(CPU))


def test_rounded_products_pass():
    checks = list(doctor.tensor_floats(CPU))
    assert failed(checks) == []
    assert [check.seen.split(" of ")[0] for check in checks] == ["24", "0"]


@pytest.mark.parametrize(
    ("part", "runner"),
    [(tf32.TF32, lambda self, device: Runner()), (FP32, lambda self, device: tf32.TensorRunner(device))],
    ids=["off", "always on"],
)
def test_tf32_that_is_off_or_always_on_is_caught(monkeypatch, part, runner):
    monkeypatch.setattr(part, "on", runner)
    assert failed(doctor.tensor_floats(CPU)) == [f"{part.__name__}: products of rounded numbers"]


def test_operations_that_a_device_does_otherwise_are_caught(monkeypatch):
    from harness.parts import batched

    (check,) = doctor.operations_drawn(CPU)
    assert (check.what.split()[2], check.seen, check.ok) == ("14", "0", True)
    right, calls = batched.OPERATIONS["Equalize"], []

    def every_second_time(x, magnitudes):
        calls.append(x)
        return right(x, magnitudes) ^ (len(calls) % 2)

    monkeypatch.setitem(batched.OPERATIONS, "Equalize", every_second_time)
    (check,) = doctor.operations_drawn(CPU)
    assert int(check.seen) > 1000
    assert not check.ok


def test_photos_that_a_device_decodes_or_resizes_otherwise_are_caught(monkeypatch):
    pytest.importorskip("torchcodec")
    from harness.parts.data import nvjpeg

    due = [("0", "0"), ("0", "0"), ("below 2", "0")]
    assert [(check.expected, check.seen) for check in doctor.photos_decoded(CPU)] == due
    pixels, resized = nvjpeg.pixels, nvjpeg.resized
    monkeypatch.setattr(nvjpeg, "pixels", lambda images: [x ^ 4 for x in pixels(images)])
    assert [check.ok for check in doctor.photos_decoded(CPU)] == [False, True, False]
    monkeypatch.undo()
    calls = []

    def fewer(x, *taps):  # of the first image alone it is another
        calls.append(x)
        return resized(x, *taps) + (len(calls) == 1)

    monkeypatch.setattr(nvjpeg, "resized", fewer)
    assert [check.ok for check in doctor.photos_decoded(CPU)] == [False, False, True]


def test_a_gpu_before_ampere_is_not_asked_for_tf32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    [check] = doctor.tensor_floats(torch.device("cuda"))
    assert (check.seen, check.ok) == ("not on this device", True)
    monkeypatch.setattr(doctor, "milliseconds", lambda *args, **named: 1.0)
    assert not any("TF32" in check.what for check in doctor.speeds(torch.device("cuda")))


def test_slow_half_and_slow_layout_are_caught(monkeypatch):
    times = {("FP32", True): 10.0, ("FP16", True): 12.0, ("FP16", False): 11.0, ("FP32", False): 5.0}
    times["TF32", True] = 10.5
    monkeypatch.setattr(
        doctor, "milliseconds", lambda part, device, channels_last: times[type(part).__name__, channels_last]
    )
    checks = list(doctor.speeds(CPU))
    names = ["FP16 against FP32, speed", "TF32 against FP32, speed", "FP16: channels_last against contiguous"]
    assert failed(checks) == names
    assert checks[0].seen.startswith("x 0.83 (10.0 to 12.0 ms")


def test_a_step_is_timed(monkeypatch):
    for name, value in (("BATCH", 2), ("STEPS", 1), ("SIDE", 32)):
        monkeypatch.setattr(doctor, name, value)
    assert doctor.milliseconds(fp16.FP16(), CPU, channels_last=True) > 0


class Here:
    """An engine without processes."""

    def __init__(self, store, places, how):
        self.store, self.how = store, how

    def events(self, runs):
        for spec, seed in runs:
            engine.execute(spec, seed, self.store, CPU, lambda event: None, how=self.how)
            yield {"kind": "finished", "run": (spec, seed)}


class Drifting(Here):
    """One whose second store gets other weights from its FP16 runs, by a last bit or so."""

    stores: ClassVar[list[object]] = []

    def __init__(self, store, places, how):
        super().__init__(store, places, how)
        self.stores.append(store)

    def events(self, runs):
        for event in super().events(runs):
            spec, _ = event["run"]
            if isinstance(spec.precision, fp16.FP16) and len(self.stores) == 2:
                drifted = {
                    run[0].id: self.store.weights(run[0].id, run[1]) for run in runs if (run[0].id, 0) in self.store
                }
                drifted[spec.id]["fc.weight"] = drifted[spec.id]["fc.weight"].nextafter(torch.tensor(9.0))
                self.store.weights = lambda spec_id, seed, drifted=drifted: drifted[spec_id]
            yield event


def test_runs_that_differ_in_a_bit_are_caught(monkeypatch):
    monkeypatch.setattr(engine, "Engine", Drifting)
    checks = list(doctor.same_bits(CPU))
    assert [check.seen.split(" of ")[0] for check in checks] == ["the same", "1"]
    assert failed(checks) == ["FP16: weights of two runs of one seed"]


def test_graphs_that_were_not_played_are_a_failed_check(monkeypatch):
    short = doctor._short()
    monkeypatch.setattr(engine, "Engine", Here)
    monkeypatch.setattr(doctor, "_short", lambda: [spec.but(epochs=1) for spec in short])
    checks = list(doctor.same_bits(CPU, graphs=True))
    assert len(checks) == 6
    assert failed(checks) == [f"{kind}: passes played as CUDA graphs" for kind in ("FP32", "FP16")]
    assert {check.seen for check in checks if not check.ok} == {"0, there are none on cpu"}


def test_an_error_in_a_check_is_a_failed_check():
    def no_such_kernel(device):
        yield from ()
        raise RuntimeError("CUDA error:\nno kernel image")

    [check] = doctor.attempted(no_such_kernel, CPU)
    assert (check.what, check.ok) == ("no such kernel", False)
    assert check.seen == "RuntimeError: CUDA error: no kernel image"


def test_help_is_light():
    code = "import sys, harness.doctor as d; d.parser().format_help(); print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
