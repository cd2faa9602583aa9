"""An ablation-study harness for image classification."""

__version__ = "0.1.0"


class Problem(Exception):
    """A user's mistake or a broken input: its text is one line saying what, where and what to do."""
