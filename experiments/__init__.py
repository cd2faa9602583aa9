"""Studies, one a file: a baseline, a tuple of tricks, some seeds."""
