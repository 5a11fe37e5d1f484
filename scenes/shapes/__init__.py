"""The figures that types are drawn from: expressions, colours, shapes, poses."""
