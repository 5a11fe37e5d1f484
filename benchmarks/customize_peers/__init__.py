"""A training step of locked-text gated-image tuning beside that of the REACT authors."""
