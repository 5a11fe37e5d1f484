"""What a search finds on this machine: its measured rates, and how much of index and rows is not in memory."""

from __future__ import annotations

from dataclasses import dataclass

from index.graph.disk import cold_bytes
from index.graph.index_manifest import IndexManifest, index_folder, read_index_manifest
from index.graph.machine import SERVER, MachineRates, read_machine
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["IN_MEMORY", "Conditions", "conditions_of"]

# Less than this is read from any disk in a second, and then stays in memory.
_LEAST_BYTES = 1 << 28


@dataclass(frozen=True)
class Conditions:
    """The rates of the machine, and bytes that are not in its memory now.

    index_bytes: size of the index's files. cold_index: bytes of them that must be read from the disk. cold_rows: bytes
    of the store's vectors that must be.
    """

    rates: MachineRates = SERVER
    index_bytes: int = 0
    cold_index: int = 0
    cold_rows: int = 0


IN_MEMORY = Conditions()


def conditions_of(store: EmbeddingStore, modality: Modality, manifest: IndexManifest | None = None) -> Conditions:
    """The conditions of searches of a store; manifest: of its index, read from there by default.

    Of files in an object store only what this machine measured is known. Takes some milliseconds.
    """
    folder = index_folder(store, modality)
    manifest = manifest or read_index_manifest(folder)
    rates = read_machine(store, modality) if manifest is not None else SERVER
    if not store.is_local:
        return Conditions(rates)
    vectors = [store.path / part.files[modality].path for part in store.parts]
    row_bytes = store.rows * store.dim * 2
    shards = [folder / shard.file for shard in manifest.shards] if manifest is not None else []
    index_bytes = sum(shard.size for shard in manifest.shards) if manifest is not None else 0
    return Conditions(
        rates=rates,
        index_bytes=index_bytes,
        cold_index=cold_bytes(shards) if index_bytes > _LEAST_BYTES else 0,
        cold_rows=cold_bytes(vectors) if row_bytes > _LEAST_BYTES else 0,
    )
