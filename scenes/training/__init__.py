"""Training and measuring the small models of the embedded world."""
