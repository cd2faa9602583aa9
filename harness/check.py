"""`python -m harness.check STUDY`: try a study's parts on a few batches, before hours are spent on it.

Each rung is trained as it stands, but on few images and for few epochs, twice: in one go, and stopped in the middle and
gone on. All checks of a real run are made, and more steps are audited than in one. Each trick is held to what those
that are shipped keep to, see `harness.contract`. Nothing is kept.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from harness import Problem, one_line, planned
from harness.cli import answer, main
from harness.spec import SECOND, UNPROVEN, Data, Derived, Spec
from harness.spec import upstream as inner

if TYPE_CHECKING:
    import torch

    from harness.evidence import Upstream
    from harness.study import Plan, Rung, Study
    from harness.train import Keeper, Trained

BATCH, BATCHES = 32, 2  # images at most, and batches an epoch
TESTED = 64  # images
DENSE = 8  # of those with boxes or masks, which take longer


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.check",
        description="Try a study's parts in minutes: every rung on a few batches, with all checks of a real run. It "
        "says how each part is known to do what it says, and exits with 1 where a check fails, where a part is "
        "unproven, where a run that was stopped and gone on ends otherwise, or where a trick does not keep to what "
        "each must: its input stays, twice is once, JSON brings it back, two commute or both declare a slot, and "
        "doing nothing is caught.",
        epilog="The next step is python -m harness.ablate STUDY --dry-run: what the study will cost.",
    )
    p.add_argument("study", help=planned.STUDY)
    p.add_argument("--only", nargs="+", default=[], metavar="RUNG", help="try these rungs alone")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SLOT.FIELD=VALUE",
        help="change a value in every rung; repeatable",
    )
    p.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    return p


def run(options: argparse.Namespace) -> int:
    from harness import study
    from harness.contract import noticed
    from harness.engine import places, settle
    from harness.report.words import count

    loaded = study.load(options.study)
    asked = study.plan(loaded, [study.setting(text) for text in options.set])
    study.check(asked)
    rungs = [rung for rung in asked.rungs if not options.only or rung.name in options.only]
    unknown = set(options.only) - {rung.name for rung in rungs}
    if unknown:
        names = ", ".join(rung.name for rung in asked.rungs)
        raise Problem(f"no rung {min(unknown)!r} in {options.study}; rungs: {names}")
    device = settle(places(options.device, 1)[0])
    largest = max(spec.batch_size for rung in asked.rungs for spec in (*inner(rung.spec), rung.spec))
    small = {rung.name: few(rung.spec, min(1.0, BATCH / largest)) for rung in asked.rungs}
    few_images = f"at most {BATCH * BATCHES} images an epoch, twice each"
    print(f"{options.study}: {count(len(rungs), 'rung')} on {device.type}, {few_images}")
    began, failed, ends, rows = time.monotonic(), set[str](), dict[str, str](), []
    trained: dict[Spec, Trained] = {}
    for rung in rungs:
        spec = small[rung.name]
        alike = next((name for name in ends if small[name] == spec), None)
        if alike:
            told, known_as = list[str](), f"on few images and epochs the same as {one_line(alike)}"
            ends[rung.name], wrong = ends[alike], alike in failed
        else:
            told, network, opinions, made = tried(spec, device)
            if made and rung.gain and not told:
                trained[spec], below = made, small[asked.rungs[rung.gain[1]].name]
                told += noticed(spec, below, lambda one: short(one, device), trained.get(below))
            elif made:
                trained[spec] = made
            same = next((name for name, other in ends.items() if other == network), None) if network else None
            if same:
                told.append(f"ends bit for bit as {same} does: nothing was changed")
            known_as, ends[rung.name], wrong = known(opinions), network, False
        told += broken(loaded, asked, rung)
        wrong = wrong or bool(told)
        if wrong:
            failed.add(rung.name)
        rows.append({"rung": rung.name, "ok": not wrong, "known": known_as, "wrong": told})
        print(f"{'FAILED' if wrong else 'ok':7}{one_line(rung.name)}: {known_as}", flush=True)
        for line in told:
            print(f"       {one_line(line, 400)}", flush=True)
    orders = [] if options.only else disordered(loaded, asked.rungs[0].spec)
    for line in orders:
        print(f"FAILED {one_line(line, 400)}")
    answer({"study": options.study, "rungs": rows, "orders": orders})
    print(f"{len(rungs) - len(failed)} of {count(len(rungs), 'rung')} hold, in {time.monotonic() - began:.0f} s")
    return 1 if failed or orders else 0


def broken(study: Study, plan: Plan, rung: Rung) -> list[str]:
    """What the tricks that a rung adds do not keep to."""
    from harness.contract import EACH
    from harness.study import trick_name

    if not rung.gain:
        return []
    above, below = (plan.rungs[place] for place in rung.gain)
    told, spec = list[str](), below.spec
    for trick in (study.every[place] for place in above.on if place not in below.on):
        told += [f"{trick_name(trick)} {line}" for rule in EACH for line in rule(trick, spec)]
        spec = trick(spec)
    return told


def disordered(study: Study, baseline: Spec) -> list[str]:
    """The pairs of tricks, of one way of the study, that do not commute and do not say so."""
    from harness.contract import commute
    from harness.study import trick_name
    from harness.study.study import ways

    pairs = dict.fromkeys(pair for way in ways(study.tricks) for pair in combinations(way, 2))
    names = ((f"{trick_name(one)} and {trick_name(other)}", one, other) for one, other in pairs)
    return [f"{name} {line}" for name, one, other in names for line in commute(one, other, baseline, said=True)]


def few(spec: Spec, scale: float) -> Spec:
    """`spec` on few images, for as few epochs as its warmup and two more, its teachers and its backbone likewise.

    Batches are scaled alike, so that what differs in its batch still does. Of several ranks one is tried.
    """
    batch = max(2, round(spec.batch_size * scale))
    warmup = getattr(getattr(spec.schedule, "warmup", None), "epochs", 0.0)
    teachers = tuple(part.but(spec=few(part.spec, scale)) for part in spec.teacher)
    inner = {name: few(value, scale) for name, value in spec.model if isinstance(value, Spec)}
    return spec.but(
        data=slice_of(spec.data, batch),
        model=spec.model.but(**inner) if inner else spec.model,
        batch_size=batch,
        epochs=min(spec.epochs, math.ceil(warmup) + 2),
        microbatch=spec.microbatch and max(1, batch * spec.microbatch // spec.batch_size),
        ranks=None,
        sync_norms=None,
        teacher=teachers,
    )


def slice_of(data: Data, batch: int) -> Data:
    """A few of its images; of data that holds some out a few of all, so that what it says of them can be proven.

    `Few` is made here, so that asking for help loads no torch.
    """
    if isinstance(within := getattr(data, "of", None), Data):
        return data.but(of=slice_of(within, batch + -(-batch // 2)))  # two batches are left of three
    made: Data = _few()(of=data, batch=batch)
    return made


@cache
def _few() -> Any:
    import numpy as np

    from harness.parts.data import limited

    class Few(Derived):
        """The first images of `of`, even over the classes: two batches to train on, and some of each other split."""

        batch: int

        def load(self) -> Any:
            return _of(self)

    @cache
    def _of(part: Few) -> Any:
        images = part.of.load()
        chosen = {}
        for split in images.counts:
            tested = max(TESTED, len(images.classes)) if part.of.truth == "class" else DENSE
            most = BATCHES * part.batch if split == "train" else tested
            chosen[split] = (split, np.asarray(limited(images.strata(split), most)))
        return images.regrouped(chosen)

    Few.model_rebuild()
    return Few


def tried(spec: Spec, device: torch.device) -> tuple[list[str], str, dict[str, str], Trained | None]:
    """What is amiss with a short run, in lines; digests of it and what it showed; how its parts are known; itself."""
    from harness.spec import blame
    from harness.train import Keeper, train

    class Stopped(Exception):
        pass

    class Half(Keeper):
        """Keeps the state of the middle, and stops there; then gives it."""

        state: Any = None

        def saved(self) -> Any:
            return self.state

        def due(self, epoch_done: bool) -> bool:
            return epoch_done and self.state is None

        def keep(self, state: Any) -> None:
            import copy

            self.state = copy.deepcopy(state)
            raise Stopped

    try:
        made = short(spec, device)
        whole = made.result
        told = [
            f"{row['part']}: {row['what']}: expected {row['expected']}, seen {row['seen']}"
            for row in whole["evidence"]
            if not row["ok"]
        ]
        told += [
            f"{kind} is unproven: give it a `proof`, or a `reference`"
            for kind, how in whole["opinions"].items()
            if how == UNPROVEN
        ]
        keeper: Keeper = Half()
        try:
            train(spec, 0, device, taught(device), keeper)
        except Stopped:
            again = train(spec, 0, device, taught(device), keeper).result
            if again["network"] != whole["network"] and device.type == "cpu":
                told.append(
                    "stopped after the first epoch and gone on, it ends otherwise: a part keeps what no seed says"
                )
    except Problem as problem:
        return [str(problem)], "", {}, None
    except Exception as error:
        return [blame.told(error)], "", {}, None
    scores = [f"{name}={value!r}" for name, value in sorted(whole["metrics"].items())]  # another test is another run
    return told, "".join([whole["network"], *whole["seen"].values(), *scores]), whole["opinions"], made


def short(spec: Spec, device: torch.device) -> Trained:
    from harness.train import train

    return train(spec, 0, device, taught(device))


def taught(device: torch.device) -> Any:
    """How a teacher or a backbone is found: it is trained here, for as short."""
    return lambda spec: _taught(spec, device)


@cache
def _made(spec: Spec, device: torch.device) -> Any:
    return short(spec, device)


def _taught(spec: Spec, device: torch.device) -> Upstream:
    import copy

    from harness.evidence import Upstream

    made = _made(spec, device)
    return Upstream(copy.deepcopy(made.model), spec.id, made.result, 0)


def known(opinions: dict[str, str]) -> str:
    """How the parts are known to do what they say, in a few words."""
    found = {kind: how for kind, how in opinions.items() if kind != "Few"}
    others = [f"{kind} {how}" for kind, how in found.items() if how != SECOND]
    told = f"{len(found) - len(others)} of {len(found)} parts by a second opinion"
    return "; ".join([told, *([", ".join(others)] if others else [])]) if found else "not tried"


if __name__ == "__main__":
    main(parser(), run)
