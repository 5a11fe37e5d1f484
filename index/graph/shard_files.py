"""Whether the files of an index's shards are what `index.json` lists.

Opening an index compares the sizes of all files, which takes microseconds a file, and the checksums of an index of up
to `CHECKED_AT_OPEN` bytes. Only `clipmine verify` and `clipmine index --checksums` read a larger one: 100 GB take
minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from index.errors import StoreInvalid
from index.files import file_size, is_local, remove, sha256_file
from index.graph.index_manifest import ShardFile, ShardRecord, index_folder, read_markers
from index.graph.layout import Layout
from index.local_copy import local_copy
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["CHECKED_AT_OPEN", "check_files", "damage", "drop_damaged", "shard_file"]

# SHA-256 reads 0.3 to 2 GB/s, so this takes a tenth of a second or a little more.
CHECKED_AT_OPEN = 64_000_000
_CHANGED = "is damaged: its content has changed since it was written"


def damage(folder: Path, file: ShardFile, checksums: bool) -> str | None:
    """What is wrong with a shard's file; None when nothing is. checksums: also read it and compare its checksum."""
    path = folder / file.name
    try:
        size = file_size(path)
    except FileNotFoundError:
        return "is missing from the index"
    if size != file.size:
        return f"is damaged: it has {size:,} bytes, not {file.size:,}"
    if checksums and sha256_file(path) != file.sha256:
        return _CHANGED
    return None


def check_files(
    store: EmbeddingStore,
    modality: Modality,
    shards: Sequence[ShardRecord],
    checksums: bool | None = None,
    *,
    layout: Layout | None = None,
) -> None:
    """Check the files of shards of an index, and of its layout.

    checksums: whether to read them; None: if they are small.

    Raises:
        StoreInvalid: a file is missing or damaged; the message names it and the command that builds it again.
    """
    folder = index_folder(store, modality)
    files = [one for each in shards for one in each.files.values()]
    if layout is not None:
        # Lists of a remote store are copied when a search first needs them.
        files = list(dict.fromkeys([*(layout.all_files() if is_local(folder) else layout.files()), *files]))
    if checksums is None:
        checksums = sum(file.size for file in files) <= CHECKED_AT_OPEN
    for file in files:
        # A remote file is compared when it is copied, which opening it does.
        wrong = damage(folder, file, checksums) if is_local(folder) else _copy_damage(folder, file)
        if wrong is not None:
            again = f"clipmine index {store.path} --modality {modality}{' --checksums' * (wrong == _CHANGED)}"
            raise StoreInvalid(f"{folder / file.name}: {wrong}; run `{again}`, which builds this shard again")


def shard_file(folder: Path, file: ShardFile) -> Path:
    """The local file of a shard: its own, or a copy of that of a remote store.

    Raises:
        StoreInvalid: the file of a remote store is missing or damaged.
    """
    return local_copy(folder / file.name, file.size, sha256=file.sha256)


def _copy_damage(folder: Path, file: ShardFile) -> str | None:
    try:
        shard_file(folder, file)
    except StoreInvalid as error:
        return damage(folder, file, checksums=False) or (_CHANGED if damage(folder, file, True) else str(error))
    return None


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
        remove(folder / f"{record.name}.json")
    return len(damaged)
