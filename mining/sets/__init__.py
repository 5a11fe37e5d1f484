"""The ImageSets contract between mining and tuning: reading, writing, splitting, decisions."""
