"""REACT: gated blocks, tuning strategies, the objective, and model folders."""
