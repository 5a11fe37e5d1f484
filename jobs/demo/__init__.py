"""The demo: the full pipeline on the embedded world, and its report."""
