"""What captions say: their nouns, and their facts along named axes."""
