"""What must hold of every run, whatever its parts; and the checks of all of them as rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

import harness.evidence.words as words
from harness.evidence.audit import FIRST, SURE, caught
from harness.evidence.digests import rates, seen
from harness.evidence.numbers import digest, same, weighed
from harness.evidence.products import as_due, multiplies
from harness.evidence.tested import apart
from harness.evidence.trace import Trace
from harness.spec import SECOND, SELF, UNPROVEN, Check, Data, Model, Part, Precision, Spec, parts, referenced

LEAST = 1e-6  # a rate below it may move no weight that float32 can tell
TELLING = 16  # images: of fewer, a shift or a flip may by chance change none
TWICE = 0.05  # of test images, at most, that are training images to the byte
# The greatest gaps that pass. On a CPU a reference runs the same kernels: gaps are 0, or float32's last bits, 1e-7.
FULL = {
    "logits": 1e-4,
    "gradients": 1e-3,
    words.STEPS["steps"]: 1e-3,
    "clipped": 1e-4,
    "averaged": 1e-3,
    "state": 1e-4,
    "statistics": 1e-4,
    "answered": 1e-4,
}
# Half precision's, and TF32's, which has as many bits.
HALF = {**FULL, "logits": 5e-3, "gradients": 2e-2, "statistics": 5e-3, "answered": 5e-3}  # a last bit may round over
BRAIN = {name: gap if gap == FULL[name] else 8 * gap for name, gap in HALF.items()}  # which is eight times as large
TURNED = 0.2  # of gradients whose sums are made in another order: a ReLU may turn over, .04 was seen
ELSEWHERE = 10  # times that on CUDA, where sums are made in another order; not measured there
MOST = {"images": 1e-3, "targets": 1e-5, "slopes": 1e-3, "loss": 1e-4, "climb": 1e-2}


def opinions(spec: Spec, rows: Sequence[Mapping[str, Any]] | None = None) -> dict[str, str]:
    """Of each part by its kind: how it is known that it did what it says.

    By a second opinion, its `reference`; by its own `proof`, or by its code alone, done anew: self-checked; or not at
    all: a part that has neither is unproven, and so is one whose proof says nothing among the `rows` of evidence.
    """
    spoke = None if rows is None else {row["part"] for row in rows}
    found: dict[str, str] = {}
    for part in parts(spec):
        own = type(part).proof is not Part.proof and (spoke is None or type(part).__name__ in spoke)
        second = referenced(part) or (isinstance(part, Precision) and part.kind is not None)
        known = SECOND if second else SELF if own or isinstance(part, Data | Model) else UNPROVEN
        if part.__class__.__module__.startswith("harness.") and known == UNPROVEN:
            known = SELF
        worse = (SECOND, SELF, UNPROVEN)
        found[type(part).__name__] = max(known, found.get(type(part).__name__, SECOND), key=worse.index)
    return found


def loop_checks(spec: Spec, trace: Trace) -> Iterable[Check]:
    """What must hold of every run, whatever its parts."""
    if not trace.lr:
        yield Check(words.STEPS["batches"], "some", "none", False)
        return
    ended = trace.diverged or spec.stop  # which has a proof of its own
    done = -(-len(trace.lr) // trace.steps_per_epoch) if ended else spec.epochs
    steps = done * trace.steps_per_epoch
    yield Check(words.STEPS["steps"], f"{steps}", f"{len(trace.lr)}", len(trace.lr) == steps)
    due = steps * spec.passes * spec.gradients
    yield Check(words.STEPS["forwards"], f"{due}", f"{trace.forwards}", trace.forwards == due)
    yield Check(words.STEPS["awake"], "0", f"{trace.awake}", trace.awake == 0)
    if spec.ranks:
        alike = sum(n == trace.forwards and not on and same(w, weighed(trace.model)) for n, on, w in trace.others)
        yield Check(words.STEPS["ranks"], f"{spec.ranks}", f"{alike}", alike == spec.ranks)
    uneven = sum(rate != rate for rate in trace.lr)
    yield Check(words.STEPS["uneven"], "0", f"{uneven}", uneven == 0)
    held = [id(p) for group in trace.optimizer.param_groups for p in group["params"]]
    wanted = [id(p) for p in trace.model.parameters()]
    once = sorted(held) == sorted(wanted)
    yield Check(words.STEPS["once"], f"{len(wanted)}", f"{len(set(held) & set(wanted))}", once)
    audits = trace.auditor.found if trace.auditor else []
    last = (best_of(spec, trace) + 1) * trace.steps_per_epoch if trace.history else len(trace.lr)  # of those kept
    idle = bool(audits) and not any(moving(trace, gaps) for gaps in audits if gaps["step"] < last)
    if not trace.diverged and not idle and max(trace.lr) >= LEAST:
        after = trace.averages[0].tensors if trace.averages else dict(trace.model.named_parameters())
        moved = sum(not bool((old == after[name].detach()).all()) for name, old in trace.before.items())
        due = sum(not spec.frozen(name) for name in trace.before)
        yield Check(words.STEPS["linear"], f"{due}", f"{moved}", moved == due)
    if trace.auditor:
        amiss = trace.tally()
        yield Check(words.STEPS["amiss"], "0", f"{amiss}", amiss == 0)
        every, told, off = trace.drawn or (0.0, 0.0, 0.0)
        what = words.STEPS["drawn"].format(told=told, every=every)
        yield Check(what, "0", f"{off:.1g}", off < 1e-6)


def moving(trace: Trace, gaps: Mapping[str, float]) -> bool:
    """Whether an audited step could move weights: half precision may leave one out, and a rate may be next to 0."""
    return not gaps.get("overflowed") and trace.lr[int(gaps["step"])] >= LEAST


def passing(spec: Spec, trace: Trace) -> dict[str, float]:
    """The greatest gap that will do, by what it is of."""
    assert trace.auditor
    by = 1 if trace.auditor.replay.device.type == "cpu" else ELSEWHERE
    limits = {"float32": FULL, "bfloat16": BRAIN}.get(spec.precision.kind or "", HALF)
    turned = {"gradients": TURNED} if spec.compiler else {}
    return {name: by * gap for name, gap in limits.items()} | turned


def audit_checks(spec: Spec, trace: Trace) -> Iterator[Check]:
    """What the audited steps showed."""
    auditor = trace.auditor
    assert auditor
    auditor.ended()
    auditor.judged()
    found, due = auditor.found, len([step for step in auditor.due if step < len(trace.lr)])
    drawn = max(0, due - FIRST)  # by chance; that the first are audited anyone may know
    what = words.AUDITS["audits"].format(steps=len(trace.lr), share=100 * caught(drawn), sure=SURE)
    yield Check(what, f"{due}", f"{len(found)}", len(found) == due)
    if auditor.errors:
        yield Check(words.AUDITS["errors"], "0", f"{len(auditor.errors)}: {auditor.errors[0]}", False)
    if not found:
        return
    for name, what in words.COUNTED.items():
        wrong = sum(gaps.get(name, 0.0) for gaps in found)
        yield Check(what, "0", f"{wrong:.0f}", wrong == 0)
    limits = MOST | passing(spec, trace)
    for name, what in words.GAPS.items():
        told = [(gaps[name], gaps["step"]) for gaps in found if name in gaps]
        measured = [(gap if gap == gap else math.inf, step) for gap, step in told]
        if measured:
            gap, step = max(measured)
            at = f" at step {step + 1:.0f}" if gap >= limits[name] else ""
            fine = gap < limits[name] or (trace.diverged and not math.isfinite(gap))
            yield Check(f"{what}, audited: gap", f"below {limits[name]:g}", f"{gap:.1g}{at}", fine)
    if spec.augment and all("augmented" in gaps for gaps in found):
        changed = sum(gaps["augmented"] for gaps in found)
        fine = changed > 0 or len(found) * spec.batch_size < TELLING
        yield Check(words.AUDITS["augmented"], "some", f"{changed:.0f}", fine)


def test_checks(spec: Spec, trace: Trace, metrics: Mapping[str, float], kept: Mapping[str, Any]) -> Iterator[Check]:
    """What the evaluations showed, and that it is what is reported."""
    exams = trace.exams
    assert exams
    found = exams.found
    epochs = len(trace.history)
    last, scored = epochs - 1, set(trace.task.scores)  # an epoch that tells no score was not tested, but the last is
    measured = [i for i, row in enumerate(trace.history) if spec.stop or i == last or row.keys() & scored]
    due = len(measured) + bool(trace.kept) + ("val" in exams.images.counts)
    each = exams.epochs[: len(measured)] == measured
    yield Check(words.TESTS["evaluations"], f"{due}", f"{len(found)}", len(found) == due and each)
    if not found:
        return
    number = Counter((row["n"], row["due"]) for row in found)
    few = sum(count for (n, of), count in number.items() if n != of)
    yield Check(words.TESTS["few"], "0", f"{few}", few == 0)
    strangers = sum(row.get("strangers", 0.0) for row in found)
    what = words.TESTS["strangers"]
    yield Check(what, "0", f"{strangers:.0f}", strangers == 0)
    marks = max(row.get("marks", math.inf) for row in found)
    yield Check(words.TESTS["marks"], "0", f"{marks:.1g}", marks < 1e-4)
    again = max((row.get("answered", 0.0) for row in found), default=0.0)
    limit = passing(spec, trace)["answered"]
    fine = again < limit or trace.diverged
    yield Check(words.TESTS["again"], f"below {limit:g}", f"{again:.1g}", fine)
    kind = spec.precision.kind
    if kind is not None and not trace.diverged:
        if multiplies(spec.precision):
            native = exams.device.type == "cuda"
            other = sum(row["rounded"] == 1 or not as_due(kind, row, native) for row in found)
        else:
            other = sum(row["rounded"] < 1 for row in found)
        yield Check(words.TESTS["other"], "0", f"{other}", other == 0)
    others = sum(not same(row["weight"], row["kept"]) + row["apart"] for row in found) + exams.resumed
    others += sum(
        not same(row["weight"], row["trained"]) for row in found[: len(measured)] if math.isfinite(row["trained"])
    )
    yield Check(words.TESTS["others"], "0", f"{others:.0f}", others == 0)
    last = found[-1]
    now = weighed(trace.model)
    own = same(last["weight"], now)
    yield Check(words.TESTS["last"], "yes", _yes(own), own)
    best = best_of(spec, trace)
    if (place := exams.of(best)) >= 0:
        own = same(found[place]["weight"], now)
        yield Check(words.TESTS["best"].format(best=best + 1), "yes", _yes(own), own)
    yield from exams.examiner.checks(metrics, kept)
    told = [(epoch["loss"], loss) for epoch, loss in zip(trace.history, trace.losses, strict=False)]
    off = max((apart(seen, due) for seen, due in told), default=math.inf)
    off = off if len(trace.losses) == epochs else math.inf
    yield Check(words.TESTS["losses"], "0", f"{off:.1g}", off < 1e-4)
    off = sum(row.get("right", 1.0) != 0 for row in found)
    yield Check(words.TESTS["right"], "0", f"{off}", off == 0)


def _yes(fine: bool) -> str:
    return "yes" if fine else "no"


def split_checks(spec: Spec, trace: Trace) -> Iterator[Check]:
    """What is trained on, held out and tested on is apart, by content."""
    images = spec.data.load()
    content = {split: images.content(split) for split in images.counts}
    trained, tested = set(content["train"]), content["test"]
    shared = sum(image in trained for image in tested)
    share = shared / max(1, len(tested))
    what = words.SPLITS["shared"]
    yield Check(what, f"at most {100 * TWICE:g} %", f"{shared:,} of {len(tested):,}", share <= TWICE)
    if "val" in content:
        for split, others in (("training", trained), ("test", set(tested))):
            both = sum(image in others for image in content["val"])
            yield Check(words.SPLITS["held"].format(split=split), "0", f"{both:,}", both == 0)
    below = [("learned", part.spec) for part in spec.teacher]
    below += [("began", value) for _, value in spec.model if isinstance(value, Spec)]
    for name, inner in below:
        learned = inner.data.load()
        if learned.digest != images.digest:
            held = {image for split in content if split != "train" for image in content[split]}
            both = sum(image in held for image in learned.content("train"))
            share = both / max(1, len(held))
            yield Check(words.SPLITS[name], "0", f"{both:,}", share <= TWICE)


def prove(
    spec: Spec, trace: Trace, metrics: Mapping[str, float] | None = None, kept: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Every check of the loop and of every part of `spec`, as rows `part, what, expected, seen, ok`.

    `metrics`, and what is `kept` of single images, will be reported. Without them, and without a trace that is watched,
    as in a part's own tests, only the parts and the loop are looked at.
    """
    rows = [("loop", check) for check in loop_checks(spec, trace)]
    if trace.auditor and trace.lr:
        rows += [("audit", check) for check in audit_checks(spec, trace)]
        rows += [("audit", known(spec))]
        rows += [("split", check) for check in split_checks(spec, trace)]
        if metrics is not None:
            rows += [("test", check) for check in test_checks(spec, trace, metrics, kept or {})]
    rows += [(type(part).__name__, check) for part in parts(spec) for check in part.proof(spec, trace)]
    return [{"part": name, **asdict(check)} for name, check in rows]


def confirm(
    spec: Spec, trace: Trace, result: Mapping[str, Any], model: nn.Module, arrays: Mapping[str, Any]
) -> Iterator[Check]:
    """What a run leaves, against what was seen of it: the last thing that is done."""
    exams = trace.exams
    if exams is None:
        return
    best, due_of = best_of(spec, trace), exams.scores
    if min(exams.of(best), exams.of(len(trace.history) - 1)) < 0 or not all(due_of):
        yield Check(words.RESULTS["told"], f"{len(trace.history)}", f"{len(due_of)}", False)
        return
    tested = [scores for scores in exams.scores if trace.task.headline in scores]
    due = {**exams.scores[exams.of(best)], **(tested[-1] if tested else {})}
    off = max((apart(result["metrics"].get(name, math.nan), value) for name, value in due.items()), default=math.inf)
    yield Check(words.RESULTS["scores"], "0", f"{off:.1g}", off < 1e-4)
    told = [{**scores, "loss": loss, trace.task.learned: hits} for scores, loss, hits in _epochs(trace)]
    gaps = [
        apart(row.get(k, math.nan), v) for row, own in zip(result["epochs"], told, strict=False) for k, v in own.items()
    ]
    off = max(gaps, default=math.inf) if len(told) == len(result["epochs"]) else math.inf
    yield Check(words.RESULTS["epochs"], "0", f"{off:.1g}", off < 1e-4)
    yield from exams.examiner.confirmed(result, arrays)
    weights = sum(p.numel() for p in trace.model.parameters())
    wanted = {
        "kept": best,
        "params": weights,
        "macs": result["macs"] if spec.resolution else sum(trace.macs.values()),  # that of the greatest size
        "classes": len(exams.images.classes),
        **exams.examiner.record(),
        "network": digest(model.state_dict().items()),
        "seen": seen(trace),
        "rates": rates(trace),
    }
    others = [name for name, value in wanted.items() if not _alike(result[name], value)]
    others += [name for name, count in exams.images.counts.items() if result["images"].get(name) != count]
    if spec.precision.kind is not None and result["precision"]["name"] != type(spec.precision).__name__:
        others.append("precision")
    yield Check(words.RESULTS["fields"], "none", ", ".join(others) or "none", not others)
    own = same(weighed(model), exams.found[-1]["weight"])
    yield Check(words.RESULTS["network"], "yes", _yes(own), own)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _epochs(trace: Trace) -> Iterator[tuple[dict[str, float], float, float]]:
    assert trace.exams
    scores = ({} if (i := trace.exams.of(epoch)) < 0 else trace.exams.scores[i] for epoch in range(len(trace.losses)))
    return zip(scores, trace.losses, trace.accuracies, strict=True)


def best_of(spec: Spec, trace: Trace) -> int:
    """The epoch whose weights the specification keeps: the last, or what its stop says, by its reference."""
    if not spec.stop or trace.diverged:
        return len(trace.history) - 1
    part: Any = spec.stop[0]
    best: int = (part.reference if referenced(part) else part.best)(trace.history)
    return best


def known(spec: Spec) -> Check:
    """How the parts are known to do what they say: no failure, but a reader has to see it."""
    others = [f"{kind} ({how})" for kind, how in opinions(spec).items() if how != SECOND]
    told = f"all but {', '.join(others)}" if others else "all"
    return Check(words.RESULTS["known"], "all", told, True)


def rehearse(spec: Spec, trace: Trace) -> None:
    """Try the proofs of a user's own parts, after the first epoch: an error in one of them costs that epoch alone."""
    for part in parts(spec):
        if not type(part).__module__.startswith("harness."):
            list(part.proof(spec, trace))
