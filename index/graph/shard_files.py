"""Whether the files of an index's shards are what `index.json` lists.

Opening an index compares the sizes of all files, which takes microseconds a file, and the checksums of an index of up
to `CHECKED_AT_OPEN` bytes. Only `clipmine verify` and `clipmine index --checksums` read a larger one: 100 GB take
minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from index.errors import StoreInvalid
from index.files import sha256_file
from index.graph.index_manifest import ShardFile, ShardRecord, index_folder, read_markers
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["CHECKED_AT_OPEN", "check_files", "damage", "drop_damaged"]

# SHA-256 reads 0.3 to 2 GB/s, so this takes a tenth of a second or a little more.
CHECKED_AT_OPEN = 64_000_000
_CHANGED = "is damaged: its content has changed since it was written"


def damage(folder: Path, file: ShardFile, checksums: bool) -> str | None:
    """What is wrong with a shard's file; None when nothing is. checksums: also read it and compare its checksum."""
    path = folder / file.name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing from the index"
    if size != file.size:
        return f"is damaged: it has {size:,} bytes, not {file.size:,}"
    if checksums and sha256_file(path) != file.sha256:
        return _CHANGED
    return None


def check_files(
    store: EmbeddingStore, modality: Modality, shards: Sequence[ShardRecord], checksums: bool | None = None
) -> None:
    """Check the files of shards of an index. checksums: whether to read them; None: if they are small.

    Raises:
        StoreInvalid: a file is missing or damaged; the message names it and the command that builds it again.
    """
    folder = index_folder(store, modality)
    if checksums is None:
        checksums = sum(file.size for shard in shards for file in shard.files.values()) <= CHECKED_AT_OPEN
    for shard in shards:
        for file in shard.files.values():
            if (wrong := damage(folder, file, checksums)) is not None:
                again = f"clipmine index {store.path} --modality {modality}{' --checksums' * (wrong == _CHANGED)}"
                raise StoreInvalid(f"{folder / file.name}: {wrong}; run `{again}`, which builds this shard again")


def drop_damaged(folder: Path) -> int:
    """Read all built shards, and remove the markers of those that are damaged, so that they are built again.

    Returns the number of damaged shards.
    """
    damaged = [
        record
        for record in read_markers(folder)
        if any(damage(folder, file, checksums=True) is not None for file in record.files.values())
    ]
    for record in damaged:
        (folder / f"{record.name}.json").unlink(missing_ok=True)
    return len(damaged)
