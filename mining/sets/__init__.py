"""Image sets on disk, the contract between mining and tuning: reading, writing, filtering, splitting, annotations."""
