"""Random sequences of changes of a store that is served meanwhile; `sequence.py` runs one."""
