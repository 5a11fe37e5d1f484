"""The filters that proposed sets go through, and the choice of the sets that are made."""
