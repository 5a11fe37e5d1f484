"""The drawing grammar: expressions, colours, shapes and poses that object types are drawn from."""
