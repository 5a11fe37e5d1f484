"""What a store and its indexes hold, as `clipmine info` shows it; read from the manifests."""

from __future__ import annotations

from dataclasses import dataclass

from index.graph.index_manifest import IndexManifest, index_folder, read_index_manifest
from index.graph.pilot import Pilot
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_model import known_model


@dataclass(frozen=True)
class IndexInfo:
    """One modality's index: its rows, bytes of its graphs, recall contract in a line, its pilot's table, and
    recall against the share of shards that a query visits."""

    modality: str
    rows: int
    shards: int
    codec: str
    size: int
    recall: str
    pilot: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreInfo:
    """A store's content. `rows` includes forgotten ones; sizes are in bytes, that of the store without indexes."""

    path: str
    kind: str
    rows: int
    forgotten: int
    parts: int
    dim: int
    has_text: bool
    model: str
    corpus_root: str | None
    size: int
    indexes: tuple[IndexInfo, ...]


def store_info(path: str) -> StoreInfo:
    """Describe a complete store; StoreInvalid when it is not complete, or a part or an index is damaged."""
    store = EmbeddingStore.open(path)
    modalities: tuple[Modality, ...] = ("image", "text")
    model = known_model(path)
    return StoreInfo(
        path=str(store.path),
        kind=store.manifest.kind,
        rows=store.rows,
        forgotten=len(store.forgotten),
        parts=len(store.parts),
        dim=store.dim,
        has_text=store.has_text,
        model=str(model or store.fingerprint.get("name", "unknown")),
        corpus_root=store.corpus_root,
        size=sum(record.size for part in store.parts for record in part.files.values()),
        indexes=tuple(
            _index_info(modality, manifest, len(store.forgotten))
            for modality in modalities
            if (manifest := read_index_manifest(index_folder(store, modality))) is not None
        ),
    )


def _index_info(modality: str, manifest: IndexManifest, forgotten: int) -> IndexInfo:
    return IndexInfo(
        modality=modality,
        rows=manifest.rows,
        shards=len(manifest.shards),
        codec=manifest.spec.codec,
        size=manifest.size,
        recall=manifest.recall.sentence(forgotten),
        pilot=_pilot_lines(manifest),
        visits=_visit_lines(manifest),
    )


def _visit_lines(manifest: IndexManifest) -> tuple[str, ...]:
    visits = manifest.recall.visits
    if visits is None:
        return ()
    chosen = visits.margins.at_10 if visits.margins is not None else None
    lines = ["shards visited  recall@10  recall@100  (of their exact answers)"]
    for point in visits.curve:
        mark = " *" if point.margin == chosen else ""
        lines.append(f"{point.share:<14.1%}  {point.recall_at_10:<9.3f}  {point.recall_at_100:.3f}{mark}")
    return (*lines, "* chosen" if chosen is not None else "chosen: all shards")


def _pilot_lines(manifest: IndexManifest) -> tuple[str, ...]:
    try:
        return () if manifest.pilot is None else tuple(Pilot.from_json(manifest.pilot).table())
    except (TypeError, KeyError, ValueError):
        return ()  # of another version
