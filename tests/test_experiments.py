"""The studies of the paper's tables: that they have the rungs their tables ask for, and share what is the same run."""

import importlib
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from harness import study
from harness.parts.data import ImageFolder
from harness.parts.imgaug_policy import GROUPS
from harness.parts.models import ResNet, Timm
from harness.spec import moved, upstream
from harness.stats.designs import Options

PUBLISHED = Path(__file__).parents[1] / "reports" / "published"
LARGE = ("imagenet_efficient", "imagenet_tweaks", "imagenet_refinements", "imagenet_models", "places365")
MONKEYS = ("monkeys", "monkeys_policy", "monkeys_small", "monkeys_policy_small")
SMALL = ("cifar10_efficient", "cifar10_tweaks", "cifar10_refinements", "cifar10_models")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A function from a study's name to its rungs by name, on one small folder."""
    root = tmp_path_factory.mktemp("photos")
    for part in ("train", "val"):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            Image.new("RGB", (32, 32), "red" if label == "cat" else "blue").save(root / part / label / "0.png")

    @lru_cache
    def rungs(name):
        size = 32 if name in SMALL or name == "cifar10" else 28 if name.startswith("mnist") else 224
        made = study.plan(study.load(name), [("data", ImageFolder(root=root, size=size))])
        return {rung.name: rung for rung in made.rungs}

    return rungs


@pytest.mark.parametrize("name", LARGE)
def test_a_study_has_every_rung_that_its_tables_name(name, planned):
    tables = pd.read_csv(PUBLISHED / "tables.csv", keep_default_na=False)
    own = [row.table for row in tables.itertuples() if row.study and name.endswith(row.study)]
    assert own
    for number in own:
        cells = pd.read_csv(PUBLISHED / f"table{number}.csv", keep_default_na=False)
        missing = {rung for rung in cells["rung"] if rung} - set(planned(name))
        assert not missing, f"Table {number}"


@pytest.mark.parametrize("name", SMALL)
def test_a_small_twin_has_rungs_of_its_large_one_and_differs_in_scale_alone(name, planned):
    large, small = planned(name.replace("cifar10", "imagenet")), planned(name)
    assert set(small) <= set(large)
    assert len(small) >= 4
    scale = {"data", "model", "optimizer.lr", "batch_size", "epochs", "augment", "schedule.warmup.epochs", "teacher"}
    if name == "cifar10_models":
        scale.add("schedule.warmup")  # the large one's has none before "tricks", whose batch the small one leaves
    for rung in small:
        paths = moved(large[rung].spec, small[rung].spec)
        assert all(any(path == own or path.startswith(f"{own}.") for own in scale) for path in paths), (rung, paths)


def test_what_two_tables_have_in_common_is_trained_once(planned):
    efficient, tweaks = planned("imagenet_efficient"), planned("imagenet_tweaks")
    refinements, models = planned("imagenet_refinements"), planned("imagenet_models")
    assert efficient["large_batch.fp16"].spec.id == tweaks["baseline"].spec.id
    assert tweaks["resnet_d"].spec.id == refinements["baseline"].spec.id == planned("places365")["baseline"].spec.id
    assert refinements["mixup"].spec.id == planned("places365")["best"].spec.id
    assert refinements["mixup+distillation"].spec.id == models["tricks"].spec.id
    for net in ("inception_v3", "mobilenet"):
        assert efficient[f"{net}.efficient"].spec.id == refinements[net].spec.id
    stack, small = planned("cifar10"), planned("cifar10_refinements")
    for rung in ("cosine", "label_smoothing", "mixup"):
        assert stack[rung].spec.id == small[rung].spec.id
    assert stack["distillation"].spec.id == small["mixup+distillation"].spec.id
    assert stack["distillation"].spec.id == planned("cifar10_models")["tricks"].spec.id


def test_two_teachers_a_size_of_images_are_shared_by_all_students(planned):
    """ResNet-152-D with and without mixup; of the Inception, whose images are larger, two more."""
    rungs = planned("imagenet_refinements")
    taught = {name: upstream(rung.spec) for name, rung in rungs.items() if rung.spec.teacher}
    assert len(taught) == 6
    teachers = {spec.id: spec for specs in taught.values() for spec in specs}
    assert sorted((t.data.size, bool(t.mix), t.epochs) for t in teachers.values()) == [
        *((224, False, 120), (224, True, 200), (299, False, 120), (299, True, 200))
    ]
    assert {t.model for t in teachers.values()} == {ResNet(blocks=(3, 8, 36, 3), variant="D")}
    assert taught["mobilenet.distillation"] == taught["distillation"]


def test_the_large_recipe_is_the_papers(planned):
    """Section 2.1 and 3.1, by hand."""
    rungs = planned("imagenet_efficient")
    base, large = rungs["baseline"].spec, rungs["large_batch.fp16"].spec
    assert (base.batch_size, base.epochs, base.optimizer.rate(256), base.decay.weight) == (256, 120, 0.1, 1e-4)
    assert (large.batch_size, large.optimizer.rate(1024), large.schedule.warmup.epochs) == (1024, 0.4, 5)
    steps = 1_281_167 // 256
    factors = [base.schedule.factor(epoch * steps, steps, 120) for epoch in (0, 29, 30, 59, 60, 89, 90, 119)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rungs["inception_v3"].spec.data.size == 299


@pytest.fixture(scope="module")
def monkeys(tmp_path_factory):
    """A function from a study's name and a design to its plan, on ten folders of six images and their oddities."""
    root = tmp_path_factory.mktemp("monkeys")
    for part, count in (("train", 5), ("val", 1)):
        for label in range(10):
            (root / part / f"n{label}").mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8), (20 * label, 40 * i, 200 * (part == "val"))).save(
                    root / part / f"n{label}" / f"{i}.jpg"
                )
    Image.new("RGB", (8, 8), "white").save(root / "train" / "n9" / "n9151jpg", "JPEG")
    return lru_cache(lambda name, design="ladder": study.plan(study.load(name), [("data.of.root", root)], None, design))


def test_monkeys_are_trained_as_the_report_tells(monkeys):
    """Its sections 2.3, 2.4 and 3.2, by hand."""
    base, *_, last = (rung.spec for rung in monkeys("monkeys").rungs)
    assert (base.batch_size, base.epochs, base.decay.weight, base.data.of.size) == (128, 300, 0, 224)
    assert type(base.optimizer).__name__ == "Adam"
    assert {base.optimizer.rate(128) * base.schedule.factor(step, 7, 300) for step in range(2100)} == {1e-3}
    black, white = ((x - base.data.of.mean[0]) / base.data.of.std[0] for x in (0, 255))
    assert (black, white) == (-1, 1)
    assert (base.data.of.fit, base.stop[0].keep, base.augment[0].groups) == ("squash", "val_top1", GROUPS)
    assert base.model == ResNet(blocks=(3, 4, 6, 3), variant="A")
    counts = base.data.load().counts
    assert (counts["train"] + counts["val"], counts["val"], counts["test"]) == (51, 10, 10)
    assert (last.model, last.epochs, type(last.optimizer).__name__) == (Timm(name="efficientnet_b0"), 400, "AdamP")
    assert (type(last.schedule.shape).__name__, type(last.precision).__name__) == ("Cosine", "FP16")


@pytest.mark.parametrize("name", MONKEYS[::2])
def test_the_monkeys_ladder_is_what_their_report_left_to_be_tried(name, monkeys):
    rungs = monkeys(name).rungs
    slots = [{path.partition(".")[0] for path in moved(a.spec, b.spec)} for a, b in pairwise(rungs)]
    assert slots == [{"schedule"}, {"schedule"}, {"precision"}, {"model"}, {"optimizer"}, {"epochs"}]
    assert len({rung.spec.id for rung in rungs}) == 7
    assert rungs[-1].spec.epochs / rungs[0].spec.epochs == pytest.approx(400 / 300, rel=0.02)


@pytest.mark.parametrize("name", MONKEYS[1::2])
def test_each_rung_of_the_policy_lacks_one_group(name, monkeys):
    whole, *others = monkeys(name, "leave-one-out").rungs
    assert len({rung.spec.id for rung in (whole, *others)}) == 8
    groups = [rung.spec.augment[0].groups for rung in others]
    assert [tuple(group for group in GROUPS if group not in own) for own in groups] == [(group,) for group in GROUPS]
    assert [moved(whole.spec, rung.spec) for rung in others] == [["augment.ImgAug.groups"]] * 7
    assert whole.spec.id == monkeys(name.replace("_policy", "")).rungs[0].spec.id, "trained once for both studies"


def test_small_monkeys_differ_in_scale_alone(monkeys):
    for large, small in (("monkeys", "monkeys_small"), ("monkeys_policy", "monkeys_policy_small")):
        for a, b in zip(monkeys(large).rungs, monkeys(small).rungs, strict=True):
            slots = {path for path in moved(a.spec, b.spec) if not path.startswith("model")}
            allowed = {"data.of.size", "data.of.decoding", "batch_size", "epochs", "stop.EarlyStopping.patience"}
            assert slots <= allowed | {"schedule.warmup.epochs"}


def test_an_image_without_an_ending_is_used_and_told(monkeys):
    assert "no image ending, read as an image by its content: train/n9/n9151jpg" in study.check(
        monkeys("monkeys_small")
    )


def test_the_optimizers_are_compared_at_one_rate_and_differ_in_nothing_else(planned):
    """As the report says: 0.001, batch 128, 100 epochs, cross-entropy on one dense layer; and plain SGD below SAM."""
    rungs = planned("mnist_optimizers")
    published = pd.read_csv(PUBLISHED / "mnist_optimizers.csv", keep_default_na=False)
    assert set(published["rung"]) <= set(rungs)
    base = rungs["baseline"].spec
    for name, rung in rungs.items():
        spec = rung.spec
        assert {path.partition(".")[0] for path in moved(base, spec)} <= {"optimizer", "ascent", "decay"}
        assert (spec.decay.weight > 0) == (name == "adam.adamw")
        assert {spec.optimizer.rate(128) * spec.schedule.factor(step, 468, 100) for step in (0, 9, 46_799)} == {0.001}
    assert (base.batch_size, base.epochs, base.optimizer.momentum, base.model.hidden) == (128, 100, 0, (784,))
    assert (rungs["sam"].spec.optimizer, rungs["sam"].spec.ascent[0].rho) == (base.optimizer, 0.05)
    named = ("SGD", "NAG", "Adam", "AdamW", "AdamP", "Expectigrad", "SGD")
    assert tuple(type(rung.spec.optimizer).__name__ for rung in rungs.values()) == named


def test_every_set_of_sam_smoothing_and_mixup_trains_as_long(planned):
    assert {rung.spec.epochs for rung in planned("mnist_sam").values()} == {40}
    whole = study.plan(study.load("mnist_sam"), design="factorial", options=Options(fraction=0))
    on = [(bool(spec.targets), bool(spec.mix), bool(spec.ascent)) for spec in (rung.spec for rung in whole.rungs)]
    assert sorted(on) == list(product((False, True), repeat=3))


@pytest.mark.parametrize(
    ("name", "rate", "batch", "epochs"),
    [
        ("voc_detection", 0.001, 4, 20),  # gluon-cv of December 2018: its defaults for VOC
        ("ade20k_segmentation", 0.01, 16, 120),
        ("transfer_detection", 0.1, 4, 2),
        ("transfer_segmentation", 0.1, 8, 4),
    ],
)
def test_rates_of_transfer_are_those_told_and_not_shares_of_a_batch_of_256(name, rate, batch, epochs):
    spec = importlib.import_module(f"experiments.{name}").BASELINE
    assert (spec.optimizer.rate(spec.batch_size), spec.batch_size, spec.epochs) == (rate, batch, epochs)


def test_the_small_backbone_has_the_rate_that_is_told():
    spec = importlib.import_module("experiments.transfer_detection").BACKBONE
    assert spec.optimizer.rate(spec.batch_size) == 0.05


def test_detectors_stand_on_the_networks_of_table_6():
    made = importlib.import_module("experiments.voc_detection")
    assert made.efficient(made.BACKBONE) == importlib.import_module("experiments.imagenet_refinements").BASELINE
