"""Customizing models on retrieved data: `clip` trains and measures CLIP. Imports `index` and `retrieval` only."""

from index.moved import watch_moved_imports

watch_moved_imports()
