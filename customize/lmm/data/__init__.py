"""Training samples of LLaVA-family models: sources, mixtures, and their tokens."""
