"""Tuning a LLaVA-family model in stages: batches, steps, checkpoints, logs."""
