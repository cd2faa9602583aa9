"""C: what is tested, by which weights, and what is reported of it."""

from functools import partial

from harness.parts.data import Cached
from harness.parts.optimizers import NAG
from harness.parts.precision import Emulated
from harness.parts.schedules import Step
from harness.parts.stopping import EarlyStopping
from harness.tasks.classify import Classify, Marking
from harness.tricks.bf16 import bf16
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from tests.mutants.breaking import (
    HELD,
    SMALL,
    TAUGHT,
    TINY,
    Broken,
    Inject,
    edited,
    marked,
    method,
    text,
)

SERVED = "images.test(size, device, split)"
TESTED = "scores = test(spec, run, *asked)"
DUE = "if due else {}"
REPORTED = "metrics = {name: value for name, value in run.history[-1].items() if name in tasks.of(spec).scores}"
MADE = "    made = result(spec, run, shown, device, metrics)\n"
DONE = "Trained(made, run.model, run.trace, arrays))"
WEIGHTS = "{n: v.clone() for n, v in run.model.state_dict().items()}"
ANSWERED = "z = model(*task.given(x, labels)).float()"
RUNS = f"with runner.forward():\n            {ANSWERED}"
KEPT = "run.best = {name: value.clone() for name, value in run.model.state_dict().items()}"
RESULT = '    return {\n        "status": status,'


def served(other: str) -> Inject:
    return text(SERVED, other.replace("THEM", f"list({SERVED})"))


def with_weights(choose: str, back: bool = True) -> Inject:
    """Evaluated by others than those trained: `run.first` are the first epoch's, `run.mean` a running average."""
    before = (
        f"own = {WEIGHTS}; run.first = getattr(run, 'first', own); run.mean = getattr(run, 'mean', own)"
        "; run.mean = {n: (0.5 * run.mean[n] + 0.5 * v).to(v.dtype) for n, v in own.items()}"
        f"; run.model.load_state_dict({choose})"
    )
    return text(TESTED, f"{before}; {TESTED}" + ("; run.model.load_state_dict(own)" if back else ""))


def reported(change: str) -> Inject:
    return text(MADE, f"    {change}\n{MADE}")


def recorded(change: str) -> Inject:
    """The result is changed once its evidence is worked out."""
    return text(MADE, f"{MADE}    {change}\n")


def images_served(pixels: str, labels: str = "y") -> Inject:
    return edited(
        Cached,
        "test",
        "yield self.normalised(scaled(x.float(), self.shown) if self.shown else x.float()), y",
        f"yield self.normalised({pixels}), {labels}",
    )


TOLD = ("labels", "answers", "logits")
EXCHANGED = "logits.scatter(1, *(lambda two: (two.indices, two.values.flip(1)))(logits.topk(2, 1, largest=False)))"
FIRST = "self.told = Marking.first = getattr(Marking, 'first', self.told)\n    if self.told:"


def kept(**changes: str) -> Inject:
    """What a record keeps of the test images, with some of it changed: `{}` is the name."""
    old = "(torch.cat(own).cpu() for own in zip(*self.told, strict=True))\n"
    lines = "".join(f"        {name} = {change.format(name)}\n" for name, change in changes.items())
    return edited(Marking, "_kept", old, old + lines)


CONSTANT = TINY.schedule.but(shape=Step(at=()))
WILD = TINY.but(
    optimizer=NAG(lr=1, per=None), schedule=CONSTANT, batch_size=40, epochs=5
)  # whose last epoch is not its best
NOISY = HELD.but(  # whose least loss is of another epoch than its best accuracy
    optimizer=NAG(lr=0.3, per=None), batch_size=80, schedule=CONSTANT
)
UNSTOPPED = HELD.but(stop=())
HALF = fp16(TINY)
BROKEN: Broken = {
    "the test": [
        ("training images", TINY, served(SERVED.replace("split)", '"train")'))),
        (
            "training images for a half",
            TINY,
            served(f"THEM[:5] + list({SERVED.replace('split)', repr('train') + ')')}) + THEM[-1:]"),
        ),
        ("the last batch left out", TINY, served("THEM[:-1]")),
        ("the first batch once more, for the last but one", TINY, served("THEM[:-2] + THEM[:1] + THEM[-1:]")),
        ("batches in another order", TINY, served("THEM[::-1]")),
        ("images of a batch in another order", TINY, images_served("x.float().flip(0)", "y.flip(0)")),
        ("images moved", TINY, images_served("x.float().roll(1, 3)")),
        (
            "one image of a batch mirrored",
            TINY,
            images_served("torch.cat([x[:1].float().flip(3), x[1:].float()])"),
        ),
        ("images normalised otherwise", TINY, images_served("x.float() * 1.05")),
        ("labels of one class moved", TINY, images_served("x.float()", "y + (y == 3) * 5")),
        ("labels of a batch shifted", TINY, images_served("x.float()", "y.roll(1)")),
        (
            "wrong answers left out of the count",
            TINY,
            marked(
                "100 * float(correct[:, 0].mean())", "100 * float(correct[:, 0].sum() / max(1, correct.any(1).sum()))"
            ),
        ),
        ("the first epoch's weights", TINY, with_weights("run.first")),
        ("averaged weights, put back", TINY, with_weights("run.mean")),
        ("averaged weights, trained on", TINY, with_weights("run.mean", back=False)),
        (
            "averaged weights in the last epoch alone",
            TINY,
            with_weights("run.mean if run.epoch == spec.epochs - 1 else own"),
        ),
        (
            "before the epoch",
            TINY,
            text(
                "train_epoch(spec, run, images, batches, rng, keeper)",
                "before = test(spec, run, images, watched); train_epoch(spec, run, images, batches, rng, keeper)",
                TESTED,
                "scores = before",
            ),
        ),
        ("none after the last epoch", TINY, text(DUE, "if not last else {}")),
        ("one that is not told", TINY, text(DUE, f"{DUE}; scores = scores if run.epoch else {{}}")),
        (
            "none told but the last, where images are held out",
            UNSTOPPED,
            text(DUE, f"{DUE}; scores = scores if last else {{}}"),
        ),
        (
            "fewer digits: bfloat16",
            TINY,
            text(
                RUNS,
                RUNS.replace("runner.forward()", 'torch.autocast("cpu", torch.bfloat16)'),
            ),
        ),
        (
            "fewer digits: float16",
            WILD,
            text(
                RUNS,
                RUNS.replace("runner.forward()", "half()"),
                half=partial(Emulated, "float16"),
            ),
        ),
        ("the last row black", TINY, images_served("x.float().index_fill(2, torch.tensor([7]), 0)")),
        (
            "both the image and its mirror image",
            TINY,
            text(ANSWERED, ANSWERED.replace(".float()", ".float() + model(x.flip(3)).float()")),
        ),
        ("logits doubled", TINY, text(ANSWERED, f"{ANSWERED} * 2")),
        (
            "batch norm by the batch",
            TINY,
            text(
                "    model.eval()\n",
                "    model.eval()\n    [m.train() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]\n",
            ),
        ),
        (
            "batch norm's statistics of the test images",
            TINY,
            text("    model.eval()\n", f"    model.train()\n    [model(x) for x, _ in {SERVED}]\n    model.eval()\n"),
        ),
    ],
    "the logits kept": [
        ("probabilities", TINY, kept(logits="logits.float().softmax(1).half()")),
        ("logarithms of probabilities", TINY, kept(logits="logits.float().log_softmax(1).half()")),
        ("doubled", TINY, kept(logits="logits * 2")),
        ("eight bits", TINY, kept(logits="logits.bfloat16().half()")),
        ("of the answer alone", TINY, kept(logits="logits * (logits == logits.amax(1, keepdim=True))")),
        ("the two least exchanged", TINY, kept(logits=EXCHANGED)),
        ("images in another order", TINY, kept(logits="logits.flip(0)", answers="answers.flip(0)")),
        ("labels as they were answered", TINY, kept(labels="answers.clone()")),
        ("labels in another order, with their logits", TINY, kept(**dict.fromkeys(TOLD, "{}.flip(0)"))),
        ("the last image left out", TINY, kept(**dict.fromkeys(TOLD, "{}[:-1]"))),
        ("of the first evaluation", TINY, edited(Marking, "_kept", "if self.told:", FIRST)),
        ("doubled, once proven", TINY, text(DONE, DONE.replace("arrays", "{n: v * 2 for n, v in arrays.items()}"))),
        ("left out, once proven", TINY, text(DONE, DONE.replace("arrays", "{}"))),
    ],
    "the report": [
        (
            "every accuracy 1 point too high",
            TINY,
            marked(
                "float(torch.stack(self.losses).sum()) / len(correct), 100 *",
                "float(torch.stack(self.losses).sum()) / len(correct), 1 + 100 *",
            ),
        ),
        (
            "the history 1 point too high",
            TINY,
            text(TESTED, f"{TESTED}; scores = {{n: v + 1 for n, v in scores.items()}}"),
        ),
        (
            "the history before its end 1 point too high",
            TINY,
            text(TESTED, f"{TESTED}; scores = {{n: v + (run.epoch < spec.epochs - 1) for n, v in scores.items()}}"),
        ),
        (
            "the best so far in each epoch",
            WILD,
            text(TESTED, f"{TESTED}; scores['top1'] = max([scores['top1'], *(e['top1'] for e in run.history)])"),
        ),
        (
            "the best epoch's numbers",
            WILD,
            text(REPORTED, REPORTED.replace("run.history[-1]", "max(run.history, key=lambda e: e['top1'])")),
        ),
        (
            "the mean of the last two epochs",
            TINY,
            reported("metrics['top1'] = (run.history[-1]['top1'] + run.history[-2]['top1']) / 2"),
        ),
        ("top-5 for top-1", TINY, marked("100 * float(correct[:, 0].mean())", "100 * float(correct.any(1).mean())")),
        ("top-5 for top-1, in the report alone", TINY, reported("metrics['top1'] = metrics['top5']")),
        ("top-3 for top-5", TINY, edited(Marking, "add", "min(5, self.classes)", "min(3, self.classes)")),
        ("another top-5, in the report alone", TINY, reported("metrics['top5'] += 0.5")),
        ("another loss, in the report alone", TINY, reported("metrics['test_loss'] *= 0.9")),
        ("the loss a sum, not a mean", TINY, marked("/ len(correct), 100", "/ 1.0, 100")),
        (
            "a median loss",
            TINY,
            marked(
                "float(torch.stack(self.losses).sum()) / len(correct), 100",
                "float(torch.stack(self.losses).median()) / 64, 100",
            ),
        ),
        (
            "right answers of the first epoch",
            TINY,
            text(
                "run.trace.saw_test(split, scores, run.answered)",
                "run.answered = run.old = getattr(run, 'old', run.answered)"
                "; run.trace.saw_test(split, scores, run.old)",
            ),
        ),
        ("right answers in another order", TINY, marked("np.packbits(correct[:, 0])", "np.packbits(correct[::-1, 0])")),
        (
            "right answers of bits from the other end",
            TINY,
            marked("np.packbits(correct[:, 0])", "np.packbits(correct[:, 0], bitorder='little')"),
        ),
        (
            "right answers: those in the top 5",
            TINY,
            marked("np.packbits(correct[:, 0])", "np.packbits(correct.any(1))"),
        ),
        ("other right answers, once proven", TINY, recorded("made['correct'] = made['correct'][::-1]")),
        (
            "another top-1, once proven",
            TINY,
            recorded("made['metrics'] = made['metrics'] | {'top1': made['metrics']['top1'] + 1}"),
        ),
        (
            "answers of none, once proven",
            TINY,
            recorded("made['answers'] = tasks.classify.packed(run.trace.exams.examiner.answers.flip(0))"),
        ),
        (
            "other weights than those tested, handed over",
            TINY,
            text(DONE, DONE.replace("run.model,", "build(spec, seed, device),")),
        ),
        (
            "half of the training loss",
            TINY,
            text('"loss": run.total.item() / steps', '"loss": run.total.item() / steps / 2'),
        ),
        (
            "training accuracy of half as many images",
            TINY,
            text("(steps * spec.batch_size)", "(steps * spec.batch_size // 2)"),
        ),
        (
            "gaps halved",
            TINY,
            marked("spread = np.quantile(", "spread = 0.5 * np.quantile("),
        ),
        (
            "parameters counted without biases",
            TINY,
            text(
                "params, macs = cost(spec.model, images.channels, len(images.classes), size)",
                "params, macs = cost(spec.model, images.channels, len(images.classes), size); params -= 10",
            ),
        ),
        (
            "multiply-adds counted twice",
            TINY,
            text(
                "params, macs = cost(spec.model, images.channels, len(images.classes), size)",
                "params, macs = cost(spec.model, images.channels, len(images.classes), size); macs *= 2",
            ),
        ),
        (
            "a diverged run goes on as finished",
            label_smoothing(TINY.but(optimizer=NAG(lr=1e30, per=None))),
            text('diverged, last = not math.isfinite(event["loss"]),', "diverged, last = False,"),
        ),
    ],
    "fp16": [
        (
            "tested in bfloat16",
            HALF,
            text(RUNS, RUNS.replace("runner.forward()", 'torch.autocast("cpu", torch.bfloat16)')),
        ),
        (
            "tested in float32",
            HALF,
            text(RUNS, RUNS.replace("with runner.forward()", "if True")),
        ),
    ],
    "bf16": [("tested in float32", bf16(TINY), text(RUNS, RUNS.replace("with runner.forward()", "if True")))],
    "mixup": [("test images mixed", mixup(TINY), images_served("(0.9 * x.float() + 0.1 * x.float().roll(1, 0))"))],
    "label_smoothing": [
        (
            "the test's loss smoothed",
            label_smoothing(WILD),
            edited(
                Marking,
                "add",
                'cross_entropy(*pair, reduction="sum")',
                'cross_entropy(*pair, reduction="sum", label_smoothing=0.1)',
            ),
        )
    ],
    "microbatch": [("tested on the first microbatch", SMALL, served("[(x[:50], y[:50]) for x, y in THEM]"))],
    "distillation": [
        (
            "the teacher's answers tested",
            TAUGHT,
            text(
                "run.model, shown, run.runner",
                "run.teachers[0].model, shown, run.runner",
            ),
        )
    ],
    "Holdout": [
        (
            "held-out accuracy reported as the test's",
            UNSTOPPED,
            text(
                'metrics = metrics | test(spec, run, images, "test")',
                'metrics = metrics | test(spec, run, images, "test") | {"top1": metrics["val_top1"]}',
            ),
        ),
        (
            "the test set never measured",
            UNSTOPPED,
            text('metrics = metrics | test(spec, run, images, "test")', 'metrics["top1"] = metrics["val_top1"]'),
        ),
        (
            "the test set measured each epoch",
            UNSTOPPED,
            text('watched = "val" if "val" in images.counts else "test"', 'watched = "test"'),
        ),
        (
            "training images for the held-out ones",
            UNSTOPPED,
            text(SERVED, SERVED.replace("split)", "'train' if split == 'val' else split)")),
        ),
    ],
    "EarlyStopping": [
        ("the last weights for the best", HELD, text(KEPT, "run.best = None")),
        ("the best weights not copied", HELD, text(KEPT, KEPT.replace(".clone()", ""))),
        ("kept by the loss, not by what it says", NOISY, edited(EarlyStopping, "best", "self.keep", "'val_loss'")),
        (
            "chosen by the test set",
            HELD,
            text(
                TESTED,
                f"{TESTED}; scores['val_top1'] = evaluate(task, run.model, images, run.runner, device)[0]['top1']",
                task=Classify(),
            ),
        ),
        (
            "tested before the best are put back",
            HELD,
            text(
                "        run.model.load_state_dict(run.best)\n",
                "        early = test(spec, run, images, 'test'); run.model.load_state_dict(run.best)\n",
                'metrics = metrics | test(spec, run, images, "test")',
                "metrics = metrics | early",
            ),
        ),
        ("another epoch said to be kept", NOISY, text("kept = spec.stop[0].best(history)", "kept = len(history) - 1")),
        ("no stop at all", HELD, method(EarlyStopping, "over", lambda self, history: False)),
        ("stops by accuracy", NOISY, edited(EarlyStopping, "over", '"val_loss"', '"val_top1"')),
        ("one epoch early", HELD, edited(EarlyStopping, "over", ">= self.patience", ">= self.patience - 1")),
    ],
}
