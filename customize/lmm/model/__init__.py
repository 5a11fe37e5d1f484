"""LLaVA checkpoints: loading, vision features, adapters, exported folders."""
