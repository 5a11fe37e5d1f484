"""Attacks on `clipmine serve`, measured from beside it."""
