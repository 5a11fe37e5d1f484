"""Nouns of web captions: precision and recall on labelled captions, beside spaCy's."""
