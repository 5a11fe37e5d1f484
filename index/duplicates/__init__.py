"""Near-duplicate images: groups of them, and the stored column that names the group of each row of a store."""
