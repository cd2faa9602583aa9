import os
import subprocess
import sys

import numpy as np

from harness.rng import stream, streams


def draws(generator, n=8):
    return generator.integers(0, 2**63, n).tolist()


def test_same_purpose_same_numbers():
    assert draws(stream(3, "mix", 1, 2)) == draws(stream(3, "mix", 1, 2))
    assert draws(streams(3)("mix", 1, 2)) == draws(stream(3, "mix", 1, 2))


def test_each_purpose_has_numbers_of_its_own():
    purposes = [
        *((word,) for word in ("init", "order", "augment", "mix")),
        *(("mix", epoch) for epoch in range(3)),
        *(("mix", epoch, batch) for epoch in range(3) for batch in range(3)),
        ("mix", "a", 0),
        ("a", "mix", 0),
    ]
    seen = {tuple(draws(stream(seed, *purpose))) for seed in range(3) for purpose in purposes}
    assert len(seen) == 3 * len(purposes)


def test_one_more_draw_leaves_other_streams_alone():
    rng = streams(0)
    quiet = draws(rng("order", 0))
    rng("augment", 0).random(10_000)
    assert draws(rng("order", 0)) == quiet


def test_streams_are_unrelated():
    a, b = stream(0, "order", 0).random(20_000), stream(0, "order", 1).random(20_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(20_000)


def test_same_numbers_in_another_process():
    """Python salts its own hash of strings anew in each process; a stream must not depend on that."""
    code = "from harness.rng import stream; print(stream(7, 'mix', 'Mixup', 1).integers(0, 2**63, 8).tolist())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str(draws(stream(7, "mix", "Mixup", 1)))
