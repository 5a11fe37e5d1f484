"""Executors, one entry point a job, and the clipmine command. The other folders hold the algorithms and never import it."""
