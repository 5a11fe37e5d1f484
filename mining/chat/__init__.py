"""Models that answer messages with images: a server or a local checkpoint, behind one protocol (`chat`)."""
