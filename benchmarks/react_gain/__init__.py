"""Whether REACT's customizing makes a better CLIP of drawn scenes, with paired intervals."""
