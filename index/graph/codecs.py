"""The codecs of an index: how its graphs store vectors, from the largest to the smallest.

| codec  | search                                        | bytes of a row of 512 components, M 32 |
|--------|-----------------------------------------------|----------------------------------------|
| fp16   | HNSW                                          | 1,296                                  |
| sq8    | HNSW, a byte a component                      | 784                                    |
| sq4    | HNSW, half a byte a component                 | 528                                    |
| rabitq | inverted lists, a bit a component (`inverted_lists`) | 80, and the centroids of the lists |

All but fp16 store rounded vectors. So a search ranks their candidates again by the store's own vectors, and its scores
and the order of its rows are exact. A search that would have to read a larger index from disk is slower than one in a
smaller index that fits the memory, though it reads some rows of the store.
"""

from __future__ import annotations

from typing import Literal, get_args

from index.errors import BadInput

__all__ = ["CODEC_NAMES", "CodecName", "check_codec", "has_links", "is_rounded", "least_candidates"]

CodecName = Literal["fp16", "sq8", "sq4", "rabitq"]
# From the largest to the smallest.
CODEC_NAMES: tuple[CodecName, ...] = get_args(CodecName)

# Classes of faiss that a codec needs beside those of every version.
_NEEDS = {"rabitq": "IndexIVFRaBitQ"}
# Candidates of a query that are ranked again by the store's vectors, at least. SQ8, 100,000 x 512 at efSearch 64:
# recall@10 was .938 without ranking them again, .946 with 50, and .945 for fp16 graphs. SQ4 and RaBitQ rank all
# candidates of a walk again: on 20,000 x 256 the ten best by codes alone were .888 and .665 of the exact ones, those of
# 64 candidates ranked again .999.
_ALL_AGAIN = ("sq4", "rabitq")
_LEAST = {"fp16": 1, "sq8": 50, "sq4": 50, "rabitq": 64}


def check_codec(codec: str) -> None:
    """Raise BadInput for a codec that is unknown, or that the installed faiss does not have."""
    if codec not in CODEC_NAMES:
        raise BadInput(f"unknown codec {codec!r}: choose one of {', '.join(CODEC_NAMES)}")
    if codec not in _NEEDS:
        return
    import faiss  # not for the others: manifests are read without it

    if not hasattr(faiss, _NEEDS[codec]):
        raise BadInput(
            f"codec {codec} needs a newer faiss than {faiss.__version__}: install faiss-cpu 1.15, or choose another"
        )


def is_rounded(codec: str) -> bool:
    """Whether the index holds rounded vectors, so that results are ranked again by the store's."""
    return codec != "fp16"


def has_links(codec: str) -> bool:
    """Whether the index is a graph; else it is a set of inverted lists."""
    return codec != "rabitq"


def least_candidates(codec: str, width: int) -> int:
    """How many candidates of a query are ranked by the store's vectors, when a walk keeps `width` of them."""
    return max(width, _LEAST[codec]) if codec in _ALL_AGAIN else _LEAST[codec]
