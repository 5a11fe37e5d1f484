"""A page with every type of the embedded world, to look at."""
