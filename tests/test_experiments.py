"""The studies of the paper's tables: that they have the rungs their tables ask for, and share what is the same run."""

from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from harness import study
from harness.parts.data import ImageFolder
from harness.parts.models import ResNet
from harness.spec import moved, upstream

PUBLISHED = Path(__file__).parents[1] / "reports" / "published"
LARGE = ("imagenet_efficient", "imagenet_tweaks", "imagenet_refinements", "imagenet_models", "places365")
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
        size = 32 if name in SMALL or name == "cifar10" else 224
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
