"""The mining strategies, and the neighbour and noun searches that they share."""
