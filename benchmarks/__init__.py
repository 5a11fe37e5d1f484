"""Speed and quality measured beside peers or a known truth; each is started as `python -m benchmarks.NAME`."""
