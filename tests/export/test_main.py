"""An exported network: ONNX against torch and the record, weights against the store, the card against the record."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import harness
from harness import Problem
from harness.export import graph
from harness.export.__main__ import parser, run
from harness.stats import wilson
from tests.kit.tiny import BASELINE


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folder written, and what was printed."""
    folder = tmp_path_factory.mktemp("export") / "to"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(trained))
        run(parser().parse_args(["tiny", "baseline", "--to", str(folder)]))
    return folder


@pytest.fixture
def network(trained, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(trained))
    return harness.results("tiny").network("baseline", 0)


def test_onnx_answers_the_test_images_as_the_weights_do(exported, network):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    images, labels = BASELINE.data.load().arrays["test"]
    theirs = np.concatenate(
        [session.run(None, {"pixels": images[i : i + 7].astype(np.float32)})[0] for i in range(0, 300, 7)]
    )
    net = BASELINE.model.build(1, 10)
    net.load_state_dict(load_file(exported / "model.safetensors"))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (network.mean, network.std))
    with torch.no_grad():
        ours = net.eval()((torch.from_numpy(images).float() - mean) / std).numpy()
    assert np.abs(ours - theirs).max() < 1e-4
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    right = 100 * (theirs.argmax(1) == labels).mean()
    assert right == pytest.approx(network.record["metrics"]["top1"], abs=0.5)
    assert f"top-1 {right:.2f}; logits differ by" in (exported / "README.md").read_text()


def test_the_weights_are_those_of_the_store(exported, network):
    kept, made = harness.results("tiny").store.weights(BASELINE.id, 0), load_file(exported / "model.safetensors")
    assert kept.keys() == made.keys()
    assert all(torch.equal(kept[name], made[name]) for name in kept)


def test_the_card_is_made_from_the_record(exported, network):
    card, record = (exported / "README.md").read_text(), network.record
    top1 = record["metrics"]["top1"]
    low, high = (100 * end for end in wilson(round(3 * top1), 300))
    assert f"Top-1 of this run: {top1:.2f} % of 300 test images, 95 % Wilson interval {low:.2f} to {high:.2f}" in card
    assert f"Specification `{BASELINE.id}`, seed 0" in card
    assert f"commit `{record['environment']['commit']}`" in card
    assert f"digest `{record['images']['digest']}`" in card
    n = len(record["evidence"])
    assert f"{n} of {n} checks of the run held." in card
    assert "- batch\\_size: 128" in card or "- batch_size: 128" in card
    assert re.search(r"^# license: to be said", card, re.MULTILINE)
    told = json.loads((exported / "config.json").read_text())
    assert told["classes"] == list("0123456789")
    assert told["input"] == {"channels": 1, "height": 8, "width": 8}
    assert (told["mean"], told["std"]) == (list(network.mean), list(network.std))


def test_an_onnx_that_answers_otherwise_is_refused(network, monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: name)  # as if all were installed
    ours = np.eye(3)
    for theirs, odd in ((ours + 0.25, False), (ours[[0, 2, 1]], True)):
        monkeypatch.setattr(graph, "written", lambda network: b"")
        monkeypatch.setattr(graph, "both", lambda network, data, own=theirs: (ours, own, np.array([0, 1, 0])))
        if odd:
            with pytest.raises(Problem, match="answers 2 of 3 test images otherwise"):
                graph.checked(network)
        else:
            made, _ = graph.checked(network)
            assert (made.images, made.difference, made.top1) == (3, 0.25, pytest.approx(200 / 3))


def test_without_the_extra_the_rest_is_written_and_it_is_named(trained, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(trained))
    monkeypatch.setattr(graph, "find_spec", lambda name: None if name == "onnxscript" else name)
    (tmp_path / "model.onnx").write_text("of before")
    run(parser().parse_args(["tiny", "baseline", "--to", str(tmp_path)]))
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert "no model.onnx: onnxscript not installed: pip install 'ablation-harness[onnx]'" in capsys.readouterr().err
    assert "There is no ONNX file." in (tmp_path / "README.md").read_text()


def test_what_cannot_be_exported_is_said(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_RUNS", str(trained))
    for words, said in (
        (["none", "baseline"], "no study 'none' was run here"),
        (["tiny", "other"], "'other' is no rung of tiny: baseline"),
        (["tiny", "baseline", "--seed", "3"], "seed 3: no finished run"),
    ):
        with pytest.raises(Problem, match=said):
            run(parser().parse_args([*words, "--to", str(tmp_path / "to")]))
    assert not (tmp_path / "to").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Problem, match="is a file, and a folder is needed"):
        run(parser().parse_args(["tiny", "baseline", "--to", str(tmp_path / "file")]))
    assert (tmp_path / "file").read_text() == "mine"
