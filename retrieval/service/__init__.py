"""The retrieval service: a store behind HTTP. `app.create_app` makes it, `clipmine serve` runs it."""
