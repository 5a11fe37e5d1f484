"""REACT: tuning CLIP on what was retrieved. Built after the road that feeds it (index, retrieval)."""
