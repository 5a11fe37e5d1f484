"""Vectors in memory get the index that a shard of them would have."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from index.graph.codecs import CODEC_NAMES, CodecName
from index.graph.hnsw import HnswSpec, build_graph, search_graph
from index.graph.query_graph import build_query_graph
from index.graph.vectors_index import build_in_memory
from tests.index.vectors import clustered

IMAGES, CAPTIONS = (each.astype(np.float32) for each in clustered(900, dim=32))


def _links(graph: Any) -> Any:
    return faiss.vector_to_array(graph.hnsw.neighbors)


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("captions", [None, CAPTIONS], ids=["alone", "with captions"])
def test_every_codec_finds_rows_by_themselves(codec: CodecName, captions: Any) -> None:
    index = build_in_memory(IMAGES, HnswSpec(codec, 16, 60), captions=captions)
    _, nodes = search_graph(index, IMAGES[:100], 10, 64)
    assert (nodes == np.arange(100)[:, None]).any(axis=1).mean() > 0.95


def test_links_are_those_of_a_shard_and_sq4_takes_those_of_fp16() -> None:
    spec = HnswSpec("fp16", 16, 60)
    inserted = build_in_memory(IMAGES, spec)
    assert np.array_equal(_links(inserted), _links(build_graph([IMAGES], IMAGES, spec)))
    fitted = build_in_memory(IMAGES, spec, captions=CAPTIONS)
    assert np.array_equal(_links(fitted), _links(build_query_graph([IMAGES], IMAGES, [CAPTIONS], spec)))
    for captions, linked in ((None, inserted), (CAPTIONS, fitted)):
        before = _links(linked)
        coded = build_in_memory(IMAGES, HnswSpec("sq4", 16, 60), captions=captions, linked=linked)
        assert np.array_equal(_links(coded), before)
        wide: tuple[tuple[CodecName, int], ...] = (("fp16", 2), ("sq8", 1))
        for codec, width in wide:
            built = build_in_memory(IMAGES, HnswSpec(codec, 16, 60), captions=captions, linked=linked)
            assert built is not linked
            assert faiss.downcast_index(built.storage).code_size == width * IMAGES.shape[1]
