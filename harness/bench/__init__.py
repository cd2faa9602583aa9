"""Throughput: the harness itself against the bound of the machine, and what its parts cost."""
