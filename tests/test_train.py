import hashlib
import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from harness import train as loop
from harness.evidence import Check
from harness.parts.data.holdout import Holdout
from harness.parts.data.images import Images
from harness.parts.optimizers import NAG
from harness.parts.schedules import Piecewise
from harness.parts.stopping import EarlyStopping
from harness.rng import streams
from harness.spec import Model
from harness.tasks.classify import GAPS, Classify
from harness.tricks.binary_cross_entropy import binary_cross_entropy
from harness.tricks.class_balanced import class_balanced
from harness.tricks.clip_norm import clip_norm
from harness.tricks.cosine import cosine
from harness.tricks.ema import ema
from harness.tricks.evaluation_size import evaluation_size
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import Smoothing
from harness.tricks.lookahead import lookahead
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.progressive_resizing import progressive_resizing
from harness.tricks.rates_by_group import rates_by_group
from harness.tricks.swa import swa
from harness.tricks.warmup import warmup
from tests.kit.dense import BACKBONE, DETECTOR, SEGMENTER, below
from tests.kit.stops import CPU, Plain, Stops, trained, untimed
from tests.mutants.breaking import edited, text, traced


class Heard(loop.Keeper):
    def __init__(self):
        self.events = []

    def report(self, event):
        self.events.append(event)


def test_same_specification_and_seed_same_bits(tiny):
    spec = mixup(tiny.but(epochs=2), epochs=1)
    one, again, other = trained(spec), trained(spec), trained(spec, seed=1)
    assert untimed(one.result) == untimed(again.result) != untimed(other.result)
    assert one.result["correct"] == again.result["correct"]
    for (name, a), b in zip(one.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_global_randomness_has_no_say(tiny):
    spec = tiny.but(epochs=1)
    torch.manual_seed(1)
    np.random.seed(1)
    one = trained(spec)
    torch.manual_seed(2)
    np.random.seed(2)
    assert untimed(one.result) == untimed(trained(spec).result)


def test_seeding_is_torchs():
    torch.manual_seed(int(streams(3)("torch").integers(2**63)))
    due = torch.rand(5)
    loop.seed_torch(streams(3)("torch"))
    assert torch.equal(torch.rand(5), due)


def test_a_trick_that_draws_leaves_order_and_weights_alone(tiny, live, monkeypatch):
    """With mixup on: the same images, shifted the same way, in the same batches, into the same initial network."""
    started, build = [], loop.build

    def remembered(*args):
        model = build(*args)
        started.append({name: value.clone() for name, value in model.state_dict().items()})
        return model

    monkeypatch.setattr(loop, "build", remembered)
    spec = tiny.but(epochs=3, batch_size=199)
    (_, plain), (_, mixed) = live(spec), live(mixup(spec, epochs=1))
    assert len(plain.fed) == len(mixed.fed) == 9
    for (labels, *_), (again, *_) in zip(plain.fed, mixed.fed, strict=True):
        assert torch.equal(labels, again)
    for (before, _), (again, after) in zip(plain.images, mixed.images, strict=True):
        assert torch.equal(before, again)
        assert not torch.equal(again, after)
    one, other = started
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(plain.fed[0][0], plain.fed[3][0]), "each epoch in an order of its own"


def test_result_by_hand(tiny, live):
    """Top-1, top-5 and loss of the test set, from the trained weights and the raw digits."""
    done, _ = live(tiny)
    images = tiny.data.load()
    pixels, labels = images.arrays["test"]
    raw = images.arrays["train"][0]
    x = torch.from_numpy((pixels - raw.mean()) / raw.std()).float()
    with torch.no_grad():
        z = done.model.eval()(x).double().numpy()
    order = np.argsort(-z, axis=1)
    right = order[:, 0] == labels
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(done.result["correct"]), dtype=np.uint8))[:300].astype(bool)
    metrics = done.result["metrics"]
    assert (bits == right).mean() > 0.999, "but for ties within the rounding of the mean and s.d."
    assert metrics["top1"] == pytest.approx(100 * sum(bits.tolist()) / 300, abs=1e-9)
    assert metrics["top1"] == done.result["epochs"][-1]["top1"]
    assert metrics["top5"] == pytest.approx(
        100 * np.mean([y in row[:5] for y, row in zip(labels, order, strict=True)]), abs=0.2
    )
    logs = z - z.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    assert metrics["test_loss"] == pytest.approx(-logs[np.arange(300), labels].mean(), rel=1e-3)
    assert 5 < metrics["top1"] < metrics["top5"] < 100


def test_result_says_what_was_trained(tiny, live):
    done, trace = live(tiny)
    result = done.result
    assert result["status"] == "finished"
    assert result["params"] == sum(p.numel() for p in done.model.parameters())
    assert result["classes"] == 10
    assert (result["images"]["train"], result["images"]["test"]) == (597, 300)
    images = tiny.data.load()
    for split, (x, y) in images.arrays.items():
        pairs = sorted([hashlib.sha256(image).hexdigest(), str(label)] for image, label in zip(x, y, strict=True))
        digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
        assert result["images"]["splits"][split] == digest
    assert [epoch["epoch"] for epoch in result["epochs"]] == list(range(6))
    assert [epoch["lr"] for epoch in result["epochs"]] == trace.lr[1::2]
    assert result["precision"] == {"name": "FP32", "emulated": False}
    assert 0 < result["seconds_per_epoch"] < result["seconds"]
    assert result["peak_memory"] > 2**20
    assert result["rates"] == [[step, rate] for step, rate in enumerate(trace.lr)]
    assert all(len(digest) == 16 for digest in result["seen"].values())
    assert json.loads(json.dumps(result)) == result


def test_first_loss_is_that_of_the_initial_network(tiny, live):
    """One step on the whole training set: the epoch's loss is the cross-entropy before it."""
    spec = tiny.but(batch_size=597, epochs=1, augment=())
    done, _ = live(spec)
    images = spec.data.load()
    (x, labels), *_ = images.train(0, 597, (), loop.streams(0), CPU)
    with torch.no_grad():
        z = loop.build(spec, 0, CPU).train()(x).double().numpy()
    probabilities = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(597), labels.numpy()]).mean()
    assert done.result["epochs"][0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_it_learns(tiny):
    """Five short epochs leave chance, 10 %, far behind."""
    spec = tiny.but(model=tiny.model.but(width=8), batch_size=32, epochs=5, optimizer=NAG(lr=0.1, per=None))
    assert trained(spec).result["metrics"]["top1"] > 50


def test_a_loss_that_is_no_number_ends_the_run(tiny):
    spec = tiny.but(optimizer=NAG(lr=1e30, per=None))
    result = trained(spec).result
    assert result["status"] == "diverged"
    assert len(result["epochs"]) < 6
    assert not math.isfinite(result["epochs"][-1]["loss"])
    assert all(math.isfinite(epoch["loss"]) for epoch in result["epochs"][:-1])


def test_a_run_that_diverges_during_warmup_ends_as_diverged(tiny):
    result = trained(warmup(tiny.but(optimizer=NAG(lr=1e30, per=None)))).result
    assert result["status"] == "diverged"


class Idle(Smoothing):
    """Smoothing that was lost on the way."""

    def __call__(self, y):
        return y


class Fixed(Piecewise):
    """A schedule that the loop's evidence says was not kept."""

    def proof(self, spec, trace):
        yield Check("rates", "some", "others", False)


@pytest.mark.parametrize("change", [{"targets": (Idle(),)}, {"schedule": Fixed()}], ids=["no-op", "failed check"])
def test_a_failed_proof_is_refused(change, tiny):
    result = trained(tiny.but(epochs=1, **change)).result
    assert result["status"] == "refused"
    assert {row["part"] for row in result["evidence"] if not row["ok"]} & {"Idle", "Fixed"}


def test_reports_every_epoch_and_long_ones_within(tiny, monkeypatch):
    heard = Heard()
    result = trained(tiny.but(epochs=2), keeper=heard).result
    assert heard.events == result["epochs"]
    monkeypatch.setattr(loop, "HEARTBEAT", -1.0)
    heard = Heard()
    trained(tiny.but(epochs=2), keeper=heard)
    seen = [(event["epoch"], event.get("batch")) for event in heard.events]
    assert seen == [(0, 1), (0, 2), (0, None), (1, 1), (1, 2), (1, None)]
    assert {event["batches"] for event in heard.events if "batch" in event} == {2}


class Rarely(loop.Keeper):
    """Watches a run after every K-th epoch."""

    def __init__(self, every):
        self.how = loop.How(curve_every=every)


@pytest.mark.parametrize(("change", "every", "told"), [(None, 2, [1, 3, 4]), (partial(swa, last=3), 9, [4])])
def test_how_often_a_run_is_tested_changes_nothing_of_it(tiny, live, change, every, told):
    spec = (change or (lambda spec: spec))(tiny.but(epochs=5))
    each, (few, _) = live(spec)[0].result, (loop.train(spec, 0, CPU, None, Rarely(every)), None)
    assert few.result["status"] == "finished"
    assert [i for i, row in enumerate(few.result["epochs"]) if "top1" in row] == told
    assert few.result["network"] == each["network"]
    assert few.result["metrics"] == each["metrics"]
    assert [row["loss"] for row in few.result["epochs"]] == [row["loss"] for row in each["epochs"]]
    assert few.result["epochs"][-1]["top1"] == each["epochs"][-1]["top1"]


class Glance(loop.Keeper):
    how = loop.How(curve_images=100)


def test_on_how_many_images_a_run_is_watched_changes_nothing_of_it(tiny, live):
    each, few = live(tiny)[0].result, trained(tiny, keeper=Glance()).result
    assert few["status"] == "finished"
    assert few["images"] == each["images"] | {"curve": 100}
    assert [row["loss"] for row in few["epochs"]] == [row["loss"] for row in each["epochs"]]
    assert {**few["epochs"][-1], "time": 0, "seconds": 0} == {**each["epochs"][-1], "time": 0, "seconds": 0}
    assert all(float(row["top1"]).is_integer() for row in few["epochs"][:-1]), "percent of a hundred images"
    for name in ("network", "metrics", "correct", "answers", "seen"):
        assert few[name] == each[name]


@pytest.mark.parametrize("then", [60, None])
def test_a_run_that_goes_on_may_be_watched_on_other_images(tiny, live, then):
    stopped = type("Kept", (Stops,), {"how": Glance.how})([3])  # after two batches, the epoch's end
    with pytest.raises(KeyboardInterrupt):
        trained(tiny, keeper=stopped)
    stopped.at, stopped.how = set(), loop.How(curve_images=then)
    result = trained(tiny, keeper=stopped).result
    assert result["status"] == "finished"
    assert result["metrics"] == live(tiny)[0].result["metrics"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.arange(most) * count // most", "np.arange(most)"),
        ("np.arange(most) * count // most", "np.arange(most - 1) * count // most"),
    ],
)
def test_a_curve_of_other_images_is_refused(tiny, old, new, monkeypatch):
    edited(Images, "shortened", old, new)(monkeypatch)
    spec = tiny.but(epochs=2)
    assert trained(spec).result["status"] == "finished"
    assert trained(spec, keeper=Glance()).result["status"] == "refused"


def test_a_last_test_of_a_few_images_is_refused(tiny, monkeypatch):
    text("if last or diverged or not few else", "if not few else")(monkeypatch)
    assert trained(tiny.but(epochs=2), keeper=Glance()).result["status"] == "refused"


def test_a_run_that_may_stop_early_is_measured_after_each_epoch(tiny):
    spec = tiny.but(epochs=3, batch_size=200, data=Holdout(of=tiny.data), stop=(EarlyStopping(patience=5),))
    few = loop.train(spec, 0, CPU, None, Rarely(9))
    assert few.result["status"] == "finished"
    assert all("val_top1" in row for row in few.result["epochs"])


def test_top_5_only_where_there_are_more_classes():
    from harness.parts.data import in_memory
    from harness.parts.precision import Runner

    x, y = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), np.array([0, 1, 2, 0, 1, 2, 0, 1])
    images = in_memory({"train": (x, y), "test": (x, y)}, ("a", "b", "c"), (0.0,), (1.0,))

    class Always(torch.nn.Module):
        """The image's number modulo 2, as the class."""

        def forward(self, x):
            return torch.nn.functional.one_hot(x.flatten().long() % 2, 3).float()

    scores, kept = loop.evaluate(Classify(), Always(), images, Runner(), CPU)
    assert kept["correct"] == "c3"
    assert set(scores) == {"test_loss", "top1"}
    assert scores["top1"] == 50
    right, wrong = -math.log(math.e / (math.e + 2)), -math.log(1 / (math.e + 2))
    assert scores["test_loss"] == pytest.approx((right + wrong) / 2, rel=1e-6)
    assert kept["gaps"] == [1.0] * GAPS


def test_gaps_are_quantiles_over_test_images_of_the_greatest_logit_above_the_mean_of_the_others():
    from harness.parts.data import in_memory
    from harness.parts.precision import Runner

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(300, 1, 2, 3), dtype=np.uint8)  # six pixels are the logits
    y = np.arange(300) % 6
    images = in_memory({"train": (x, y), "test": (x, y)}, tuple("abcdef"), (0.0,), (1.0,))
    gaps = loop.evaluate(Classify(), torch.nn.Flatten(), images, Runner(), CPU)[1]["gaps"]
    ordered = np.sort(x.reshape(300, 6).astype(float), axis=1)
    wanted = ordered[:, -1] - ordered[:, :-1].mean(1)
    assert gaps[0] == pytest.approx(wanted.min(), rel=1e-4)
    assert gaps[-1] == pytest.approx(wanted.max(), rel=1e-4)
    assert gaps[50] == pytest.approx(np.percentile(wanted, 25), rel=1e-4)


class Forgetful(Model):
    """A network that draws by itself while it trains."""

    def build(self, channels, classes):
        body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(0.5))
        return torch.nn.Sequential(*body, torch.nn.Linear(32, classes))


def everything(tiny):
    return fp16(cosine(warmup(mixup(tiny.but(epochs=3, microbatch=100), epochs=1), epochs=1)))


def doors(tiny):
    """What is empty as a rule."""
    spec = ema(clip_norm(rates_by_group(class_balanced(binary_cross_entropy(evaluation_size(tiny)))), 0.2), 0.5)
    return spec.but(epochs=3, mix=(Mixup(alpha=1.0), Mixup()))


def means(tiny):
    """Kept in mid epoch, and after the epochs whose statistics are worked out anew."""
    return swa(tiny.but(epochs=4), last=3)


def growing(tiny):
    return progressive_resizing(tiny.but(epochs=5))


def slow(tiny):
    return lookahead(tiny.but(epochs=3), every=4)


AT = [[1], [2], [3], [5, 1, 4], range(1, 99, 2)]


def dropout(tiny):
    return tiny.but(model=Forgetful(), epochs=4)


@pytest.mark.parametrize(
    ("change", "at"),
    [(change, at) for change in (everything, dropout) for at in AT]
    + [(doors, [5, 1, 4]), (means, [5, 1, 4, 1]), (slow, [5, 2]), (growing, [5, 4, 1])],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_stopped_and_gone_on_is_as_if_never_stopped(tiny, at, change):
    """After a batch, after an epoch's last, after an epoch, several times; and the loop's draws are those of a step."""
    spec = change(tiny)
    whole, keeper = trained(spec), Stops(at)
    while True:
        try:
            done = trained(spec, keeper=keeper)
            break
        except KeyboardInterrupt:
            torch.manual_seed(len(keeper.state))
            if len(at) < 9:
                keeper.asked = 0
                keeper.at = set(list(at)[1:])
                at = list(at)[1:]
    assert untimed(done.result) == untimed(whole.result)
    for name in ("evidence", "correct", "metrics", "status", "rates", "seen"):
        assert done.result[name] == whole.result[name]
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_passes_add_up_to_the_batch(tiny):
    """Without batch norm, a batch in three uneven passes is the batch, but for rounding; and the evidence says so."""
    spec = tiny.but(model=Forgetful(), epochs=1, batch_size=250)
    whole, parts = (trained(s.but(model=Plain())) for s in (spec, spec.but(microbatch=100)))
    assert parts.result["status"] == "finished"
    assert parts.result["epochs"][0]["loss"] == pytest.approx(whole.result["epochs"][0]["loss"], rel=1e-5)
    for a, b in zip(whole.model.state_dict().values(), parts.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    seen = {check["what"]: check["seen"] for check in parts.result["evidence"]}
    assert seen["forward passes in training"] == "6"


DENSE = pytest.mark.parametrize("spec", [DETECTOR, SEGMENTER], ids=["detector", "segmenter"])


@DENSE
def test_a_run_on_a_backbone_is_finished_with_all_checks(spec, live):
    done, trace = live(spec)
    result = done.result
    assert result["status"] == "finished"
    assert all(row["ok"] for row in result["evidence"])
    what = {row["what"]: row for row in result["evidence"]}
    assert what["the backbone's run"]["seen"] == f"{BACKBONE.id} at seed 0"
    assert what["tensors of the backbone that this network began with"]["seen"] == "54 of 54"
    assert result["score"] == spec.task.headline
    assert set(result["metrics"]) <= set(spec.task.scores)
    assert 0 < result["metrics"][spec.task.headline] < 100
    assert set(result["by_class"]) == set(spec.data.load().classes)
    assert (result["correct"], result["answers"], result["gaps"]) == ("", "", [])
    assert json.loads(json.dumps(result)) == result
    assert len(trace.auditor.found) >= 8


@DENSE
def test_images_of_several_sizes_are_in_one_batch(spec, live, audits):
    """So the evidence has seen such batches, padded, and made them anew."""
    _, trace = live(spec)
    images = spec.data.load()
    batches = [batch for epoch in range(3) for batch in images.order(epoch, 2, loop.streams(0))]
    sizes = [{images.scenes["train"][place][2:4] for place in batch} for batch in batches]
    mixed = {step for step, own in enumerate(sizes) if len(own) > 1}
    audited = {gaps["step"]: gaps for gaps in trace.auditor.found}
    assert len(mixed & set(audited)) >= 4
    assert all(audited[step]["images"] < 1e-5 for step in mixed & set(audited))
    assert len({step.inputs[0].shape for step in audits(spec)[1]}) > 2, "each batch is as large as its greatest"


@DENSE
def test_a_run_on_a_backbone_stopped_and_gone_on_is_as_if_never_stopped(spec, live):
    """In the middle of an epoch, at its end, and several times."""
    whole, _ = live(spec)
    keeper, rest = Stops([2]), [4, 3]
    while True:
        try:
            done, _ = traced(spec, keeper=keeper)
            break
        except KeyboardInterrupt:
            torch.manual_seed(7)
            keeper.asked, keeper.at, rest = 0, set(rest[:1]), rest[1:]
    assert untimed(done.result) == untimed(whole.result)
    for name in ("evidence", "by_class", "metrics", "status", "rates", "seen", "network"):
        assert done.result[name] == whole.result[name], name


@DENSE
@pytest.mark.parametrize("change", [{"microbatch": 1}, {"precision": "FP16"}], ids=str)
def test_passes_and_half_precision_of_a_run_on_a_backbone_are_proven(spec, change, live):
    changed = fp16(spec) if "precision" in change else spec.but(**change)
    done, trace = live(changed)
    assert [row for row in done.result["evidence"] if not row["ok"]] == []
    assert done.result["status"] == "finished"
    assert trace.forwards == 12 * changed.passes
    assert done.result["network"] != live(spec)[0].result["network"]


@DENSE
def test_seeds_of_a_run_on_a_backbone_differ_down_to_it(spec, live):
    (one, trace), (other, again) = live(spec), live(spec, 1)
    assert trace.below.result["network"] != again.below.result["network"]
    assert one.result["network"] != other.result["network"]
    for what in ("weights", "order", "images"):
        assert one.result["seen"][what] != other.result["seen"][what]


def test_a_backbone_of_another_seed_is_refused():
    """Rungs are paired by seed all the way down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DECODERS", "0")
        result = loop.train(SEGMENTER.but(epochs=1), 1, CPU, lambda up: below(up, 0)).result
    bad = [row for row in result["evidence"] if not row["ok"]]
    assert [(row["part"], row["what"], row["seen"]) for row in bad] == [
        ("FCN", "the backbone's run", f"{BACKBONE.id} at seed 0")
    ]
