"""`clipmine demo --loop`: mine pairs, annotate them, tune a small LLaVA, annotate with it, tune again, and measure."""
