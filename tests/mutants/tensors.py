"""D: tensors that the part does not name: frozen, stepped twice, decayed by hand, with another state."""

from typing import Any

import torch
from torch import nn

from harness.parts.models import Dense
from harness.parts.optimizers import SGD
from harness.tricks.cosine import cosine
from harness.tricks.fp16 import HalfRunner, fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.sam import SharpnessAware, sam
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import zero_gamma
from tests.mutants.alike import DENSE, TIMM, each
from tests.mutants.breaking import (
    ADAM,
    ADAMP,
    BEFORE,
    CALL,
    EXPECTI,
    HELD,
    LONG,
    NUMBER,
    PASS,
    STEP,
    TAUGHT_LONG,
    TINY,
    Broken,
    Inject,
    edited,
    method,
    text,
)

MODEL = "    model = build(spec, seed, device)\n"
WAKE = "    run.model.train()\n"
GROUPS = "spec.optimizer.build(groups(spec, model), spec.batch_size)"
NAMED = "run.model.named_parameters()"
RATE = 'run.optimizer.param_groups[0]["lr"]'


def at_start(change: str) -> Inject:
    """Once the network is built, before the optimizer is."""
    return text(MODEL, f"{MODEL}    {change}\n")


def hooked(name: str, change: str) -> Inject:
    """A parameter's gradient, before anybody looks at it."""
    return at_start(f"model.get_parameter('{name}').register_hook(lambda g: {change})")


def each_step(before: str = "", after: str = "") -> Inject:
    return text(STEP, "; ".join(filter(None, [before, STEP, after])))


def each_epoch(change: str) -> Inject:
    return text(WAKE, f"{WAKE}    {change}\n")


def of(words: str, change: str) -> str:
    """For each parameter whose name has one of these endings."""
    return f"[{change} for n, p in {NAMED} if n.endswith({tuple(words.split())!r})]"


def grouped(name: str, **changes: Any) -> Inject:
    """A parameter in a group of its own, with other settings."""

    def apart(groups: list[dict[str, Any]], model: nn.Module) -> list[dict[str, Any]]:
        own = model.get_parameter(name)
        rest = [group | {"params": [p for p in group["params"] if p is not own]} for group in groups]
        return [*rest, groups[0] | {"params": [own], **changes}]

    return text(GROUPS, GROUPS.replace("groups(spec, model)", "apart(groups(spec, model), model)"), apart=apart)


def before_look(key: str) -> Inject:
    """What the optimizer holds is dropped where nobody looks: after a step, and before the next gradient is seen."""
    return text(BEFORE, f"[s['{key}'].zero_() for s in run.optimizer.state.values() if '{key}' in s]; {BEFORE}")


def averaged(run: Any, step: int) -> None:
    """Lookahead: every fifth step goes half of the way back."""
    weights = list(run.model.parameters())
    run.slow = getattr(run, "slow", None) or [p.detach().clone() for p in weights]
    for slow, p in zip(run.slow, weights, strict=True):
        if step % 5 == 0:
            p.data.copy_(slow.lerp_(p.data, 0.5))


def shortened(run: Any) -> None:
    for m in run.model.modules():
        if isinstance(m, nn.Conv2d):
            m.weight.data.div_(m.weight.data.flatten(1).norm(dim=1)[:, None, None, None])


def two_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [g | {"params": some} for g in groups for some in (g["params"][:-2], g["params"][-2:])]


def of_plain(run: Any, x: torch.Tensor, y: torch.Tensor) -> None:
    stem = run.model.stem[0].weight
    (stem.grad,) = torch.autograd.grad(nn.functional.cross_entropy(run.model(x), y), stem)


def remembering(model: nn.Module, on: bool) -> None:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.1 if on else 0.0


def stepped_anyway(self: HalfRunner, optimizer: torch.optim.Optimizer) -> None:
    self.scaler.unscale_(optimizer)
    for p in [p for group in optimizer.param_groups for p in group["params"]]:
        p.grad.nan_to_num_(0, 0, 0)
    optimizer.step()
    self.scaler.update()
    optimizer.zero_grad(set_to_none=True)
    self.steps += 1


ADAM_LONG, ADAMP_LONG, EXPECTI_LONG = (spec.but(batch_size=99, epochs=4) for spec in (ADAM, ADAMP, EXPECTI))
SMALL = LONG.but(microbatch=40)
HALF, SAM, ZERO = fp16(LONG), sam(LONG), zero_gamma(LONG)
SPARED = no_bias_decay(LONG.but(decay=LONG.decay.but(weight=0.01)))
OVERFLOWS = fp16(TINY.but(model=Dense(hidden=(8,), size=8), batch_size=1, epochs=1))  # at its first step
BROKEN: Broken = {
    "the loop": [
        (
            "the stem left out of the optimizer",
            LONG,
            text(
                GROUPS,
                GROUPS.replace(
                    "groups(spec, model)", "[g | dict(params=g['params'][1:]) for g in groups(spec, model)]"
                ),
            ),
        ),
        ("the stem frozen", LONG, at_start("model.get_parameter('stem.0.weight').requires_grad_(False)")),
        ("the stem's gradient cut off", LONG, hooked("stem.0.weight", "0 * g")),
        ("one layer's gradient doubled before it is looked at", LONG, hooked("stage1.0.body.3.weight", "2 * g")),
        ("one layer's gradient clipped before it is looked at", LONG, hooked("fc.weight", "g.clamp(-1e-2, 1e-2)")),
        ("one norm's gradient noisy", LONG, hooked("stem.1.weight", "g + 0.1 * g.abs().mean() * torch.randn_like(g)")),
        (
            "all gradients clipped to a norm of 0.5",
            LONG,
            text(BEFORE, f"nn.utils.clip_grad_norm_(run.model.parameters(), 0.5); {BEFORE}"),
        ),
        (
            "all gradients clipped once they were looked at",
            LONG,
            each_step("nn.utils.clip_grad_norm_(run.model.parameters(), 0.5)"),
        ),
        ("gradients cleared at two of three steps", LONG, text(STEP, f"{STEP} if step % 3 else run.optimizer.step()")),
        (
            "one gradient never cleared",
            LONG,
            text(STEP, f"w = run.model.get_parameter('fc.bias'); kept = w.grad; {STEP}; w.grad = kept"),
        ),
        ("γ decayed by hand", LONG, each_step(after=of("1.weight 4.weight 7.weight", "p.data.mul_(0.999)"))),
        ("γ kept above 1", LONG, each_step(after=of("1.weight 4.weight 7.weight", "p.data.clamp_(min=1)"))),
        (
            "the last bias never stepped",
            LONG,
            each_step(
                "kept = run.model.get_parameter('fc.bias').detach().clone()",
                "run.model.get_parameter('fc.bias').data.copy_(kept)",
            ),
        ),
        (
            "biases stepped twice",
            LONG,
            each_step(f"[p.data.sub_({RATE} * p.grad) for p in run.model.parameters() if p.ndim < 2]"),
        ),
        (
            "weights rounded to half at each epoch's end",
            LONG,
            text(
                NUMBER,
                f"{NUMBER}; last = run.batch == steps - 1",
                STEP,
                f"{STEP}; last and [p.data.copy_(p.data.half()) for p in run.model.parameters()]",
            ),
        ),
        (
            "weights averaged with those of 5 steps before",
            LONG,
            text(STEP, f"{STEP}; averaged(run, step)", averaged=averaged),
        ),
        (
            "filters of length 1 after each step",
            LONG,
            text(STEP, f"{STEP}; shortened(run)", shortened=shortened),
        ),
        (
            "noise of 1e-4 in every weight",
            LONG,
            each_step(after="[p.data.add_(1e-4 * torch.randn_like(p)) for p in run.model.parameters()]"),
        ),
        ("two norms that share γ", LONG, at_start("model.stage1[0].body[4].weight = model.stage1[0].body[1].weight")),
    ],
    "batch norm": [
        ("running statistics frozen", LONG, each(nn.BatchNorm2d, momentum=0.0)),
        ("running statistics the mean of all", LONG, each(nn.BatchNorm2d, momentum=None)),
        (
            "running statistics of one norm frozen later",
            LONG,
            each_epoch("run.model.stem[1].momentum = 0.1 if run.epoch == 0 else 0.0"),
        ),
        (
            "evaluating while it trains",
            LONG,
            text(WAKE, f"{WAKE}    [m.eval() for m in run.model.modules() if isinstance(m, nn.BatchNorm2d)]\n"),
        ),
        (
            "one evaluating from the second epoch on",
            LONG,
            text(WAKE, f"{WAKE}    run.model.stem[1].train(run.epoch == 0)\n"),
        ),
        (
            "statistics reset at each epoch",
            LONG,
            each_epoch("[m.reset_running_stats() for m in run.model.modules() if isinstance(m, nn.BatchNorm2d)]"),
        ),
        (
            "variance never below 0.5",
            LONG,
            each_step(
                after="[m.running_var.clamp_(min=0.5) for m in run.model.modules() if isinstance(m, nn.BatchNorm2d)]"
            ),
        ),
    ],
    "the optimizers": [
        (
            "NAG: momentum dropped at every second step",
            LONG,
            each_step("[s['momentum_buffer'].zero_() for s in run.optimizer.state.values() if step % 2]"),
        ),
        (
            "NAG: momentum dropped at each epoch",
            LONG,
            each_epoch("[s['momentum_buffer'].zero_() for s in run.optimizer.state.values()]"),
        ),
        (
            "NAG: momentum of one tensor dropped at each epoch",
            LONG,
            each_epoch("run.optimizer.state[run.model.get_parameter('fc.bias')]['momentum_buffer'].zero_()"),
        ),
        (
            "NAG: the last layer's rate halved",
            LONG,
            each_step("kept = run.model.fc.weight.detach().clone()", "run.model.fc.weight.data.lerp_(kept, 0.5)"),
        ),
        (
            "SGD: momentum of the stem doubled",
            LONG.but(optimizer=SGD()),
            each_step("run.optimizer.state[run.model.get_parameter('stem.0.weight')]['momentum_buffer'].mul_(2)"),
        ),
        (
            "Adam: steps counted anew at each epoch",
            ADAM_LONG,
            each_epoch("[s['step'].zero_() for s in run.optimizer.state.values()]"),
        ),
        (
            "Adam: one tensor's state dropped at each epoch",
            ADAM_LONG,
            each_epoch("run.optimizer.state.pop(run.model.get_parameter('fc.weight'), None)"),
        ),
        (
            "Adam: one tensor's squares never grow",
            ADAM_LONG,
            each_step(after="run.optimizer.state[run.model.get_parameter('stem.0.weight')]['exp_avg_sq'].mul_(0.5)"),
        ),
        ("AdamP: the last layer as AdamW's", ADAMP_LONG, grouped("fc.weight", delta=0.0)),
        (
            "AdamP: one tensor's mean halved",
            ADAMP_LONG,
            each_step("step and run.optimizer.state[run.model.get_parameter('stem.0.weight')]['exp_avg'].mul_(0.5)"),
        ),
        (
            "Expectigrad: the sum of all dropped at each epoch",
            EXPECTI_LONG,
            each_epoch("[v.zero_() for s in run.optimizer.state.values() for k, v in s.items() if k == 'sum']"),
        ),
        (
            "Expectigrad: one tensor's momentum 0",
            EXPECTI_LONG,
            each_step("step and run.optimizer.state[run.model.get_parameter('fc.bias')]['momentum'].zero_()"),
        ),
        ("NAG: momentum dropped before each step is looked at", LONG, before_look("momentum_buffer")),
        ("Adam: the mean dropped before each step is looked at", ADAM_LONG, before_look("exp_avg")),
        ("Adam: the square dropped before each step is looked at", ADAM_LONG, before_look("exp_avg_sq")),
        ("Adam: steps counted from 0 before each is looked at", ADAM_LONG, before_look("step")),
        ("Expectigrad: the sum dropped before each step is looked at", EXPECTI_LONG, before_look("sum")),
    ],
    "no_bias_decay": [
        ("γ decayed by hand", SPARED, each_step(of("1.weight", f"p.data.mul_(1 - 0.01 * {RATE})"))),
        ("the stem's weights spared too", SPARED, grouped("stem.0.weight", weight_decay=0.0)),
        (
            "the last layer's decay doubled by hand",
            SPARED,
            each_step("run.model.fc.weight.grad.add_(run.model.fc.weight.data, alpha=0.01)"),
        ),
    ],
    "zero_gamma": [
        (
            "γ of 0 that does not learn",
            ZERO,
            at_start("[p.requires_grad_(False) for n, p in model.named_parameters() if n.endswith('body.7.weight')]"),
        ),
        ("γ of 0 put back after each step", ZERO, each_step(after=of("body.7.weight", "p.data.zero_()"))),
        ("the stem's γ halved too", ZERO, at_start("model.stem[1].weight.data.mul_(0.5)")),
    ],
    "warmup": [
        (
            "the last layer at the peak at once",
            warmup(LONG, epochs=2),
            each_step("run.model.fc.bias.grad.mul_(peak / run.optimizer.param_groups[0]['lr'])"),
        ),
        (
            "the last layer's group at another rate",
            warmup(LONG, epochs=2),
            text(
                GROUPS,
                GROUPS.replace("groups(spec, model)", "two_groups(groups(spec, model))"),
                "        y = task.targets(",
                '        run.optimizer.param_groups[-1]["lr"] *= 0.5\n        y = task.targets(',
                two_groups=two_groups,
            ),
        ),
    ],
    "cosine": [
        (
            "the stem at a constant rate",
            cosine(LONG),
            each_step("run.model.stem[0].weight.grad.mul_(peak / run.optimizer.param_groups[0]['lr'])"),
        )
    ],
    "linear_scaling": [
        (
            "biases at the rate that is not scaled",
            linear_scaling(LONG),
            each_step("[p.grad.mul_(256 / spec.batch_size) for p in run.model.parameters() if p.ndim < 2]"),
        )
    ],
    "label_smoothing": [
        (
            "the last bias gets no gradient of it",
            label_smoothing(LONG),
            each_step("run.model.fc.bias.grad.copy_((z.softmax(1) - nn.functional.one_hot(labels, 10)).mean(0))"),
        )
    ],
    "mixup": [
        (
            "the first layer learns from the plain images",
            mixup(LONG),
            text(BEFORE, f"of_plain(run, stages[0][0], y); {BEFORE}", of_plain=of_plain),
        )
    ],
    "resnet_d": [
        ("the shortcut's gradient halved", resnet_d(LONG), hooked("stage2.0.shortcut.0.weight", "0.5 * g")),
        ("the pooled shortcut frozen", resnet_d(LONG), at_start("model.stage2[0].shortcut.requires_grad_(False)")),
    ],
    "distillation": [
        (
            "the teacher's weights of the last layer lost, later",
            TAUGHT_LONG,
            text(CALL, f"run.epoch == 2 and run.batch == 0 and teacher.model.fc.weight.data.mul_(0.9); {CALL}"),
        ),
        (
            "the stem starts as the teacher's",
            TAUGHT_LONG,
            text(
                "    trace = Trace(",
                "    model.stem[1].bias.data.copy_(teachers[0].model.stem[1].bias[:4])\n    trace = Trace(",
            ),
        ),
        (
            "the pull does not reach the last bias",
            TAUGHT_LONG,
            text(CALL, CALL.replace("(x, z)", "(x, z - run.model.fc.bias + run.model.fc.bias.detach())")),
        ),
    ],
    "sam": [
        (
            "biases do not come back",
            SAM,
            edited(
                SharpnessAware,
                "away",
                "torch._foreach_copy_(moved, before)",
                "[p.copy_(b) for p, b in zip(moved, before) if p.ndim > 1]",
            ),
        ),
        (
            "norms do not climb",
            SAM,
            edited(
                SharpnessAware,
                "away",
                "torch._foreach_add_(moved, offsets)",
                "[p.add_(o) for p, o in zip(moved, offsets) if p.ndim > 1]",
            ),
        ),
        (
            "the last layer's first gradient is kept",
            SAM,
            edited(
                SharpnessAware,
                "away",
                "model.zero_grad(set_to_none=True)",
                "[p.grad.zero_() for n, p in model.named_parameters() if n != 'fc.weight']",
            ),
        ),
    ],
    "fp16": [
        ("the last layer's gradient stays scaled by 2", HALF, hooked("fc.weight", "2 * g")),
        (
            "the last layer's master weights rounded",
            HALF,
            each_step(after="run.model.fc.weight.data.copy_(run.model.fc.weight.data.half())"),
        ),
        (
            "steps that overflow are taken",
            OVERFLOWS,
            method(HalfRunner, "step", stepped_anyway),
        ),
    ],
    "microbatch": [
        (
            "gradients cleared between passes",
            SMALL,
            text("    run.runner.backward(loss)\n", "    run.model.zero_grad(); run.runner.backward(loss)\n"),
        ),
        (
            "running statistics of the first pass alone",
            SMALL,
            text(
                PASS,
                f"remembering(run.model, run.model.fc.bias.grad is None); {PASS}",
                remembering=remembering,
            ),
        ),
        (
            "a bias stepped at each pass",
            SMALL,
            text(
                "return z.detach(), loss.detach()",
                "run.model.fc.bias.data.sub_(1e-3 * run.model.fc.bias.grad); return z.detach(), loss.detach()",
            ),
        ),
    ],
    "EarlyStopping": [
        (
            "the best weights without their statistics",
            HELD,
            text(
                "run.model.load_state_dict(run.best)",
                "run.model.load_state_dict({n: v for n, v in run.best.items() if 'running' not in n}, strict=False)",
            ),
        ),
        (
            "the best weights but for the last layer",
            HELD,
            text(
                "run.model.load_state_dict(run.best)",
                "run.model.load_state_dict({n: v for n, v in run.best.items() if 'fc' not in n}, strict=False)",
            ),
        ),
        (
            "each epoch starts from the best weights",
            HELD,
            text(
                "    while run.epoch < spec.epochs",
                "    while run.epoch < spec.epochs and (not run.best or run.model.load_state_dict(run.best))",
            ),
        ),
    ],
    "Dense": [
        ("the first bias frozen", DENSE, at_start("model[1].bias.requires_grad_(False)")),
        ("the hidden layer's gradient halved", DENSE, hooked("1.weight", "0.5 * g")),
    ],
    "Timm": [
        (
            "running statistics frozen",
            TIMM,
            at_start("[setattr(m, 'momentum', 0.0) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]"),
        ),
        (
            "the stem frozen",
            TIMM,
            at_start("next(model.parameters()).requires_grad_(False)"),
        ),
    ],
}
