"""Evaluation sets: class folders, webdataset tars, Hugging Face datasets. `open.open_dataset` opens any of them."""
