"""Image sets as training data: LLaVA JSON, chat messages, datasets, tars, torch."""
