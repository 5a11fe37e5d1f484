"""Evaluation sets: class folders, webdataset tars, Hugging Face datasets."""
