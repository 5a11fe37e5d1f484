"""The index job: an item builds the HNSW graph of one shard of rows; then recall is measured and `index.json` switched.

    config = IndexConfig("STORE", "image")
    prepare_layout(config, map_items)       # where rows are grouped by meaning
    for item in undone_index_items(config):
        build_index_item(item, config)
    finish_index(config)

Shards are built beside those that the index in use has, under names that their content decides, and `index.json` is
replaced last. So searches go on meanwhile, and a run that was killed at any point costs nothing: started again, it
continues and writes the same bytes. Shards whose rows have not changed are kept. The items are run by the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from index.errors import BadInput, StoreInvalid
from index.files import exists, remove, remove_partial
from index.graph.build_shard import build_hash, build_shard
from index.graph.index_items import IndexItem, list_items, range_item
from index.graph.index_manifest import (
    IndexManifest,
    ShardRecord,
    forgotten_hash,
    index_folder,
    read_index_manifest,
    read_markers,
    remove_other_shards,
    stored_hash,
    write_index_manifest,
)
from index.graph.layout import Layout
from index.graph.layout_build import MapItems, group_rows, planned_layout
from index.graph.pilot import drop_pilot, read_pilot
from index.graph.recall import measure_recall
from index.graph.recall_contract import RecallContract
from index.graph.recipe import IndexConfig, Recipe, choose_recipe, over_memory
from index.graph.search_index import HnswIndex
from index.graph.shard_files import damage, drop_damaged
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = [
    "IndexConfig",
    "IndexItem",
    "IndexSummary",
    "ShardSummary",
    "build_index_item",
    "drop_damaged_shards",
    "finish_index",
    "plan_index_items",
    "prepare_layout",
    "undone_index_items",
]

# A shard is kept while no more than this share of its rows was forgotten after it was built. Their nodes still take
# part in walks, so a search works harder; but a shard takes hours, and should not be built again for each removal.
FORGOTTEN_KEPT = 0.01


@dataclass(frozen=True)
class ShardSummary:
    """One built shard: its rows, the rows that can be found, and the bytes of its graph."""

    number: int
    rows: int
    indexed: int
    size: int


@dataclass(frozen=True, repr=False)
class IndexSummary:
    """A finished index: rows = indexed + skipped (rows that are zero, forgotten or not finite).

    over_memory: one line on an index that does not fit the memory that it was planned for.
    """

    store: str
    modality: Modality
    codec: str
    rows: int
    indexed: int
    skipped: int
    shards: int
    size: int
    recall: RecallContract
    over_memory: str | None = None

    def __repr__(self) -> str:
        return f"IndexSummary({self.modality}, {self.indexed:,} of {self.rows:,} rows, {self.recall.sentence()})"


def prepare_layout(config: IndexConfig, map_items: MapItems) -> None:
    """Work out which rows each shard holds, where they are grouped by meaning; `map_items` as of `group_rows`.

    Raises what `plan_index_items` raises.
    """
    opened = _Opened.make(config)
    if opened.recipe.layout == "meaning":
        group_rows(opened.store, config.modality, opened.recipe.shard_rows, opened.earlier, map_items)


def plan_index_items(config: IndexConfig) -> list[IndexItem]:
    """Cut the store's rows into shards.

    Raises:
        BadInput: the modality is text and the store has no text embeddings, or the memory is too small.
        StoreInvalid: no complete store, or one without rows.
    """
    return _Plan.make(config).items


def undone_index_items(config: IndexConfig) -> list[IndexItem]:
    """The items of `plan_index_items` whose shards are not built; raises what it raises."""
    plan = _Plan.make(config)
    return [item for item, record in zip(plan.items, plan.records(), strict=True) if record is None]


def drop_damaged_shards(config: IndexConfig) -> int:
    """Read the built shards and forget those that are damaged, so that they are built again; return their number."""
    store = EmbeddingStore.open(config.store)
    folder = index_folder(store, config.modality)
    earlier = _read_earlier(folder, store)
    for file in earlier.layout.all_files() if earlier is not None and earlier.layout is not None else ():
        if damage(folder, file, checksums=True) is not None and exists(folder / file.name):
            remove(folder / file.name)  # so the layout is made again
    return drop_damaged(folder)


def build_index_item(item: IndexItem, config: IndexConfig) -> ShardSummary:
    """Build one shard: graph, skipped positions, copies, then the marker. Does nothing when it is built already."""
    store = EmbeddingStore.open(config.store)
    folder = index_folder(store, config.modality)
    record = _choose(item, store, folder, read_markers(folder), frozenset())
    if record is None:
        record = build_shard(item, config.store)
    return ShardSummary(item.number, record.rows, record.indexed, record.size)


def finish_index(config: IndexConfig, on_progress: Callable[[int, int], None] | None = None) -> IndexSummary:
    """Measure recall over all shards, switch index.json to them and remove the files of others.

    `on_progress(done, total)` is called for each measurement.

    Raises:
        StoreInvalid: a shard has not been built.
    """
    plan = _Plan.make(config)
    store, folder, recipe, records = plan.store, plan.folder, plan.recipe, []
    for item, record in zip(plan.items, plan.records(), strict=True):
        if record is None:
            raise StoreInvalid(f"{folder}: shard {item.number} is not built; run the same `clipmine index` again")
        records.append(record)
    if not sum(record.indexed for record in records):
        raise StoreInvalid(f"{store.path}: every {config.modality} vector is zero, so there is nothing to index")
    pilot = _pilot(plan)
    if plan.earlier is not None and plan.earlier.pilot == pilot and _same(plan.earlier, plan, records):
        contract = plan.earlier.recall
    else:
        forgotten = forgotten_hash(store, 0, store.rows)  # before recall is measured
        index = HnswIndex(store, config.modality, recipe.spec, records, layout=plan.layout)
        contract = measure_recall(
            index, recall=recipe.recall, queries=recipe.queries, seed=recipe.seed, on_progress=on_progress
        )
        _write(plan, records, contract, forgotten, pilot)
    drop_pilot(store, config.modality)
    remove_other_shards(folder, records, plan.layout)
    remove_partial(folder)
    rows, indexed = store.rows, sum(record.indexed for record in records)
    return IndexSummary(
        store=str(store.path),
        modality=config.modality,
        codec=recipe.spec.codec,
        rows=rows,
        indexed=indexed,
        skipped=rows - indexed,
        shards=len(records),
        size=sum(record.size for record in records),
        recall=contract,
        over_memory=over_memory(recipe, store, config.modality),
    )


@dataclass(frozen=True)
class _Opened:
    """A store, the index that it has, and the recipe of the one that it should have."""

    store: EmbeddingStore
    folder: Path
    earlier: IndexManifest | None  # of the index in use
    recipe: Recipe

    @classmethod
    def make(cls, config: IndexConfig) -> _Opened:
        store = EmbeddingStore.open(config.store)
        if config.modality == "text" and not store.has_text:
            raise BadInput(f"{store.path}: has no text embeddings to index; use --modality image")
        if not store.rows:
            raise StoreInvalid(f"{store.path}: has no rows to index")
        folder = index_folder(store, config.modality)
        earlier = _read_earlier(folder, store)
        return cls(store, folder, earlier, choose_recipe(config, store, earlier))


@dataclass(frozen=True)
class _Plan:
    """The shards that the index of a store should have now."""

    store: EmbeddingStore
    modality: Modality
    folder: Path
    earlier: IndexManifest | None
    recipe: Recipe
    layout: Layout | None
    items: list[IndexItem]

    @classmethod
    def make(cls, config: IndexConfig) -> _Plan:
        opened = _Opened.make(config)
        store, modality, recipe = opened.store, config.modality, opened.recipe
        layout = None
        if recipe.layout == "meaning":
            layout = planned_layout(store, modality, recipe.shard_rows, opened.earlier)
            if layout is None:
                raise StoreInvalid(f"{opened.folder}: rows are not grouped yet; run the same `clipmine index` again")
            items = list_items(layout, store, modality, recipe)
        else:
            starts = range(0, store.rows, recipe.shard_rows)
            items = [range_item(number, first, store, modality, recipe) for number, first in enumerate(starts)]
        return cls(store, modality, opened.folder, opened.earlier, recipe, layout, items)

    def records(self) -> list[ShardRecord | None]:
        """The built shard of each item, None where there is none."""
        built = read_markers(self.folder)
        in_use = frozenset(shard.name for shard in self.earlier.shards) if self.earlier is not None else frozenset()
        return [_choose(item, self.store, self.folder, built, in_use) for item in self.items]


def _choose(
    item: IndexItem, store: EmbeddingStore, folder: Path, built: Sequence[ShardRecord], in_use: frozenset[str]
) -> ShardRecord | None:
    """The built shard to take for an item: the one that would be built now, else one that is as good.

    As good is a shard that was built before some of its rows were forgotten, while these are few and compaction has not
    erased their vectors from the store: then they must leave the graph too.
    """
    same = [record for record in built if record.recipe == item.recipe and _is_whole(folder, record)]
    if not same:
        return None
    build = build_hash(store, item)
    forgotten = len(item.forgotten(store))
    stored = stored_hash(store, item.modality, *item.source_rows)
    good = [
        record
        for record in same
        if record.build == build
        or (record.stored == stored and 0 <= forgotten - record.forgotten <= FORGOTTEN_KEPT * item.rows)
    ]
    if not good:
        return None
    best = max(good, key=lambda record: (record.build == build, record.name in in_use, record.forgotten, record.name))
    return replace(best, number=item.number)


def _is_whole(folder: Path, record: ShardRecord) -> bool:
    return all(damage(folder, file, checksums=False) is None for file in record.files.values())


def _read_earlier(folder: Path, store: EmbeddingStore) -> IndexManifest | None:
    """The index in use; None where there is none, or one that is damaged or of another model's vectors."""
    try:
        earlier = read_index_manifest(folder)
    except StoreInvalid:
        return None  # it is written again
    return earlier if earlier is not None and earlier.dim == store.dim else None


def _same(earlier: IndexManifest, plan: _Plan, records: list[ShardRecord]) -> bool:
    contract, recipe = earlier.recall, plan.recipe
    return (
        earlier.shards == tuple(records)
        and earlier.layout == plan.layout
        and earlier.rows == plan.store.rows
        and dict(earlier.model) == dict(plan.store.fingerprint)
        and (earlier.spec, earlier.shard_rows) == (recipe.spec, recipe.shard_rows)
        and earlier.forgotten == forgotten_hash(plan.store, 0, plan.store.rows)
        and (contract.asked, contract.queries_asked, contract.seed) == (recipe.recall, recipe.queries, recipe.seed)
    )


def _pilot(plan: _Plan) -> Mapping[str, Any] | None:
    """The pilot that was kept for this build, or that of the index in use."""
    pilot = read_pilot(plan.store, plan.modality)
    if pilot is not None:
        plain: dict[str, Any] = json.loads(json.dumps(asdict(pilot)))
        return plain
    return plan.earlier.pilot if plan.earlier is not None else None


def _write(
    plan: _Plan,
    records: list[ShardRecord],
    contract: RecallContract,
    forgotten: str,
    pilot: Mapping[str, Any] | None,
) -> None:
    import faiss

    manifest = IndexManifest(
        modality=plan.modality,
        dim=plan.store.dim,
        rows=plan.store.rows,
        model=dict(plan.store.fingerprint),
        spec=plan.recipe.spec,
        shard_rows=plan.recipe.shard_rows,
        add_rows=plan.recipe.add_rows,
        memory=plan.recipe.memory,
        faiss=faiss.__version__,
        forgotten=forgotten,
        shards=tuple(records),
        recall=contract,
        pilot=pilot,
        layout=plan.layout,
    )
    write_index_manifest(plan.folder, manifest)
