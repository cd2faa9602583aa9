"""Throughput: the harness itself against the bound of this machine, measured in one run.

    python -m harness.bench                                        # the digits, a check that all works
    python -m harness.bench --model resnet18 --data /data/cifar10 --size 32
    python -m harness.bench --study digits:mixup                   # a rung of a study, made shorter
    python -m harness.bench --gpu                                  # what a GPU makes of all this, in some eight minutes
    python -m harness.bench --loader /data/photos                  # photos, as they are and prepared, beside timm's
    python -m harness.bench --trainer pytorch-image-models/train.py --data /data/photos --size 224   # beside timm's
    python -m harness.bench --imgaug /data/monkeys                 # the monkeys' augmentation, beside its source
    python -m harness.bench --records 10000                        # how long the store and a report of it take
    python -m harness.bench --scheduler 100000                     # how long it takes to say which run goes next
    python -m harness.bench --claims 32                            # how the store bears so many processes at once
    python -m harness.bench --launcher 20 --engine slurm           # what a launcher takes for each of so many runs
    python -m harness.bench --evidence 2000 --model small          # what evidence costs, in a run of so many steps
    python -m harness.bench --overfit detection --data VOCDEVKIT   # whether a detector learns eight images by heart
    python -m harness.bench --overfit segmentation --data ADE      # whether a segmenter does: some minutes each

The *bound* is forward, backward and update of one batch that is already in memory, over and over: no data, no
evaluation, no records; in as many simultaneous processes as the harness uses, with the same threads. The *harness* is a
whole small study: processes start, load and augment, train, evaluate every epoch, keep journals, write records and log
to MLflow. Images trained on count, images tested on do not, though their time does. Reading every image file and making
MLflow's database, each done once a machine, come before the clock starts. The machine may be shared, so the bound is
measured before and after every study, and the ratio is one of medians. Where the time of a process went is told too, by
phase (`harness/bench/spent.py`).
"""

import argparse
from statistics import median

from harness import Problem, where
from harness.bench.evidence import show_evidence
from harness.bench.loop import MODELS, STEADY, Measured, measure, of_study, specification
from harness.bench.overfit import KINDS, show_overfit
from harness.bench.photos import show_loaded
from harness.bench.policy import show_prepared
from harness.bench.records import show_records
from harness.cli import main
from harness.paths import expanded


def run(options: argparse.Namespace) -> None:
    from harness.engine import places as places_for

    for name in (
        "size",
        "batch_size",
        "jobs",
        "seconds",
        "rounds",
        "records",
        "scheduler",
        "claims",
        "launcher",
        "evidence",
        "curve_every",
        "curve_images",
    ):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Problem(f"--{name.replace('_', '-')} {value:g}: must be above 0")
    if options.records:
        return show_records(options.records)
    if options.scheduler:
        from harness.bench.scheduler import show_scheduler

        return show_scheduler(options.scheduler)
    if options.claims:
        from harness.bench.claims import show_claims

        return show_claims(options.claims)
    if options.launcher:
        from harness.bench.launchers import show_overhead

        return show_overhead(options.launcher, options)
    if options.loader:
        return show_loaded(options.loader, options.rounds)
    if options.imgaug:
        return show_prepared(options.imgaug, options.rounds)
    if options.trainer:
        from harness.bench.trainer import photos, show_trained

        if options.device not in (None, "cpu"):
            raise Problem("--trainer compares on the CPU: leave --device out")
        asked = options.model, expanded(options.data), options.size, options.batch_size
        return show_trained(options.trainer, photos(*asked), options.model, places_for("cpu", options.jobs))
    places = places_for(options.device, options.jobs)
    if options.gpu:
        if not places[0].startswith("cuda"):
            raise Problem("--gpu measures a CUDA device, and there is none here")
        from harness.bench.gpu import show_gpu

        return show_gpu(places[0])
    if options.overfit:
        return show_overfit(options.overfit, expanded(options.data), places[0])
    given = options.model, options.data, options.size, options.batch_size
    spec = of_study(options.study) if options.study else specification(*given)
    if options.evidence:
        return show_evidence(spec, places[0], options.evidence, options.rounds)
    images = spec.data.load()
    shape, precision = f"{images.channels} x {images.size} x {images.size}", type(spec.precision).__name__
    what = options.study or f"{options.model} on {shape} images of {options.data}"
    print(f"{what}, batch {spec.batch_size}, {precision}")
    print(f"{len(places)} processes on {', '.join(dict.fromkeys(places))}; images per second:", flush=True)
    bounds: list[float] = []
    studies: list[Measured] = []
    for kind, seen in measure(spec, places, options.seconds, options.rounds, where.how(options)):
        (bounds if kind == "bound" else studies).append(seen)
        print(f"  {kind:<8}{seen if kind == 'bound' else seen.rate:10.1f}", flush=True)
    rates = [seen.rate for seen in studies]
    print(f"{'':10}{'min':>10}{'median':>10}{'n':>4}")
    for kind, values in (("bound", bounds), ("harness", rates)):
        print(f"  {kind:<8}{min(values):10.1f}{median(values):10.1f}{len(values):4}")
    print(f"harness / bound = {median(rates) / median(bounds):.3f}")
    if max(bounds) > STEADY * min(bounds):
        print(
            f"the bound itself moved by x {max(bounds) / min(bounds):.2f}: the machine is busy, the ratio means little"
        )
    last = studies[-1]
    print(f"in the training loop: {last.in_loop / median(bounds):.3f} of the bound")
    parts = ", ".join(f"{name} {seconds / last.wall:.1%}" for name, seconds in last.spent.items())
    print(f"of {last.wall:.0f} s a process: {parts}; together {sum(last.spent.values()) / last.wall:.1%}")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.bench", description="Measure the harness against the bound of this machine, and their ratio."
    )
    add = p.add_argument
    add(
        "--model",
        default="resnet18",
        help=f"{', '.join(MODELS)}; up to 64 px with the small stem (default: %(default)s)",
    )
    add("--data", default="digits", help="digits, cifar10, or a folder with train/ and val/ (default: %(default)s)")
    add("--study", metavar="STUDY[:RUNG]", help="a rung of a study instead, its baseline by default; made shorter")
    add("--size", type=int, default=32, metavar="PX", help="of a folder's images (default: %(default)s)")
    add("--batch-size", type=int, default=128, metavar="N", help="default: %(default)s")
    add("--jobs", type=int, metavar="N", help="processes (default: one a core on CPU, one a GPU on CUDA)")
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add(
        "--seconds",
        type=float,
        default=90,
        metavar="S",
        help="about what a study's training takes (default: %(default)s)",
    )
    add(
        "--curve-every",
        type=int,
        default=1,
        metavar="K",
        help="measure the test set after every K-th epoch and the last, as harness.ablate does (default: %(default)s)",
    )
    add("--curve-images", type=int, metavar="N", help="and N test images before the last epoch, as harness.ablate does")
    where.add_graphs(p)
    add("--gpu", action="store_true", help="measure a CUDA device instead, in some eight minutes")
    add("--records", type=int, metavar="N", help="measure the run store instead, with up to so many records")
    add("--scheduler", type=int, metavar="N", help="measure the scheduler's decisions instead, with N runs")
    add("--claims", type=int, metavar="N", help="measure the store's claims instead, by up to N processes")
    add("--launcher", type=int, metavar="N", help="measure what --engine takes for each of N runs that sleep")
    where.add_engine(p)
    add("--loader", type=expanded, metavar="DIR", help="measure loading its train/CLASS/FILE, beside timm's loader")
    add(
        "--trainer",
        type=expanded,
        metavar="FILE",
        help="measure a study of --model, one of timm's, on the photos of --data, beside timm's train.py, this file",
    )
    add("--imgaug", type=expanded, metavar="DIR", help="measure the monkeys' augmentation of images, beside its source")
    add("--evidence", type=int, metavar="STEPS", help="measure what audits and exams cost in a run of so many steps")
    add(
        "--overfit",
        metavar="TASK",
        help=f"{' or '.join(KINDS)}: learn eight images of --data by heart, a VOCdevkit or a folder as ADE20K's",
    )
    add("--rounds", type=int, default=1, metavar="N", help="studies, or passes of a loader (default: %(default)s)")
    return p


if __name__ == "__main__":
    main(parser(), run)
