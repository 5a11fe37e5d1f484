"""The graph of an image shard whose links suit captions as queries.

A caption's vector lies apart from all images, so its nearest images are not near each other, and a walk along links
between near images needs a long candidate list to find them all (Chen et al., RoarGraph,
https://arxiv.org/abs/2408.08933; Jaiswal et al., OOD-DiskANN, https://arxiv.org/abs/2211.12850). So images that often
answer the same captions become candidates for links.

The nodes are not inserted one by one as in HNSW. Exact nearest neighbours inside overlapping groups give a node's near
candidates, those in samples of the nodes its far ones; HNSW's rule chooses among them; then the chosen, the nodes that
chose it and the images that share captions with it are chosen from again, by the relaxed rule. All of it by products
of reduced vectors that are whole numbers, so the links do not depend on the number of threads, nor on the codec, whose
vectors searches compare. The upper levels are built in the same way, without captions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.co_answers import CoAnswers
from index.graph.groups import Groups, make_groups, nearest_in_groups
from index.graph.hnsw import HnswSpec, empty_graph, usable_rows
from index.graph.prune import choose_links, reduced_storage, reversed_links, stored
from index.graph.reachable import level_links, link_unreached
from index.graph.reduced import REDUCED_RULES, SAMPLE_ROWS, fit_reduction

__all__ = ["QUERY_GRAPH_RULES", "build_query_graph"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Halves = npt.NDArray[np.float16]

# Rows of a group, and the groups that rows and captions are compared with; captions lie apart from all of them.
_GROUP, _VISITS, _CAPTION_VISITS = 500, 10, 16
# Far candidates come from an 8th and a 64th of the nodes.
_SAMPLES, _SAMPLE_VISITS = (8, 64), 2
# Candidates of a node as shares of efConstruction, so of 100: nearest, those of each sample, those that share captions.
_NEAR, _FAR, _SHARING = 0.32, 0.16, 0.48
_ANSWERS = 16  # of a caption
# The factor of distances where captions' candidates are chosen from; with 1, HNSW's own, most of them are dropped.
_RELAXED = 1.1
_NODES = 4_096  # nodes whose links are chosen at once
QUERY_GRAPH_RULES = (
    *("query graph", _GROUP, _VISITS, _CAPTION_VISITS, *_SAMPLES, _SAMPLE_VISITS),
    *(_NEAR, _FAR, _SHARING, _ANSWERS, _RELAXED, *REDUCED_RULES),
)


def build_query_graph(
    blocks: Iterable[npt.NDArray[Any]], sample: npt.NDArray[Any], captions: Iterable[Floats], spec: HnswSpec
) -> Any:
    """A faiss IndexHNSWSQ of the usable rows of `blocks`, in their order.

    Args:
        blocks: unit vectors [n, d], any float dtype.
        sample: unit vectors [m, d] of these rows, for the codec's ranges and the reduction (`reduced.SAMPLE_ROWS`).
        captions: blocks of unit vectors [n, d]; not those that recall is measured with.
    """
    import faiss

    graph = empty_graph(sample, spec)
    rows = np.asarray(sample[:: max(1, len(sample) // SAMPLE_ROWS)], np.float32)
    rows = rows[usable_rows(rows)]
    reduction = fit_reduction(rows if len(rows) else np.eye(1, graph.d, dtype=np.float32))
    storage, reduced = faiss.downcast_index(graph.storage), reduced_storage(reduction.dim)
    for block in blocks:
        rows = np.ascontiguousarray(block, np.float32)
        rows = rows[usable_rows(rows)]
        storage.add(rows)
        reduced.add_sa_codes(reduction(rows).view(np.uint8))
    levels = _levels(reduced.ntotal, spec.M)
    faiss.copy_array_to_vector(levels + 1, graph.hnsw.levels)
    graph.hnsw.prepare_level_tab(len(levels), True)
    graph.ntotal = len(levels)
    if not len(levels):
        return graph
    graph.hnsw.max_level, graph.hnsw.entry_point = int(levels.max()), int(levels.argmax())
    for level in range(1, int(levels.max()) + 1):
        _link_level(graph, level, np.flatnonzero(levels >= level), reduced, spec)
    whole = (reduction(block, centered=False) for block in captions if len(block))
    _link_level(graph, 0, np.arange(len(levels)), reduced, spec, whole)
    link_unreached(graph)
    return graph


def _levels(count: int, links: int) -> Numbers:
    """int32 [count]: the highest level of each node; a level has 1/links of the nodes of the one under it."""
    drawn = np.random.Generator(np.random.PCG64(7)).random(count)
    levels: Numbers = (-np.log(1 - drawn) / np.log(links)).astype(np.int32)
    return levels


def _link_level(
    graph: Any, level: int, nodes: Ids, reduced: Any, spec: HnswSpec, captions: Iterable[Halves] = ()
) -> None:
    """Choose the links of `nodes` [n] on a level, and write them into the graph."""
    if len(nodes) < 2:
        return
    own = reduced
    if len(nodes) < reduced.ntotal:
        own = reduced_storage(reduced.d)
        own.add_sa_codes(np.ascontiguousarray(stored(reduced)[nodes]).view(np.uint8))
    points, most = stored(own), graph.hnsw.nb_neighbors(level)
    groups = make_groups(points, _GROUP)
    together = _together(points, groups, list(captions))
    chosen = np.concatenate(list(_chosen(own, points, groups, spec)))
    back = reversed_links(chosen, chosen.shape[1])
    for first in range(0, len(nodes), _NODES):
        last = min(first + _NODES, len(nodes))
        candidates = [chosen[first:last], back[first:last]]
        if together is not None:
            candidates.append(together.most_frequent(first, last, round(_SHARING * spec.ef_construction)))
        relaxed = 1.0 if together is None else _RELAXED
        links = choose_links(own, first, np.concatenate(candidates, axis=1), most, relaxed)
        array, places = level_links(graph, level, nodes[first:last])
        array[places] = np.where(links < 0, -1, nodes[links])


def _together(points: Halves, groups: Groups, captions: list[Halves]) -> CoAnswers | None:
    """The answers of the captions; None without captions."""
    if not captions:
        return None
    whole = np.concatenate(captions)
    captions.clear()
    found = nearest_in_groups(points, groups, whole, _CAPTION_VISITS, _ANSWERS, inner=True)
    return CoAnswers(found.rows(0, len(whole)), len(points))


def _chosen(own: Any, points: Halves, groups: Groups, spec: HnswSpec) -> Iterable[Numbers]:
    """Blocks of the links that HNSW's rule chooses among near and far candidates."""
    near, far = max(round(_NEAR * spec.ef_construction), 4), max(round(_FAR * spec.ef_construction), 2)
    lists = [nearest_in_groups(points, groups, points, _VISITS, near + 1)]
    rows: list[Ids | None] = [None]
    generator = np.random.Generator(np.random.PCG64(5))
    for step in _SAMPLES:
        if len(points) < 2 * step:
            continue
        chosen = np.sort(generator.choice(len(points), len(points) // step, replace=False))
        some = np.ascontiguousarray(points[chosen])
        lists.append(nearest_in_groups(some, make_groups(some, _GROUP), points, _SAMPLE_VISITS, far))
        rows.append(chosen)
    for first in range(0, len(points), _NODES):
        last = min(first + _NODES, len(points))
        found = [
            each.rows(first, last) if of is None else _named(of, each.rows(first, last))
            for each, of in zip(lists, rows, strict=True)
        ]
        yield choose_links(own, first, np.concatenate(found, axis=1), near - near % 2, 1.0)


def _named(rows: Ids, places: Numbers) -> Numbers:
    return np.where(places < 0, -1, rows[places]).astype(np.int32)
