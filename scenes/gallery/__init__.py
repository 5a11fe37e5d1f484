"""Pictures for people: a page that shows the embedded world, and contact sheets of its types."""
