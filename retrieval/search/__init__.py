"""Search: by graph or exact scan, which of the two a planner picks; near-duplicates among the results."""
