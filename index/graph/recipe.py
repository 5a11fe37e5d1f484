"""How an index is built: what the caller asks for, and the recipe that the first build fixes.

Graphs of one index must fit each other, and those that are built already should stay of use. So the codec, M,
efConstruction and the rows of a shard are chosen once, by the store and the memory, and written into `index.json`. A
later build uses them whatever the store's size or the memory are then; only options that are given change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from index.errors import BadInput
from index.graph.capacity import choose_codec, choose_shard_rows, index_bytes
from index.graph.codecs import CODEC_NAMES, CodecName
from index.graph.hnsw import ADD_ROWS, HnswSpec
from index.graph.index_manifest import IndexManifest
from index.sizes import show_bytes
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["IndexConfig", "Recipe", "choose_recipe", "over_memory"]

# What the first build takes where nothing is asked for.
MEMORY, RECALL, QUERIES, SEED = 16_000_000_000, 0.95, 1_000, 0
LAYOUTS = ("rows", "meaning")


@dataclass(frozen=True)
class IndexConfig:
    """What to index, and what decides it. None: as the index is that the store has, else the value in parentheses.

    Attributes:
        memory: bytes of the machine (16 GB). The first build takes the largest codec with which the whole index fits,
            and shards of as many rows as can be built.
        M, ef_construction: of the graphs (32, 100).
        recall: the recall@10 that efSearch is chosen for (0.95).
        queries, seed: number and seed of the queries that recall is measured with (1,000 and 0).
        layout: "rows" (each shard holds consecutive rows) or "meaning" (`index.graph.layout_build`). ("rows")
        codec, shard_rows: one of `index.graph.codecs`, and rows of a shard, instead of by memory.
    """

    store: str
    modality: Modality = "image"
    memory: int | None = None
    M: int | None = None
    ef_construction: int | None = None
    recall: float | None = None
    queries: int | None = None
    seed: int | None = None
    codec: str | None = None
    shard_rows: int | None = None
    layout: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            raise BadInput(f"no layout {self.layout!r}: choose {' or '.join(LAYOUTS)}")
        if self.modality not in ("image", "text"):
            raise BadInput(f"no modality {self.modality!r}: choose image or text")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise BadInput(f"--recall is {self.recall}: it is a share of the exact answers, above 0 and at most 1")
        if self.queries is not None and self.queries < 1:
            raise BadInput(f"queries is {self.queries}: recall is measured on at least one")
        if self.seed is not None and self.seed < 0:
            raise BadInput(f"seed is {self.seed}: it is a number from 0 on")
        if self.shard_rows is not None and self.shard_rows < 1:
            raise BadInput(f"shard_rows is {self.shard_rows}: a shard has at least one row")
        links = HnswSpec.M if self.M is None else self.M
        candidates = max(HnswSpec.ef_construction, links) if self.ef_construction is None else self.ef_construction
        HnswSpec(self.codec or "fp16", links, candidates)  # type: ignore[arg-type]  # it checks


@dataclass(frozen=True)
class Recipe:
    """How the shards of an index are laid out and built, and how its recall is measured (for 10 rows, queries, seed).

    add_rows: rows that are added to a graph at once. memory: bytes that the index is planned for.
    """

    spec: HnswSpec
    shard_rows: int
    add_rows: int
    memory: int
    recall: float
    queries: int
    seed: int
    layout: str = "rows"


def choose_recipe(config: IndexConfig, store: EmbeddingStore, earlier: IndexManifest | None) -> Recipe:
    """The recipe of the index that the store has, with the options that are given; a new one where it has none.

    Raises:
        BadInput: the memory is too small for a shard, or options that do not fit each other.
    """
    known: dict[str, Any] = {} if earlier is None else _known(earlier)

    def value(name: str, default: Any) -> Any:
        given = getattr(config, name)
        return given if given is not None else known.get(name, default)

    memory, links = value("memory", MEMORY), value("M", HnswSpec.M)
    codec: Any = value("codec", None) or choose_codec(store.rows, store.dim, memory, links)
    return Recipe(
        spec=HnswSpec(codec, links, value("ef_construction", HnswSpec.ef_construction)),
        shard_rows=value("shard_rows", None) or choose_shard_rows(store.dim, codec, memory, links),
        add_rows=known.get("add_rows", ADD_ROWS),
        memory=memory,
        recall=value("recall", RECALL),
        queries=value("queries", QUERIES),
        seed=value("seed", SEED),
        layout=value("layout", LAYOUTS[0]),
    )


def _known(earlier: IndexManifest) -> dict[str, Any]:
    return {
        "memory": earlier.memory,
        "M": earlier.spec.M,
        "ef_construction": earlier.spec.ef_construction,
        "codec": earlier.spec.codec,
        "shard_rows": earlier.shard_rows,
        "add_rows": earlier.add_rows,
        "recall": earlier.recall.asked,
        "queries": earlier.recall.queries_asked,
        "seed": earlier.recall.seed,
        "layout": LAYOUTS[0] if earlier.layout is None else LAYOUTS[1],
    }


def over_memory(recipe: Recipe, store: EmbeddingStore, modality: Modality) -> str | None:
    """One line on an index that no longer fits the memory it was planned for, or that is given; None where it fits."""
    size = _size(recipe, store, recipe.spec.codec)
    if size <= recipe.memory:
        return None
    line = (
        f"the {modality} index takes {show_bytes(size)}, more than the memory of {show_bytes(recipe.memory)}: searches "
        "read the rest from disk"
    )
    smaller = CODEC_NAMES[CODEC_NAMES.index(recipe.spec.codec) + 1 :]
    fits = next((codec for codec in smaller if _size(recipe, store, codec) <= recipe.memory), None)
    codec = fits or next(iter(smaller), None)
    if codec is not None:
        less = show_bytes(_size(recipe, store, codec))
        line += f"; `clipmine index {store.path} --codec {codec}` builds one of {less}"
    return line


def _size(recipe: Recipe, store: EmbeddingStore, codec: CodecName) -> int:
    return index_bytes(store.rows, store.dim, codec, recipe.spec.M, recipe.shard_rows)
