"""Near-duplicates across the sides of a split."""
