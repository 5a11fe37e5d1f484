"""The embedded world: scenes with a known truth that are drawn, captioned and compared without a download."""
