"""A network made again from its record, against a forward of the tests' own."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import harness
from harness import Problem
from harness.outcomes.networks import Network, revived, specification
from harness.parts.data import ImageFolder
from harness.spec import plain
from tests.kit.tiny import BASELINE

CPU = torch.device("cpu")


@pytest.fixture
def found(trained, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(trained))
    return harness.results("tiny")


def test_its_answers_are_those_of_the_weights_and_of_the_record(found):
    network = found.network("baseline", 0)
    images, labels = BASELINE.data.load().arrays["test"]
    net = BASELINE.model.build(1, 10)
    net.load_state_dict(found.store.weights(BASELINE.id, 0))
    pixels = images.astype(np.float32)
    with torch.no_grad():
        x = torch.from_numpy((pixels - np.float32(network.mean[0])) / np.float32(network.std[0]))
        z = net.eval()(x).double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    told = network.predict(images[0, 0])
    assert list(told) == [str(i) for i in np.argsort(-p[0], kind="stable")]
    assert [told[str(i)] for i in range(10)] == pytest.approx(p[0].tolist(), abs=1e-3)
    assert sum(told.values()) == pytest.approx(1)
    right = found.right("baseline").loc[0].to_numpy()
    assert (right == (z.argmax(1) == labels)).mean() > 0.99, "but for a tie that another batch breaks"


def test_one_image_is_the_same_as_file_as_pillows_and_as_array(found, tmp_path):
    network = found.network(BASELINE.id, 0)
    image = BASELINE.data.load().arrays["test"][0][3, 0]
    Image.fromarray(image).save(tmp_path / "digit.png")
    every = [network.predict(given) for given in (image, image[:, :, None], Image.fromarray(image))]
    every += [network.predict(tmp_path / "digit.png"), network.predict(str(tmp_path / "digit.png"))]
    every.append(network.predict(np.stack([image] * 3, axis=2)))
    assert all(told == every[0] for told in every)
    for odd in (image.astype(float), np.zeros((2, 8, 8, 3), np.uint8)):
        with pytest.raises(Problem, match="is no image: uint8"):
            network.predict(odd)
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(Problem, match=r"no\.png does not decode"):
        network.predict(tmp_path / "no.png")


@pytest.mark.parametrize("size", [32, 72])
@pytest.mark.parametrize("fit", [None, "squash"])
def test_a_photo_is_prepared_as_the_test_images_are(size, fit, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    rng = np.random.default_rng(0)
    for place, shape in enumerate([(90, 120), (100, 80)]):
        for split in ("train", "val"):
            folder = tmp_path / "photos" / split / f"class{place}"
            folder.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(folder / f"{split}.png")
    spec = BASELINE.but(data=ImageFolder(root=tmp_path / "photos", size=size, fit=fit))
    images = spec.data.load()
    network = Network(spec, 0, {}, torch.nn.Identity(), images)
    served = torch.cat([x for x, _ in images.test(1, CPU)])
    for place in range(2):
        mine = network.prepared(tmp_path / "photos" / "val" / f"class{place}" / "val.png")
        assert mine.shape == (1, 3, size, size)
        assert torch.equal(mine[0], served[place])


OWN = '''"""A part of a user's own."""
from harness.spec import Augment

class Same(Augment):
    def __call__(self, x, rng):
        return x
'''


def test_parts_of_any_module_are_found_again_and_no_other_is_imported(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(OWN)
    (tmp_path / "other_parts.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    form = plain(BASELINE)

    class Forms:
        def forms(self, spec_id, seed):
            return {"spec": json.loads(json.dumps(form))}

    form["augment"] = [{"kind": "own_parts.Same"}]
    with pytest.raises(Problem, match="is not what it was trained on") as told:
        specification(Forms(), "0" * 16, 0)
    assert "own_parts" in sys.modules
    made = str(told.value).split()[2]
    assert specification(Forms(), made, 0).augment[0].__class__.__module__ == "own_parts"
    form["augment"] = [{"kind": "other_parts.Same"}]
    with pytest.raises(Problem, match=r"other_parts\.Same, a part of this run, is not found"):
        specification(Forms(), "0" * 16, 0)


def test_what_is_not_there_is_said_in_a_line(found):
    with pytest.raises(Problem, match="seed 7: no finished run; finished seeds: 0"):
        found.network("baseline", 7)
    with pytest.raises(Problem, match="'other' is no rung of tiny: baseline"):
        found.network("other", 0)
    with pytest.raises(Problem, match="no study 'none' was run here"):
        harness.results("none")
    assert revived(found.store, BASELINE.id, 0).classes == tuple("0123456789")
