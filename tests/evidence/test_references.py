"""Each part's `reference` against something that neither it nor the code that it checks is made of."""

import colorsys
import math

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageOps
from scipy import ndimage, stats
from scipy.special import logsumexp, softmax
from timm.models.resnet import Bottleneck as Timms
from timm.models.resnet import ResNet as TimmsResNet
from torch import nn
from torch.optim import lr_scheduler
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.transforms import v2

from harness.parts.augment import ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift
from harness.parts.data import ImageFolder
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import FCN, Dense, ResNet, Timm
from harness.parts.optimizers import NAG, SGD, Adam, AdamP, AdamW, Expectigrad
from harness.parts.schedules import Piecewise, Step
from harness.rng import streams
from harness.spec import referenced
from harness.tricks.cosine import Cosine
from harness.tricks.distillation import Distill
from harness.tricks.label_smoothing import Smoothing
from harness.tricks.mixup import Mixup
from harness.tricks.no_bias_decay import DecayWeights
from harness.tricks.sam import SharpnessAware
from harness.tricks.warmup import LinearWarmup
from harness.tricks.zero_gamma import ZeroGamma


class Said:
    """A generator whose draws are said beforehand, each once."""

    def __init__(self, **draws):
        self.draws = {name: list(values) for name, values in draws.items()}

    def __getattr__(self, name):
        return lambda *args, **named: self.draws[name].pop(0)


def images(n=5, channels=3, size=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, channels, size, size)).astype(np.float64)


# --- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [1, 3])
def test_shift_against_scipy(pixels):
    x = images()
    rng = np.random.default_rng(1)
    down, right = rng.integers(0, 2 * pixels + 1, size=(2, 5, 1))[:, :, 0] - pixels
    assert len({*zip(down.tolist(), right.tolist(), strict=True)}) > 1
    moved = Shift(pixels=pixels).reference(x, np.random.default_rng(1))
    for image, out, dy, dx in zip(x, moved, down, right, strict=True):
        np.testing.assert_array_equal(out, ndimage.shift(image, (0, -dy, -dx), order=0, cval=0.0))


def test_flip_against_pillow():
    x = images(n=40)
    flipped = Flip().reference(x, np.random.default_rng(0))
    for image, out, coin in zip(x, flipped, np.random.default_rng(0).random(40), strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0).astype(np.uint8))
        due = ImageOps.mirror(picture) if coin < 0.5 else picture
        np.testing.assert_array_equal(out.transpose(1, 2, 0), np.asarray(due))


def test_window_by_hand():
    """A quarter of 40 x 20 px, twice as wide as high: 10 high and 20 wide; too wide ones are drawn anew."""
    part = RandomAreaCrop()
    said = Said(uniform=[0.9, math.log(4 / 3), 0.25, math.log(2)], integers=[7, 0])
    assert part.window(40, 20, said) == (7, 0, 10, 20)
    assert part.window(20, 40, Said(uniform=[0.9, math.log(3 / 4)] * 10)) == (0, 6, 20, 27), "4/3 of the height at most"
    assert part.window(40, 20, Said(uniform=[1.0, 0.0] * 10)) == (6, 0, 27, 20)


@pytest.mark.parametrize("size", [12, 64])
def test_crop_against_torchvision(size):
    x, part = images(size=size), RandomAreaCrop()
    cropped, rng = part.reference(x, np.random.default_rng(2)), np.random.default_rng(2)
    for image, out in zip(x, cropped, strict=True):
        window = part.window(size, size, rng)
        due = v2.functional.resized_crop(torch.from_numpy(image).float(), *window, [size, size], antialias=True)
        np.testing.assert_allclose(out, due.numpy(), atol=2e-3)


def test_colours_against_the_standard_librarys():
    x = images(n=3, size=4)
    x[0, :, 0, 0] = 77  # grey has no hue
    by = np.array([[0.7, 1.3, 1.0], [1.4, 0.6, 1.2], [0.9, 1.4, 1.1]])[:, :, None, None]
    changed = ColorJitter().reference(x, Said(uniform=[by]))
    for i in range(3):
        for place in np.ndindex(4, 4):
            hue, saturation, value = colorsys.rgb_to_hsv(*(x[i, :, *place] / 255))
            hue, saturation, value = (a * b for a, b in zip((hue, saturation, value), by[:, i, 0, 0], strict=True))
            due = colorsys.hsv_to_rgb(hue % 1, min(1, saturation), min(1, value))
            np.testing.assert_allclose(changed[i, :, *place], 255 * np.array(due), atol=1e-9)


def test_pca_noise_by_hand():
    """Its first component is 55.46·α along (-0.5675, -0.5808, -0.5836); its variance that of the three together."""
    x = np.zeros((2, 3, 2, 2))
    changed = PCANoise().reference(x, Said(normal=[np.array([[0.1, 0, 0], [0, 0, -0.2]])]))
    np.testing.assert_allclose(changed[0, :, 1, 0], [-3.147355, -3.2211168, -3.2366456], rtol=1e-9)
    np.testing.assert_allclose(changed[1, :, 0, 1], [-0.09204664, 0.1868944, -0.09650088], rtol=1e-9)
    noise = PCANoise().reference(np.zeros((20000, 3, 1, 1)), np.random.default_rng(0))[:, :, 0, 0]
    due = 0.01 * (55.46**2 * 0.5675**2 + 4.794**2 * 0.7192**2 + 1.148**2 * 0.4009**2)
    assert noise[:, 0].var() == pytest.approx(due, rel=0.05)
    assert (x == 0).all(), "what it was given stays"


@pytest.mark.parametrize("fit", [None, "squash"])
@pytest.mark.parametrize("shape", [(180, 120), (140, 210)])
def test_photos_as_they_are_tested_against_torchvision(fit, shape, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / name / "0.png")
    data = ImageFolder(root=tmp_path, size=84, fit=fit).load()
    seen = data.reference("test", np.arange(2), [])
    scaled = v2.Resize((84, 84)) if fit else v2.Compose([v2.Resize(96), v2.CenterCrop(84)])
    for i, name in enumerate("ab"):
        due = np.asarray(scaled(Image.open(tmp_path / "val" / name / "0.png")))
        np.testing.assert_array_equal(seen[i].transpose(1, 2, 0), due)


# --- targets --------------------------------------------------------------------------------------------------------


def test_smoothing_by_hand():
    np.testing.assert_allclose(Smoothing(smoothing=0.3).reference(np.eye(4)[[2]]), [[0.1, 0.1, 0.7, 0.1]])
    halves = Smoothing(smoothing=0.3).reference(np.array([[0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(halves, [[0.4, 0.4, 0.1, 0.1]])


def test_mixup_by_hand():
    """0.75 of each image and 0.25 of its partner, which may be itself."""
    x, y = np.array([4.0, 8.0, 100.0]).reshape(3, 1, 1, 1), np.eye(3)
    mixed = Mixup(alpha=0.2).reference(x, y, Said(beta=[0.75], permutation=[np.array([1, 0, 2])]))
    np.testing.assert_allclose(mixed[0].ravel(), [5, 7, 100])
    np.testing.assert_allclose(mixed[1], [[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 1]])


def test_mixups_share_is_betas():
    shares = [
        Mixup(alpha=0.4).reference(np.zeros((2, 1, 1, 1)), np.eye(2), Said(beta=[d], permutation=[[1, 0]]))[1][0, 0]
        for d in stats.beta(0.4, 0.4).rvs(size=5, random_state=0)
    ]
    np.testing.assert_allclose(shares, stats.beta(0.4, 0.4).rvs(size=5, random_state=0))
    drawn = [
        Mixup(alpha=0.4).reference(np.arange(40.0).reshape(40, 1, 1, 1), np.eye(40), np.random.default_rng(seed))[1]
        for seed in range(300)
    ]
    assert stats.kstest([y.diagonal().min() for y in drawn], stats.beta(0.4, 0.4).cdf).pvalue > 0.01


# --- the loss of a teacher ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_distillation_against_torchs_divergence(temperature, tiny):
    """T²·(KL(r ‖ z) + the entropy of r), at temperature T; its gradient is KL's."""
    rng = np.random.default_rng(0)
    z, r = 5 * rng.normal(size=(2, 6, 10))
    loss, slope = Distill(spec=tiny, temperature=temperature).reference(z, r)
    student, log_p = torch.from_numpy(z).requires_grad_(), torch.from_numpy(r / temperature).log_softmax(1)
    kl = nn.functional.kl_div((student / temperature).log_softmax(1), log_p, reduction="batchmean", log_target=True)
    (temperature**2 * kl).backward()
    entropy = stats.entropy(softmax(r / temperature, axis=1), axis=1).mean()
    assert loss == pytest.approx(temperature**2 * (kl.item() + entropy), rel=1e-10)
    np.testing.assert_allclose(slope, student.grad.numpy(), rtol=1e-9, atol=1e-15)


def test_distillation_by_hand_of_two_classes(tiny):
    """Of logits (1, 0) and a teacher's (0, 0), at T = 1: log(1 + e) - ½."""
    loss, slope = Distill(spec=tiny, temperature=1.0).reference(np.array([[1.0, 0.0]]), np.zeros((1, 2)))
    assert loss == pytest.approx(logsumexp([1, 0]) - 0.5)
    np.testing.assert_allclose(slope, [[1 / (1 + math.exp(-1)) - 0.5, 0.5 - 1 / (1 + math.exp(-1))]])


# --- rates ----------------------------------------------------------------------------------------------------------


def torchs(make, steps):
    """The rates of a scheduler of torch's, at a peak of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, seen = make(optimizer), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("warm", [0, 6])
def test_schedules_against_torchs(warm):
    """40 epochs of 3 batches; T of the cosine is without the warmup, and cuts are of all."""
    warmup = LinearWarmup(epochs=warm / 3) if warm else None
    step, cosine = (Piecewise(warmup=warmup, shape=shape) for shape in (Step(), Cosine()))
    cut = torchs(lambda o: lr_scheduler.MultiStepLR(o, [30, 60, 90], 0.1), 120)
    half = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 120 - warm), 120 - warm)
    grown = torchs(lambda o: lr_scheduler.LinearLR(o, 1 / 6, 1.0, 5), warm)
    np.testing.assert_allclose([step.reference(i, 3, 40) for i in range(120)], [*grown, *cut[warm:]], rtol=1e-9)
    np.testing.assert_allclose([cosine.reference(i, 3, 40) for i in range(120)], [*grown, *half], atol=1e-12)


def test_peaks_by_hand():
    assert NAG(lr=0.1, per=256).peak(1024) == pytest.approx(0.4)
    assert Adam(lr=0.01).peak(1024) == 0.01


# --- weights --------------------------------------------------------------------------------------------------------


def test_xavier_by_hand():
    """3 filters of 3 x 3 on 2 channels: ±√(6 / 45); a matrix of 5 by 12: ±√(6 / 17). Uniform numbers, stretched."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5))
    shapes = {name: p.shape for name, p in net.named_parameters()}
    due, rng = Xavier().reference(shapes, net, streams(3)), streams(3)
    assert set(due) == set(shapes)
    for name, a in (("0.weight", math.sqrt(6 / 45)), ("3.weight", math.sqrt(6 / 17))):
        np.testing.assert_allclose(due[name], a * (2 * rng("init", name).random(tuple(shapes[name])) - 1), rtol=1e-9)
    assert {float(v) for name in ("1.bias", "3.bias") for v in due[name]} == {0.0}
    assert due["1.weight"].tolist() == [1.0] * 3


@pytest.mark.parametrize(("bottleneck", "last"), [(True, 7), (False, 4)])
def test_zero_gamma_by_names(bottleneck, last):
    net = ResNet(blocks=(2, 1), width=4, bottleneck=bottleneck, small=True).build(1, 10)
    due = ZeroGamma().reference({name: p.shape for name, p in net.named_parameters()}, net, streams(0))
    wide = (16, 32) if bottleneck else (4, 8)
    names = [("stage1.0", wide[0]), ("stage1.1", wide[0]), ("stage2.0", wide[1])]
    assert {name: values.tolist() for name, values in due.items()} == {
        f"{block}.body.{last}.weight": [0.0] * channels for block, channels in names
    }


def test_zero_gamma_of_timms_by_names():
    net = TimmsResNet(Timms, [1, 1, 1, 1], num_classes=3)
    due = ZeroGamma().reference({name: p.shape for name, p in net.named_parameters()}, net, streams(0))
    assert set(due) == {f"layer{stage}.0.bn3.weight" for stage in (1, 2, 3, 4)}


def test_decay_by_names():
    layers = {"conv": nn.Conv2d(1, 1, 1), "bn": nn.BatchNorm2d(1), "fc": nn.Linear(1, 1)}
    for layer, kind in layers.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            assert DecayAll(weight=0.3).reference(name, kind) == 0.3
            spared = name not in ("conv.weight", "fc.weight")
            assert DecayWeights(weight=0.3).reference(name, kind) == (0.0 if spared else 0.3)


# --- steps ----------------------------------------------------------------------------------------------------------

RULES = {
    "NAG": (NAG(momentum=0.8), lambda p, d: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True, weight_decay=d)),
    "SGD": (SGD(momentum=0.8), lambda p, d: torch.optim.SGD(p, 0.1, momentum=0.8, weight_decay=d)),
    "plain": (SGD(momentum=0.0), lambda p, d: torch.optim.SGD(p, 0.1, weight_decay=d)),
    "Adam": (Adam(betas=(0.8, 0.9)), lambda p, d: torch.optim.Adam(p, 0.1, (0.8, 0.9), weight_decay=d)),
    "AdamW": (AdamW(betas=(0.8, 0.9)), lambda p, d: torch.optim.AdamW(p, 0.1, (0.8, 0.9), weight_decay=d)),
    # whose projection never comes: no cosine is below 0
    "AdamP": (AdamP(delta=1e-30), lambda p, d: torch.optim.AdamW(p, 0.1, weight_decay=d)),
    "AdamP, Nesterov": (
        AdamP(delta=1e-30, nesterov=True, betas=(0.0, 0.9)),
        lambda p, d: torch.optim.AdamW(p, 0.1, (0.0, 0.9), weight_decay=d),
    ),
}


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("name", RULES)
def test_rules_against_torchs(name, decay):
    part, make = RULES[name]
    rng = np.random.default_rng(0)
    w, kept = rng.normal(size=(4, 3)), {}
    weight = nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = make([weight], decay)
    for _ in range(6):
        g = rng.normal(size=(4, 3))
        w = part.reference(w, g, 0.1, decay, kept)
        weight.grad = torch.from_numpy(g)
        optimizer.step()
        np.testing.assert_allclose(w, weight.detach().numpy(), rtol=1e-9, atol=1e-12)
    state = optimizer.state[weight]
    for key, place in part.held.items():
        np.testing.assert_allclose(kept[key], np.asarray(state[place]), rtol=1e-9)


def test_adamp_by_hand():
    """Of rows (3, 4) and (0, 2), gradients across them: Adam's step is ±1 each way, and loses its part along."""
    w, g = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[4.0, -3.0], [1.0, 0.0]])
    step = w - AdamP().reference(w, g, 1.0, 0.0, {})
    np.testing.assert_allclose(step, [[1 + 0.12, -1 + 0.16], [1, 0]], atol=1e-6)
    step = w - AdamP().reference(w, g, 1.0, 0.5, {})
    np.testing.assert_allclose(step, [[1.12 + 0.15, -0.84 + 0.2], [1, 0.1]], atol=1e-6)


def test_expectigrad_by_hand():
    """Gradients 3 and then -4: 3/3, then -4 / √12.5; a weight whose first was 0 counts from its second."""
    part, kept = Expectigrad(beta=0.5), {}
    w = part.reference(np.array([1.0, 1.0]), np.array([3.0, 0.0]), 0.1, 0.0, kept)
    np.testing.assert_allclose(w, [0.9, 1.0], atol=1e-7)
    after = part.reference(w, np.array([-4.0, 2.0]), 0.1, 0.0, kept)
    first = 0.5 * 0.5 + 0.5 * -4 / math.sqrt(12.5)
    np.testing.assert_allclose(w - after, 0.1 / 0.75 * np.array([first, 0.5]), atol=1e-7)
    assert kept["n"].tolist() == [2, 1]


def test_climb_against_torchs_norm():
    rng = np.random.default_rng(0)
    slopes = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
    offsets = SharpnessAware(rho=0.3).reference(slopes)
    norm = nn.utils.get_total_norm([torch.from_numpy(g) for g in slopes.values()]).item()
    for name, g in slopes.items():
        np.testing.assert_allclose(offsets[name], 0.3 * g / norm, rtol=1e-9)


# --- networks -------------------------------------------------------------------------------------------------------


def photo(kind, blocks, small=False):
    """torchvision's, with an 8 px stem where images are small."""
    net = torchvision.models.ResNet(kind, blocks, num_classes=7)
    if small:
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def first_strided(net):
    """Variant A of it: each downsampling block strides in its first 1 x 1."""
    for layer in (net.layer2, net.layer3, net.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    return net


def deep(average):
    return TimmsResNet(Timms, [1, 2, 1, 1], num_classes=7, stem_type="deep", stem_width=32, avg_down=average)


SAME = {  # a network of others, and ours
    "A": (lambda: first_strided(photo(Bottleneck, [1, 2, 1, 1])), ResNet(blocks=(1, 2, 1, 1))),
    "B": (lambda: photo(Bottleneck, [1, 2, 1, 1]), ResNet(blocks=(1, 2, 1, 1), variant="B")),
    "C": (lambda: deep(False), ResNet(blocks=(1, 2, 1, 1), variant="C")),
    "D": (lambda: deep(True), ResNet(blocks=(1, 2, 1, 1), variant="D")),
    "plain": (lambda: photo(BasicBlock, [1, 2, 1, 1]), ResNet(blocks=(1, 2, 1, 1), bottleneck=False)),
    "small": (
        lambda: photo(Bottleneck, [1, 2, 1, 1], small=True),
        ResNet(blocks=(1, 2, 1, 1), variant="B", small=True),
    ),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_resnets_against_those_of_others(name, training):
    """Logits, gradients and running statistics, in float64; an odd number of rows on the way."""
    make, model = SAME[name]
    torch.manual_seed(0)
    net = make().double().train(training)
    names = [n for n in model.build(3, 7).state_dict() if not n.endswith("num_batches_tracked")]
    theirs = {n: t for n, t in net.state_dict(keep_vars=True).items() if not n.endswith("num_batches_tracked")}
    assert len(names) == len(theirs)
    weights = {
        ours: t.detach().clone().requires_grad_(t.requires_grad) for ours, t in zip(names, theirs.values(), strict=True)
    }
    x = torch.randn(3, 3, 40 if name != "small" else 11, 40 if name != "small" else 11, dtype=torch.float64)
    z = model.reference(weights, x, training, nn.functional.conv2d, nn.functional.linear)
    due = net(x)
    torch.testing.assert_close(z, due, rtol=1e-8, atol=1e-10)
    due.logsumexp(1).sum().backward()
    z.logsumexp(1).sum().backward()
    for ours, theirs_name in zip(names, theirs, strict=True):
        tensor = net.state_dict(keep_vars=True)[theirs_name]
        if tensor.requires_grad:
            torch.testing.assert_close(weights[ours].grad, tensor.grad, rtol=1e-6, atol=1e-9)
        else:
            torch.testing.assert_close(weights[ours], tensor)


def test_dense_by_hand():
    """max(0, (1, -1)·(2, 1) + 0) = 1 and max(0, (1, 1)·(2, 1) - 5) = 0; then 3·1 + 10·0 + 0.5."""
    w = {
        "1.weight": torch.tensor([[1.0, -1.0], [1.0, 1.0]]),
        "1.bias": torch.tensor([0.0, -5.0]),
        "3.weight": torch.tensor([[3.0, 10.0]]),
        "3.bias": torch.tensor([0.5]),
    }
    x = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1)
    z = Dense(hidden=(2,), size=1).reference(w, x, True, nn.functional.conv2d, nn.functional.linear)
    assert z.tolist() == [[3.5]]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
@pytest.mark.parametrize("variant", ["A", "B", "C", "D", "plain", "plain D", "frozen"])
def test_a_segmenter_written_out_is_the_one_that_is_built(variant, stride, training):
    """Logits of both heads, gradients and running statistics, in float64; sides that no stride divides."""
    network = ResNet(blocks=(1, 2, 2, 2), width=4, bottleneck="plain" not in variant, variant="B")
    network = network.but(variant=variant[-1]) if variant[-1] in "ACD" else network
    part = FCN(backbone=network, output_stride=stride, dropout=0.3, frozen_norms=variant == "frozen")
    torch.manual_seed(0)
    net = part.build(3, 5).double().train(training)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
    weights = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in net.state_dict(keep_vars=True).items()}
    x, y = torch.randn(2, 3, 75, 90, dtype=torch.float64), torch.zeros(2, 75, 90, dtype=torch.int64)
    found = []
    for forward in (net, lambda x, y: part.reference(weights, x, y, training, nn.functional.conv2d, None)):
        torch.manual_seed(3)
        z = forward(x, y)
        z.square().mean().backward()
        found.append(z.detach())
    assert found[0].shape[1] == 10
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-10)
    for name, tensor in net.state_dict(keep_vars=True).items():
        if tensor.requires_grad:
            torch.testing.assert_close(weights[name].grad, tensor.grad, rtol=1e-6, atol=1e-12)
        elif tensor.is_floating_point():
            torch.testing.assert_close(weights[name], tensor)
    frames = torch.tensor([[75.0, 90, 75, 90, 0, 0]] * 2)
    torch.manual_seed(3)
    z = net(x, frames)
    torch.manual_seed(3)
    torch.testing.assert_close(part.reference(weights, x, frames, training, nn.functional.conv2d, None), z)


def test_a_segmenter_on_a_network_of_timms_has_no_reference():
    assert not referenced(FCN(backbone=Timm(name="resnet18")))
    assert referenced(FCN(backbone=ResNet(blocks=(1, 1), width=4)))
