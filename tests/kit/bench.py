"""The benchmark's command line, as tests call it."""

from harness.bench.__main__ import parser, run


def command(*words):
    run(parser().parse_args(words))
