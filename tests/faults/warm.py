"""What victims need, loaded once in the server that they are forked from."""

from importlib import import_module

import torch
import torch._dynamo  # two seconds, that the first optimizer of a process would take

from harness import report
from harness.engine.environment import environment
from tests.faults import victim

import_module("harness.report.figures.style").PDF = False
drawn = report.draw
report.draw = lambda *given, **more: (made for made in drawn(*given, **more) if made[0] == "ladder")  # others take long
torch.set_num_threads(1)  # a pool of threads does not survive a fork
victim.SPEC.data.load()
environment(torch.device("cpu"))
