"""REACT (arXiv 2301.07094): gated blocks, training strategies, the objective, model folders; `train/`, `evaluate/`."""
