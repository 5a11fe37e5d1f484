"""Executors, one entry point a job, and the clipmine command. Algorithms live in the other folders."""

from index.moved import watch_moved_imports

watch_moved_imports()
