import subprocess
import sys
import warnings
from itertools import chain
from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image

from experiments.digits import BASELINE
from harness import Problem
from harness.parts import imgaug_policy
from harness.parts.data import ImageFolder, in_memory
from harness.parts.imgaug_policy import GROUPS, OPERATIONS, ImgAug, build, leaves, policy, undisturbed
from harness.rng import streams
from tests.kit.imports import graph, outer

CPU = torch.device("cpu")
PUBLISHED = """
Sequential(
    [
        Fliplr(0.5),
        Flipud(0.2),
        sometimes(Crop(percent=(0, 0.1))),
        sometimes(Affine(scale={"x": (0.8, 1.2), "y": (0.8, 1.2)},
            translate_percent={"x": (-0.2, 0.2), "y": (-0.2, 0.2)},
            rotate=(-45, 45),shear=(-16, 16),order=[0, 1],cval=(0, 255),mode=ALL)),
        SomeOf((0, 5),
        [
            sometimes(Superpixels(p_replace=(0, 1.0),n_segments=(20, 200))),
            OneOf([GaussianBlur((0, 3.0)),AverageBlur(k=(2, 7)),MedianBlur(k=(3, 11)),]),
            Sharpen(alpha=(0, 1.0), lightness=(0.75, 1.5)),
            Emboss(alpha=(0, 1.0), strength=(0, 2.0)),
            sometimes(OneOf([EdgeDetect(alpha=(0, 0.7)),DirectedEdgeDetect(alpha=(0, 0.7), direction=(0.0, 1.0)),]),),
            AdditiveGaussianNoise(loc=0, scale=(0.0, 0.05*255),per_channel=0.5),
            OneOf([Dropout((0.01, 0.1), per_channel=0.5),
                CoarseDropout((0.03, 0.15), size_percent=(0.02, 0.05),per_channel=0.2),]),
            # Invert(0.05, per_channel=True),
            Add((-10, 10), per_channel=0.5),
            Multiply((0.5, 1.5), per_channel=0.5),
            LinearContrast((0.5, 2.0), per_channel=0.5),
            # Grayscale(alpha=(0.0, 1.0)),
            sometimes(ElasticTransformation(alpha=(0.5, 3.5), sigma=0.25)),
            sometimes(PiecewiseAffine(scale=(0.01, 0.05)))
        ],
        random_order=True
    )
],
    random_order=True
)
"""


def photo(size=48, seed=0):
    """Smooth shades with an edge and a little grain, away from black and white."""
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y * x), np.sin(6 * x - 8 * y)]
    grain = np.random.default_rng(seed).normal(0, 4, (size, size, 3))
    return np.clip(125 + 50 * np.stack(waves, -1) + 20 * (x > y)[..., None] + grain, 40, 210).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- the room -------------------------------------------------------------------------------------------------------


def test_the_library_is_loaded_by_its_use_alone_and_leaves_numpy_as_it_was():
    code = """
import random, sys, warnings
warnings.simplefilter("error")
import numpy as np
from harness.parts import augment, data, imgaug_policy
from harness.tricks import imgaug_policy as tricks
from harness import bench
loaded = lambda: {"imgaug", "cv2", "skimage"} & set(sys.modules)
part = imgaug_policy.ImgAug()
assert not loaded()
names, state, own = set(dir(np)), np.random.get_state(), random.getstate()
part.ready()
assert loaded() == {"imgaug", "cv2", "skimage"}
part.on_pixels(np.full((20, 16, 16, 3), 90, np.uint8), np.random.default_rng(0))
after = np.random.get_state()
assert set(dir(np)) == names
assert not hasattr(np, "sctypes") and not hasattr(np, "complex")
assert state[0] == after[0] and (state[1] == after[1]).all() and state[2:] == after[2:]
assert random.getstate() == own
assert sys.modules["imgaug.random"].GLOBAL_RNG is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_numpy_that_has_the_names_keeps_them(monkeypatch):
    monkeypatch.setattr(np, "sctypes", {"int": [], "uint": [], "float": []}, raising=False)
    imgaug_policy._imgaug.__wrapped__()
    assert np.sctypes == {"int": [], "uint": [], "float": []}


def test_the_generator_that_others_share_is_put_back_though_something_fails():
    with undisturbed() as iaa:
        pass
    shared = sys.modules["imgaug.random"].get_global_rng()
    before = str(shared.state)
    with pytest.raises(AssertionError, match="Expected"), undisturbed():
        iaa.Sequential([iaa.Add((-10, 10)), "none"])
    assert sys.modules["imgaug.random"].GLOBAL_RNG is shared
    assert str(shared.state) == before


def test_linear_algebra_has_one_thread_meanwhile():
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2, "blas"):
        before = threads()
        with undisturbed():
            assert set(threads()) == {1}
        assert threads() == before
    assert set(before) == {2}


def test_only_warnings_of_what_is_outdated_are_silenced():
    with undisturbed(), pytest.raises(UserWarning, match="new"):
        warnings.warn("something new", stacklevel=1)


def test_one_room_imports_imgaug():
    for name in graph():
        assert name == "harness.parts.imgaug_policy" or not outer(name) & {"imgaug", "skimage"}


# --- the policy -----------------------------------------------------------------------------------------------------


def described(value):
    """All that decides what an augmenter does, as plain values: kind, fields, and those of what is in it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    kind, fields = type(value).__name__, getattr(value, "__dict__", {})
    if kind == "Sequential" and len(value) == 1:
        return described(value[0])  # of one in a list and of one by itself the same is meant
    own = {key: described(item) for key, item in fields.items() if key not in ("random_state", "name")}
    if isinstance(value, list | tuple):
        return [kind, own, *map(described, value)] if own else [*map(described, value)]
    return (kind, own) if fields else value


def published():
    with undisturbed() as iaa:
        return eval(PUBLISHED, vars(iaa) | {"sometimes": lambda one: iaa.Sometimes(0.5, one), "ALL": "ALL"})


def test_the_policy_is_the_published_one_with_every_number():
    assert described(policy(GROUPS)) == described(published())
    told = str(described(published()))
    assert all(word in told for word in ("0.05", "12.75", "SomeOf", "random_order': True", "ElasticTransf"))
    assert len(told) > 5000
    other = PUBLISHED.replace("(0.75, 1.5)", "(0.75, 1.51)")
    with undisturbed() as iaa:
        near = eval(other, vars(iaa) | {"sometimes": lambda one: iaa.Sometimes(0.5, [one]), "ALL": "ALL"})
    assert described(policy(GROUPS)) != described(near), "the description tells numbers apart"


def test_operations_are_those_of_the_tree():
    names = [type(leaf).__name__ for leaf in leaves(policy(GROUPS))]
    assert names == [name for group in GROUPS for name in OPERATIONS[group]]
    assert len(set(names)) == 20
    assert not {"Invert", "Grayscale"} & set(names)


@pytest.mark.parametrize("out", GROUPS)
def test_without_a_group_the_others_are_as_they_were(out):
    left = tuple(group for group in GROUPS if group != out)
    whole = {type(leaf).__name__: described(leaf) for leaf in leaves(policy(GROUPS))}
    assert {type(leaf).__name__: described(leaf) for leaf in leaves(policy(left))} == {
        name: about for name, about in whole.items() if name not in OPERATIONS[out]
    }
    tree = policy(left)
    assert tree.random_order
    assert len(tree) == (1 if out == "geometry" else 5)
    assert described(tree[-1].n) == described(published()[-1].n)
    assert tree[-1].random_order


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone(group):
    assert [type(leaf).__name__ for leaf in leaves(policy((group,)))] == list(OPERATIONS[group])
    before = np.stack([photo()] * 12)
    after = ImgAug(groups=(group,)).on_pixels(before, rng())
    assert (after != before).any((1, 2, 3)).sum() > 2


def test_groups_are_kept_in_one_order_each_once():
    assert ImgAug().groups == GROUPS
    assert ImgAug(groups=("noise", "blur", "noise")) == ImgAug(groups=("blur", "noise"))
    for wrong in ((), ("invert",)):
        with pytest.raises(pydantic.ValidationError):
            ImgAug(groups=wrong)


def test_grey_images_are_refused_in_a_line():
    with pytest.raises(Problem, match="^ImgAug needs RGB images; Digits has 1 channel$"):
        BASELINE.but(augment=(ImgAug(),)).agree()


# --- each operation -------------------------------------------------------------------------------------------------


def mirrored(x, y, axis):
    return np.array_equal(y, x) or np.array_equal(y, np.flip(x, axis))


def added(x, y):
    by = y.astype(int) - x
    return np.ptp(by, (0, 1)).max() == 0 and np.abs(by).max() <= 10


def around(x, y, centre, low, high):
    """Whether `y` is `centre` plus a multiple of what `x` has over it, for each channel, where it is not cut off."""
    for a, b in zip(x.reshape(-1, 3).T.astype(float), y.reshape(-1, 3).T.astype(float), strict=True):
        free = (b > 0) & (b < 255)
        slope = np.linalg.lstsq((a - centre)[free, None], (b - centre)[free], rcond=None)[0][0]
        if not low - 0.02 <= slope <= high + 0.02 or np.abs(centre + slope * (a - centre) - b)[free].max() > 1.5:
            return False
    return True


def dropped(x, y, most):
    gone = (y == 0).mean((0, 1))
    return bool(((y == x) | (y == 0)).all()) and gone.max() <= most


def colours(x):
    return len(np.unique(x.reshape(-1, 3), axis=0))


def roughness(x):
    return np.abs(np.diff(x.astype(float), axis=0)).mean() + np.abs(np.diff(x.astype(float), axis=1)).mean()


def nearby(x, y, reach, border=0, slack=1.0):
    """Whether each pixel lies between the least and the most of those around its place, as a blend of them does."""
    inner = slice(border, len(x) - border)
    padded = np.pad(x, [(reach, reach), (reach, reach), (0, 0)], mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1), (0, 1))
    return bool(((y >= views.min((3, 4)) - slack) & (y <= views.max((3, 4)) + slack))[inner, inner].all())


HOLDS = {
    "Fliplr": lambda x, y: mirrored(x, y, 1),
    "Flipud": lambda x, y: mirrored(x, y, 0),
    "Crop": lambda x, y: x.min() <= y.min() and y.max() <= x.max() and abs(float(x.mean()) - y.mean()) < 15,
    "Affine": lambda x, y: True,
    "Superpixels": lambda x, y: colours(y) < colours(x) and abs(float(x.mean()) - y.mean()) < 0.3,
    "GaussianBlur": lambda x, y: roughness(y) <= roughness(x) and nearby(x, y, 8),
    "AverageBlur": lambda x, y: roughness(y) < roughness(x) and nearby(x, y, 4),
    "MedianBlur": lambda x, y: roughness(y) < roughness(x) and nearby(x, y, 5),
    "Sharpen": lambda x, y: roughness(y) > 0.7 * roughness(x),
    "Emboss": lambda x, y: True,
    "EdgeDetect": lambda x, y: y.mean() <= x.mean(),
    "DirectedEdgeDetect": lambda x, y: y.mean() <= x.mean(),
    "AdditiveGaussianNoise": lambda x, y: (y.astype(float) - x).std() < 13.5 and abs((y.astype(float) - x).mean()) < 1,
    "Dropout": lambda x, y: dropped(x, y, 0.13),
    "CoarseDropout": lambda x, y: dropped(x, y, 0.6),
    "Add": added,
    "Multiply": lambda x, y: around(x, y, 0, 0.5, 1.5),
    "LinearContrast": lambda x, y: around(x, y, 127, 0.5, 2.0),
    "ElasticTransformation": lambda x, y: nearby(x, y, 5, border=4, slack=15),  # cubic, and black at the border
    "PiecewiseAffine": lambda x, y: True,
}


@pytest.mark.parametrize("name", HOLDS)
def test_each_operation_runs_and_does_what_it_is_called(name):
    assert set(HOLDS) == set(chain(*OPERATIONS.values()))
    leaf, x = next(leaf for leaf in leaves(policy(GROUPS)) if type(leaf).__name__ == name), photo()
    made = []
    for seed in range(12):
        leaf.seed_(seed)
        with undisturbed():
            y = leaf.augment_image(x.copy())
        assert y.shape == x.shape
        assert y.dtype == np.uint8
        assert HOLDS[name](x, y)
        made.append(y)
    assert sum(not np.array_equal(x, y) for y in made) >= 2
    assert len({y.tobytes() for y in made}) >= (2 if name.startswith("Flip") else 4)
    leaf.seed_(11)
    with undisturbed():
        assert np.array_equal(leaf.augment_image(x.copy()), made[-1])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_superpixels_are_filled_with_their_own_means(share):
    """As imgaug's are not, where scikit-image numbers segments from 1."""
    from skimage.segmentation import slic

    kind = type(next(leaf for leaf in leaves(policy(GROUPS)) if type(leaf).__name__ == "Superpixels"))
    x = photo(64)
    with undisturbed():
        y = kind(p_replace=share, n_segments=30, seed=1).augment_image(x.copy())
    segments, filled = slic(x, n_segments=30, compactness=10), []
    for label in np.unique(segments):
        before, after = x[segments == label], y[segments == label]
        filled.append(not np.array_equal(before, after))
        if filled[-1]:
            assert (after == np.round(before.mean(0))).all()
    assert len(filled) > 15
    if share in (0.0, 1.0):
        assert np.mean(filled) == share
    else:
        assert 0.15 < np.mean(filled) < 0.7


@pytest.mark.parametrize("channels", [1, 3])
def test_piecewise_affine_gives_the_librarys_pixels(channels):
    kind = type(next(leaf for leaf in leaves(policy(GROUPS)) if type(leaf).__name__ == "PiecewiseAffine"))
    x, apart = photo(64)[:, :, :channels], 0
    with undisturbed() as iaa:
        for seed in range(6):
            how = {"scale": 0.05, "order": [0, 1], "cval": 77, "mode": ["constant", "edge"], "seed": seed}
            own, library = (cls(**how).augment_image(x.copy()) for cls in (kind, iaa.PiecewiseAffine))
            assert np.array_equal(own, library)
            apart += not np.array_equal(own, x)
        assert np.array_equal(kind(scale=0.0, seed=0).augment_image(x.copy()), x)
    assert apart == 6


@pytest.mark.parametrize("name", ["Affine", "PiecewiseAffine", "Crop", "ElasticTransformation", "Superpixels"])
def test_what_moves_pixels_leaves_one_colour_as_it_is(name):
    """But for what comes in at the border: black, and one of Affine's five fillings."""
    leaf = next(leaf for leaf in leaves(policy(GROUPS)) if type(leaf).__name__ == name)
    x, same = np.full((40, 40, 3), (30, 130, 230), np.uint8), 0
    for seed in range(10):
        leaf.seed_(seed)
        with undisturbed():
            y = leaf.augment_image(x.copy())
        assert (y[15:25, 15:25] == x[15:25, 15:25]).all()
        same += np.array_equal(x, y)
    assert same >= {"Affine": 4, "ElasticTransformation": 0}.get(name, 10)


# --- its draws ------------------------------------------------------------------------------------------------------


def reached(value, found):
    """Every augmenter that an augmenter holds in any field, whatever it says its children are."""
    if id(value) in found:
        return found
    if hasattr(value, "augment_batch_"):
        found[id(value)] = value
    inside = [*value] if isinstance(value, list | tuple) else []
    for item in (*inside, *getattr(value, "__dict__", {}).values()):
        if isinstance(item, list | tuple) or hasattr(item, "augment_batch_"):
            reached(item, found)
    return found


def test_seeding_reaches_every_augmenter():
    tree = build(imgaug_policy._imgaug(), GROUPS)
    draws = ("SomeOf", "OneOf", "Sometimes", *chain(*OPERATIONS.values()))
    every = [one for one in reached(tree, {}).values() if type(one).__name__ in draws or one.random_order]
    assert len(every) == 20 + 6 + 3 + 1 + 1  # operations, Sometimes, OneOf, SomeOf, and the whole

    def states():
        return [str(augmenter.random_state.state) for augmenter in every]

    tree.seed_(1)
    first = states()
    assert len(set(first)) == len(first), "no two draw alike"
    with undisturbed():
        for _ in range(30):
            tree.augment_image(photo(16))
    assert sum(a != b for a, b in zip(first, states(), strict=True)) > 25
    tree.seed_(1)
    assert states() == first
    tree.seed_(2)
    assert not set(states()) & set(first)


def test_what_was_drawn_before_changes_nothing():
    part, images = ImgAug(), np.stack([photo(24, seed) for seed in range(40)])
    first = part.on_pixels(images, rng(5))
    part.on_pixels(images, rng(6))
    assert np.array_equal(part.on_pixels(images, rng(5)), first)
    assert not np.array_equal(part.on_pixels(images, rng(6)), first)


def test_each_image_has_draws_of_its_own():
    images = np.stack([photo(32)] * 48)
    made = ImgAug().on_pixels(images, rng())
    assert (images == photo(32)).all(), "the input is left as it was"
    assert made.shape == images.shape
    assert made.dtype == np.uint8
    assert len({image.tobytes() for image in made}) > 40
    assert np.array_equal(ImgAug().on_pixels(images[:5], rng()), made[:5])


def test_the_order_of_operations_is_drawn_for_each_image(monkeypatch):
    """Not once a batch, as imgaug does where it is given one."""
    orders, iaa = [], imgaug_policy._imgaug()
    for kind in (iaa.Fliplr, iaa.Flipud):
        whole = kind.augment_batch_
        monkeypatch.setattr(
            kind, "augment_batch_", lambda s, *a, w=whole, **k: (orders.append(s.name), w(s, *a, **k))[1]
        )
    ImgAug(groups=("geometry",)).on_pixels(np.stack([photo(16)] * 40), rng())
    firsts = [orders[i] for i in range(0, 80, 2)]
    assert 8 < sum("Fliplr" in name for name in firsts) < 32


def test_shares_of_images_are_as_published():
    """Of 600: mirrored, upside down; noise alone in 5 of 6, for of none to five of one it is none once."""
    marked = np.zeros((600, 12, 12, 3), np.uint8)
    marked[:, 0, 3] = 200
    tree = policy(("geometry",))
    flips = [leaf for leaf in leaves(tree) if type(leaf).__name__.startswith("Flip")]
    for leaf, p, mirror in zip(flips, (0.5, 0.2), (lambda x: x[0, -4, 0], lambda x: x[-1, 3, 0]), strict=True):
        leaf.seed_(0)
        share = np.mean([mirror(leaf.augment_image(image)) == 200 for image in marked])
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / 600)
    noisy = ImgAug(groups=("noise",)).on_pixels(np.full((600, 12, 12, 3), 99, np.uint8), rng())
    share = (noisy != 99).any((1, 2, 3)).mean()
    assert abs(share - 5 / 6) < 0.07


def test_images_in_memory_get_the_same_draws_as_pixels():
    images = np.stack([photo(24, seed) for seed in range(6)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    made = ImgAug()(x, rng(3))
    assert made.dtype == torch.float32
    assert made.is_contiguous()
    expected = ImgAug().on_pixels(images, rng(3))
    assert np.array_equal(made.permute(0, 2, 3, 1).numpy(), expected)
    odd = ImgAug()((x + 0.4).clamp(max=255.4), rng(3))
    assert torch.equal(odd, made), "what other parts left between two shades is rounded"


# --- as data sets serve it ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("monkeys")
    for part, count in (("train", 12), ("val", 2)):
        for name in ("howler", "uakari"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(photo(80, i + 50 * (part == "val"))).save(root / part / name / f"{i}.png")
    return root


WHOLE = (ImgAug(),)


def served(images, epoch=0, seed=0, start=0, augment=WHOLE):
    return [x.clone() for x, _ in images.train(epoch, 6, augment, streams(seed), CPU, start)]


def alike(one, other):
    return len(one) == len(other) and all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("size", [32, 72])
def test_batches_are_of_seed_epoch_and_number_whoever_makes_them(folder, size, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    images = ImageFolder(root=folder, size=size, fit="squash").load()
    monkeypatch.setenv("HARNESS_DECODERS", "1")
    first = served(images)
    for workers in ("0", "2", "4", "0"):
        monkeypatch.setenv("HARNESS_DECODERS", workers)
        assert alike(served(images), first)
    assert alike(served(images, start=2), first[2:]), "a run taken up within an epoch"
    assert not alike(first, served(images, augment=()))
    assert not any(torch.equal(x, y) for x, y in zip(first, served(images, epoch=1), strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(first, served(images, seed=1), strict=True))


def test_epochs_batches_and_seeds_draw_apart():
    """Of images all alike, so that the order of images is not what differs."""
    same = np.full((12, 3, 24, 24), 120, np.uint8)
    same[:, :, 4:9, 12:] = 30
    labels = np.arange(12) % 2
    images = in_memory({"train": (same, labels), "test": (same, labels)}, ("a", "b"))
    every = [batch for epoch in (0, 1) for seed in (0, 1) for batch in served(images, epoch, seed)]
    assert len(every) == 8
    assert len({batch.numpy().tobytes() for batch in every}) == 8


def test_a_study_of_photos_trains_and_proves_what_it_did(folder):
    from harness import train as loop

    data = ImageFolder(root=Path(folder), size=72, fit="squash", mean=(127.5,) * 3, std=(127.5,) * 3)
    model = BASELINE.model.but(blocks=(1, 1), width=4)
    spec = BASELINE.but(data=data, model=model, batch_size=8, epochs=1, augment=(ImgAug(),))
    spec.agree()
    made = loop.train(spec, 0, CPU, None)
    assert [row for row in made.result["evidence"] if not row["ok"]] == []
    assert any(row["part"] == "ImgAug" for row in made.result["evidence"])
    assert made.result["status"] == "finished"
