"""Memory and time of a million annotated pairs."""
