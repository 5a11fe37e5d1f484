"""The embedded world: scenes whose truth is known, drawn, captioned and compared without a download."""
