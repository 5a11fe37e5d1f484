"""Image sets behind HTTP: the routes of the sets and of decisions about them, and the page that shows them."""
