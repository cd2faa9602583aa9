"""`python -m harness.prepare DATA DIR`: decode photos and make them smaller once, so that no epoch has to."""

import argparse
import sys
from pathlib import Path

from harness import Problem, one_line
from harness.cli import answer, main
from harness.paths import expanded


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.prepare",
        description="Decode the photos of a folder, or of a study, once, bring their short edges to so many px, and "
        "write their pixels into a folder, whose disk is told first. A study then takes "
        "data=Prepared(root=DIR, edge=PX): other pixels, so other runs, and no decoding.",
        epilog="A set that is there and whole is left as it is. It is larger than JPEGs: about 0.4 MB an image at 320.",
    )
    p.add_argument("data", help="a folder of train/CLASS/FILE and val/CLASS/FILE, or a study, whose data it is")
    p.add_argument("to", type=expanded, metavar="DIR", help="the folder to write, or with --verify to read")
    p.add_argument("--edge", type=int, default=320, metavar="PX", help="the short edge (default: %(default)s)")
    p.add_argument("--verify", action="store_true", help="instead: read every image of DIR and compare its digest")
    return p


def run(options: argparse.Namespace) -> int | None:
    from harness.parts.data import ImageFolder
    from harness.parts.data.prepared import prepare, verify
    from harness.study import load

    if options.edge < 16:
        raise Problem(f"--edge {options.edge}: must be at least 16 px")
    if options.verify:
        other = list(verify(options.to))
        answer({"folder": options.to, "damaged": other})
        print(f"{options.to}: {len(other)} damaged{': ' if other else ''}{one_line(', '.join(other), 300)}")
        return 1 if other else 0
    folder = Path(options.data).expanduser()
    data = ImageFolder(root=folder) if folder.is_dir() else load(options.data).baseline.data
    made = prepare(data, options.edge, options.to, lambda line: print(line, file=sys.stderr, flush=True))
    answer(made)
    print(f"{made['images']:,} images, {made['bytes'] / 1e9:.2f} GB: data={made['data']}")
    return None


if __name__ == "__main__":
    main(parser(), run)
