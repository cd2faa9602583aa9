import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness import Problem
from harness.parts.init import Xavier
from harness.parts.pretrained import Pretrained, timm_file
from harness.rng import streams
from harness.spec import File, parse, plain
from harness.tricks.zero_gamma import zero_gamma


def learned(spec, classes=10):
    """What a network that learned could have: every tensor another number, statistics too."""
    net = spec.model.build(1, classes)
    torch.manual_seed(7)
    return {n: torch.rand(t.shape) + 0.5 if t.is_floating_point() else t + 3 for n, t in net.state_dict().items()}


def written(folder, state, kind="safetensors"):
    path = folder / f"weights.{kind}"
    if kind == "safetensors":
        save_file(state, str(path))
    else:
        torch.save(state, path)
    return File(path=path)


def begun(spec, **fields):
    return spec.but(init=(Xavier(), Pretrained(**fields)), epochs=1)


def initial(spec):
    net = spec.model.build(1, 10)
    for part in spec.init:
        part(net, streams(0))
    return net.state_dict()


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("before", ["", "module."])
def test_a_state_dict_is_loaded_to_the_bit_and_the_head_is_drawn(tiny, tmp_path, wrap, before):
    state = learned(tiny)
    file = written(tmp_path, wrap({f"{before}{n}": t for n, t in state.items()}), "pt")
    live, plain_one = initial(begun(tiny, file=file)), initial(tiny)
    for name, tensor in live.items():
        due = plain_one if name.startswith("fc.") or not tensor.is_floating_point() else state
        assert torch.equal(tensor, due[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_read_by_its_format_alone_are_what_its_library_reads(tiny, tmp_path, dtype):
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in learned(tiny).items()}
    part = Pretrained(file=written(tmp_path, state), head="keep")
    net = tiny.model.build(1, 10)
    part(net, streams(0))
    due = part.reference({n: t.shape for n, t in net.state_dict().items()}, net, streams(0))
    assert due.keys() == {n for n, t in state.items() if t.is_floating_point()}
    for name, values in due.items():
        assert np.array_equal(values.astype(np.float32), net.state_dict()[name].numpy()), name


def test_a_run_that_begins_so_proves_it_and_says_what_was_loaded(tiny, tmp_path, live):
    spec = begun(tiny, file=written(tmp_path, learned(tiny, classes=3)))
    trained, _ = live(spec)
    rows = trained.result["evidence"]
    assert [row for row in rows if not row["ok"]] == []
    own = {row["what"]: row["seen"] for row in rows if row["part"] == "Pretrained"}
    floats = [n for n, t in learned(tiny).items() if t.is_floating_point() and not n.startswith("fc.")]
    assert own["tensors that the network began with, to the bit, of those that the file has for it"] == (
        f"{len(floats)} of {len(floats)}"
    )
    assert {row["seen"] for row in rows if row["what"] == "layers of at least 100 weights whose greatest is near a"}
    assert trained.result["opinions"]["Pretrained"] == "second opinion"


def test_of_a_whole_file_xavier_has_nothing_to_say(tiny, tmp_path, live):
    trained, _ = live(begun(tiny, file=written(tmp_path, learned(tiny)), head="keep"))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert not [row for row in trained.result["evidence"] if row["part"] == "Xavier"]


def test_what_comes_after_it_has_the_last_word(tiny, tmp_path, live):
    trained, trace = live(zero_gamma(begun(tiny, file=written(tmp_path, learned(tiny)))))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert (0.0, 0.0) in trace.first_gammas.values()


def test_strict_refuses_and_otherwise_it_is_told(tiny, tmp_path, live):
    state = learned(tiny)
    state["stage1.0.body.0.weight"] = torch.ones(1)
    state["odd.weight"] = torch.ones(2)
    file = written(tmp_path, state)
    with pytest.raises(Problem, match=r"weights\.safetensors does not fit: it lacks 1 tensors .*stage1\.0\.body\.0\.w"):
        begun(tiny, file=file).agree()
    spec = begun(tiny, file=file, strict=False)
    spec.agree()
    rows = live(spec)[0].result["evidence"]
    assert [row for row in rows if not row["ok"]] == []
    told = [row["seen"] for row in rows if row["part"] == "Pretrained"][1:]
    assert told == ["1: stage1.0.body.0.weight", "2: odd.weight, stage1.0.body.0.weight"]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (b"no weights", "holds no weights ("),
        ({"x": torch.ones(1)}, "has no tensor of this network: it has x"),
        ({"epoch": 3}, "holds no state dict"),
    ],
)
def test_a_file_of_no_use_is_one_line(tiny, tmp_path, state, says):
    path = tmp_path / "w.pt"
    path.write_bytes(state) if isinstance(state, bytes) else torch.save(state, path)
    with pytest.raises(Problem) as problem:
        begun(tiny, file=File(path=path)).agree()
    assert says in str(problem.value)
    assert "\n" not in str(problem.value)


def test_it_needs_something_that_draws_first(tiny, tmp_path):
    file = written(tmp_path, learned(tiny))
    for init in ((Pretrained(file=file),), (Pretrained(file=file), Xavier())):
        with pytest.raises(Problem, match="comes after a part that draws every weight"):
            tiny.but(init=init).agree()


def test_the_content_is_in_the_id_and_the_place_is_not(tiny, tmp_path):
    state = learned(tiny)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (begun(tiny, file=written(tmp_path / where, state)) for where in "ab")
    other = begun(tiny, file=written(tmp_path, {**state, "fc.bias": state["fc.bias"] + 1}))
    assert one.id == two.id
    assert begun(tiny, file=str(one.init[-1].file.path)).id == one.id, "a path will do"
    assert len({one.id, other.id, tiny.but(epochs=1).id}) == 3
    assert parse(plain(one)) == one


def test_timms_weights_are_found_where_its_cache_has_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, file: None)
    with pytest.raises(Problem, match="timm's cache has no weights of resnet18.a1_in1k: timm.create_model"):
        timm_file("resnet18.a1_in1k")
    with pytest.raises(Problem, match="has no weights of nosuch"):
        timm_file("nosuch")
    found = str(tmp_path / "model.safetensors")
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda repo, file: asked.append((repo, file)) or found
    )
    assert timm_file("resnet18.a1_in1k") == File(path=tmp_path / "model.safetensors")
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")]
