"""Measuring multimodal models on benchmarks of image pairs: tasks, scores, tables."""
