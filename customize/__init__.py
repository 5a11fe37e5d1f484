"""Customizing models on retrieved data: `clip` trains and measures CLIP. Imports `index` and `retrieval` only."""
