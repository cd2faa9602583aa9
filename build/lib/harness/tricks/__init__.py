"""The tricks, one a file."""
