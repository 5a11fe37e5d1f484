"""Multimodal models of the LLaVA family: their checkpoints, training data, tuning and evaluation."""
