"""Randomness: one named stream a purpose, each derived from the seed alone.

A stream is a function of `(seed, *purpose)`, never of what was drawn before: a trick that draws more numbers leaves
every other stream untouched, a batch can be prepared by any worker, and a run can be taken up at any step.
"""

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np

Stream = Callable[..., np.random.Generator]


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """The generator of one purpose, for example `stream(0, "mix", epoch, batch)`."""
    words = [
        part if isinstance(part, int) else int.from_bytes(hashlib.sha256(part.encode()).digest()[:8])
        for part in purpose
    ]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(words), *words])))


def streams(seed: int) -> Stream:
    """All streams of one seed: `streams(0)("order", epoch)` is `stream(0, "order", epoch)`."""
    return partial(stream, seed)
