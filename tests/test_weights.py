"""`harness.weights`: files of weights, each asked once, on one test set."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import stats as scipy_stats

from experiments.photos import BASELINE as PHOTOS
from harness import Problem, stats
from harness import weights as command
from harness.cli import main
from harness.outcomes import weights as outcome
from harness.parts.data import Digits, ImageFolder
from harness.parts.precision import FP32
from harness.parts.pretrained import Pretrained
from harness.report.weights import compared, figure, notes, shown
from harness.spec import File
from harness.study import weights
from harness.tricks.fp16 import FP16

STUDY = """
from experiments.digits import BASELINE as DIGITS
from harness.parts.data import Digits

BASELINE = DIGITS.but(data=Digits(limit_test=300), model=DIGITS.model.but(blocks=(1, 1), width=4))
"""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A study of no tricks, and three files of weights that nobody trained."""
    place = tmp_path_factory.mktemp("weights")
    (place / "asked.py").write_text(STUDY)
    (place / "files").mkdir()
    (place / "none").mkdir()
    for seed, name in enumerate(("a.safetensors", "b.pth", "c.pt")):
        torch.manual_seed(seed)
        net = tiny.model.build(1, 10)
        for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(std=0.1)  # statistics are weights too
        if name.endswith("safetensors"):
            save_file(net.state_dict(), str(place / "files" / name))
        else:
            torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, place / "files" / name)
    return place


@pytest.fixture
def told(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(folder)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["harness.weights", "./asked.py", *words])
        try:
            with pytest.raises(SystemExit) as end:
                main(command.parser(), command.run)
        finally:
            torch.set_num_threads(1)
        return end.value.code or 0, *capsys.readouterr()

    return run


def by_hand(tiny, path):
    """Right or wrong for each of the test images, by a loop of torch's alone."""
    state = torch.load(path, weights_only=True)["state_dict"]
    net = tiny.model.build(1, 10)
    net.load_state_dict({name.removeprefix("module."): t for name, t in state.items()})
    images = tiny.data.load()
    x, labels = next(images.test(300, CPU, "test"))
    with torch.no_grad():
        return (net.eval()(x).argmax(1) == labels).numpy()


def test_each_file_is_asked_once_and_beside_the_first_paired_by_image(told, tiny, folder, tmp_path, monkeypatch):
    code, out, err = told("files", "--json")
    assert code == 0
    assert err.splitlines()[:3] == [f"{name}: 300 images, on cpu" for name in "abc"]
    rows = {row["name"]: row for row in json.loads(out)["weights"]}
    b, c = by_hand(tiny, folder / "files" / "b.pth"), by_hand(tiny, folder / "files" / "c.pt")
    assert rows["b"]["top1"] == pytest.approx(100 * b.mean())
    monkeypatch.setattr(outcome, "evaluate", lambda *a, **k: pytest.fail("asked again"))
    code, out, err = told("files", "--json", "--against", "b", "--to", str(tmp_path / "own"))
    row = json.loads(out)["weights"][2]
    assert code == 0
    assert "on cpu" not in err
    assert json.loads(out)["folder"] == str(tmp_path / "own")
    assert (row["right"], row["wrong"]) == ((c & ~b).sum(), (b & ~c).sum())
    p = scipy_stats.binomtest(int(row["right"]), int(row["right"] + row["wrong"])).pvalue
    assert row["p"] == pytest.approx(p)
    assert row["gain"] == pytest.approx(100 * (c.mean() - b.mean()))
    assert (tmp_path / "own" / "weights.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        told("files", "--fresh")


def test_what_was_kept_and_is_damaged_is_asked_again(told, tmp_path):
    told("files/a.safetensors")
    (kept,) = (tmp_path / "runs" / "weights").glob("*/logits.npz")
    with np.load(kept) as file:
        labels, logits = file["labels"], file["logits"]
    np.savez_compressed(kept, labels=labels, logits=logits * 1.5)
    assert "300 images" in told("files/a.safetensors")[2]
    kept.write_bytes(kept.read_bytes()[:-100])
    assert "300 images" in told("files/a.safetensors")[2]
    assert told("files/a.safetensors")[2] == ""


def test_what_is_asked_is_network_weights_and_data_and_not_how_they_would_be_trained(tiny, folder):
    a, b = weights.in_folder(tiny, folder / "files")["a"], weights.in_folder(tiny, folder / "files")["b"]
    assert weights.asked(a) == weights.asked(a.but(epochs=9, batch_size=8, augment=()))
    others = [b, a.but(data=Digits(limit_test=299)), a.but(model=tiny.model.but(variant="D"))]
    assert len({weights.asked(each) for each in (a, *others)}) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "asked.py has no WEIGHTS: name files, folders or timm:NAME after it, or see experiments/README.md"),
        (("nothing",), "harness.weights: nothing: no such file or folder of weights"),
        (("timm:",), "harness.weights: timm:: name weights of timm's after it"),
        (("http://x/y.pth",), "harness.weights: http://x/y.pth: addresses are not fetched: give a file or a folder"),
        (("files", "--to", "asked.py"), "harness.weights: --to "),
        (("files", "--against", "d"), "harness.weights: --against d: no such weights; there are: a, b, c"),
        (("timm:resnet0",), "has no weights of resnet0: timm.list_pretrained() lists them"),
        (
            ("none",),
            "harness.weights: none has no weights: files that end in .safetensors, .pth.tar, .pth, .pt, .bin, ",
        ),
    ],
)
def test_mistakes_are_a_line(told, words, said):
    code, out, err = told(*words)
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_file_of_another_network_is_refused_by_its_name(tiny, folder, tmp_path):
    wide = weights.in_folder(tiny.but(model=tiny.model.but(width=8)), folder / "files")
    with pytest.raises(Problem, match=r"^a: .*a\.safetensors does not fit: it lacks \d+ tensors of the network"):
        outcome.answers(wide, tmp_path, CPU, lambda line: None)


def test_weights_that_did_not_arrive_and_a_wrong_score_are_seen(tiny, folder, tmp_path, monkeypatch):
    one = weights.in_folder(tiny, folder / "files" / "a.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(Pretrained, "__call__", lambda *args: None)
        with pytest.raises(Problem, match="^a: tensors of the network that are not the file's, to the bit: "):
            outcome.answers(one, tmp_path, CPU, lambda line: None)
    evaluate = outcome.evaluate

    def better(*args):
        scores, told = evaluate(*args)
        return scores | {"top1": scores["top1"] + 1}, told

    monkeypatch.setattr(outcome, "evaluate", better)
    with pytest.raises(Problem, match="^a: top-1, from what left the network: "):
        outcome.answers(one, tmp_path, CPU, lambda line: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", [FP32(), FP16()], ids=["float32", "float16"])
def test_where_logits_are_equal_the_answer_is_the_one_that_the_loop_takes(tiny, tmp_path, precision):
    state = tiny.model.build(1, 10).state_dict()
    state |= {name: torch.zeros_like(t) for name, t in state.items() if name.startswith("fc.")}
    torch.save(state, tmp_path / "equal.pt")
    one = weights.in_folder(tiny.but(precision=precision), tmp_path / "equal.pt")
    assert outcome.answers(one, tmp_path, CPU, lambda line: None)["equal"]["top1"] == pytest.approx(10, abs=2)


def test_files_are_called_by_what_tells_them_apart(tiny, tmp_path):
    for name in ("one/model.PT", "two/model.pt", "two/last.pth.tar", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list(weights.in_folder(tiny, tmp_path)) == ["one/model", "two/last", "two/model"]
    assert list(weights.in_folder(tiny, tmp_path / "two")) == ["last", "model"]


def test_copies_of_a_network_are_one_test():
    every = found(range(100), range(10, 130), range(10, 130))
    every["c"]["network"] = every["b"]["network"]
    _, b, c = compared(every)
    assert b.adjusted == c.adjusted == pytest.approx(b.p)


def test_another_test_set_is_refused(tiny, folder, tmp_path):
    every = weights.in_folder(tiny, folder / "files")
    every["b"] = every["b"].but(data=Digits(limit_test=200))
    with pytest.raises(Problem, match="^b is tested on other images than a: give both the same data$"):
        outcome.answers(every, tmp_path, CPU, lambda line: None)


def found(*right, images=200):
    """Answers of files, of which each has the images right that it is said to; two classes of 100."""
    labels = np.arange(images) % 2
    made = {}
    for i, own in enumerate(right):
        logits = np.zeros((images, 2))
        logits[np.arange(images), np.where(np.isin(np.arange(images), list(own)), labels, 1 - labels)] = 1
        made["abc"[i]] = {"labels": labels, "logits": logits, "top5": None, "names": ["x", "y"]}
        made["abc"[i]] |= {"params": 10, "file": f"{i}" * 64, "network": f"{i}", "size": 8}
    return made


def test_numbers_that_can_be_done_by_hand():
    # b has 30 right that a has not, and a 10 that b has not: 2 · P(X ≤ 10), X of Bin(40, 1/2)
    a, b, c = compared(found(range(100), range(10, 130), range(100)))
    assert (a.top1, b.top1, b.gain, b.right, b.wrong) == (50, 60, 10, 30, 10)
    assert b.p == pytest.approx(0.0022, abs=5e-5)
    assert b.adjusted == pytest.approx(2 * b.p)
    assert (a.verdict, b.verdict, c.verdict) == ("", "helps", "same answers")
    other = found(range(100), range(100))
    other["b"]["logits"] = np.c_[other["b"]["logits"], np.where(np.arange(200) < 100, 0, 2)]  # wrong otherwise
    assert compared(other)[1].verdict == "right on the same images"
    half = 1.96 * np.sqrt((40 - (20**2) / 200) / 200**2) * 100  # of a normal: Agresti 2013, section 11.1.2
    assert (b.gain - b.gain_low, b.gain_high - b.gain) == (pytest.approx(half, abs=0.6), pytest.approx(half, abs=0.6))
    assert compared(found(range(100), range(10, 130)), "b")[0].verdict == "hurts"
    assert compared(found(range(100), range(3, 104)))[1].verdict == "not resolved"


def test_a_bootstrap_over_images_is_one_of_counts():
    rng = np.random.default_rng(1)
    differences = np.repeat([1.0, -1.0, 0.0], [30, 10, 160])
    drawn = rng.choice(differences, (5_000, 200)).mean(1)
    assert stats.discordant_interval(30, 10, 200) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)
    assert np.isnan(stats.discordant_interval(0, 0, 200)).all()


def test_the_table_the_notes_and_the_picture():
    every = found(range(150), range(40, 200), range(95))
    rows = compared(every)
    table = shown(rows, "a")
    assert list(table["verdict"]) == ["–", "not resolved", "worse"]
    assert "balanced accuracy" not in table
    assert "balanced accuracy" in shown(rows, "a", True)
    assert "top-5" not in table
    assert table["over a"][2].startswith("-27.50 [-34.")
    assert table["only a right"][2] == "55"
    said = "\n".join(notes(every, rows, "a"))
    assert "a difference is of two files, not of two recipes" in said
    assert "Not told apart from guessing, 50.00 %: c." in said
    assert "Below guessing" not in said
    low = found(range(150), range(20))
    assert "Below guessing: b. Are the classes in the order of this test set?" in "\n".join(
        notes(low, compared(low), "a")
    )
    assert "same network" not in said
    every["b"]["network"] = "0"
    assert "a and b are the same network, to the bit" in "\n".join(notes(every, rows, "a"))
    left, right = figure(rows, "a", 200).axes
    assert [text.get_text() for text in right.texts] == ["+5.00, not resolved", "-27.50, worse"]
    assert [line.get_xdata()[0] for line in left.lines if line.get_label() == "resolved"] == [75, 80, 47.5]


def test_timms_weights_are_asked_at_the_size_and_by_the_colours_that_timm_tests_them(tmp_path, monkeypatch):
    (tmp_path / "there.safetensors").write_bytes(b"")
    monkeypatch.setattr(weights, "timm_file", lambda name: File(path=tmp_path / "there.safetensors"))
    base = PHOTOS.but(data=ImageFolder(root=tmp_path, train="val", test="val"))
    made = weights.of_timm(base, "resnet50.a1_in1k", "beit_base_patch16_224.in22k_ft_in22k_in1k")
    first, other = made.values()
    assert (first.data.size, first.data.mean, first.model.name) == (288, (0.485, 0.456, 0.406), "resnet50")
    assert (other.data.size, other.data.mean, other.data.std) == (224, (0.5,) * 3, (0.5,) * 3)
    assert all(weights.pretrained(spec) is not None and spec.data.root == tmp_path for spec in made.values())
