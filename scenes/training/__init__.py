"""Trains and measures the small CLIP of the embedded world."""
