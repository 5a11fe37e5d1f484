"""Executors, one entry point a job, and the clipmine command. Algorithms live in the other folders."""
