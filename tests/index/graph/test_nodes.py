"""Each usable row has a node or shares one."""

from __future__ import annotations

from pathlib import Path

from index.graph.nodes import plan_nodes
from tests.retrieval.stores import make_store, random_unit


def test_equal_rows_share_the_node_of_the_first(tmp_path: Path) -> None:
    vectors = random_unit(12)
    vectors[[7, 9]] = vectors[4]
    vectors[10] = vectors[3]
    vectors[5] = 0
    nodes = plan_nodes(make_store(tmp_path, vectors, images=[b""] * 12), "image", 2, 12)
    assert nodes.usable.tolist() == [row != 5 for row in range(2, 12)]
    assert nodes.has_node.nonzero()[0].tolist() == [0, 1, 2, 4, 6, 9]
    assert nodes.shared.tolist() == [[1, 1, 8], [2, 2, 5], [2, 2, 7]]
