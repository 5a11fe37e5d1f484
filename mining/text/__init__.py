"""Reading captions: their nouns, and the facts that they state."""
