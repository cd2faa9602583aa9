"""Passes that are done otherwise than written: by a compiled network that is none, or is another's."""

import copy

from harness.parts.models.dense import Dense
from harness.passes import Quick
from harness.tricks.torch_compile import Compiled, Inductor, torch_compile
from tests.mutants.breaking import TINY, Broken, edited, method

PLAIN = TINY.but(model=Dense(hidden=(8,), size=8), batch_size=99)  # its code is compiled in seconds
COMPILED = torch_compile(PLAIN)

BROKEN: Broken = {
    "torch_compile": [
        ("does nothing", COMPILED, method(Inductor, "on", lambda self, model: model)),
        ("counts, and runs what is written", COMPILED, edited(Compiled, "__call__", "self.forward(", "self.plain(")),
        (
            "a copy of the network",
            COMPILED,
            method(Inductor, "on", lambda self, model: Compiled(copy.deepcopy(model), self.mode)),
        ),
        (
            "in the first steps alone",
            COMPILED,
            edited(Quick, "__call__", "self.network)", "self.network if watched else self.model)"),
        ),
        (
            "its gradients a hundredth longer",
            COMPILED,
            edited(Compiled, "__call__", "self.calls += 1", "self.calls += 1; z.register_hook(lambda g: 1.01 * g)"),
        ),
    ],
}
BY_KIND = {"0": BROKEN}
