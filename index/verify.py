"""`clipmine verify`: the files of a store, its indexes and near-duplicate groups, compared with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from threading import Lock

from index.duplicates.groups_manifest import GroupsManifest, groups_folder, read_groups_manifest
from index.errors import StoreInvalid
from index.files import as_path, as_url, file_size, sha256_file
from index.graph.index_manifest import (
    IndexManifest,
    ShardFile,
    index_folder,
    manifest_path,
    read_index_manifest,
    source_hash,
)
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_manifest import read_manifest
from index.store.verify import FilesChecked, Problem, check_files, check_lists, check_lookups, files_to_check

__all__ = ["verify_store"]

_MODALITIES: tuple[Modality, ...] = ("image", "text")


def verify_store(path: str | PathLike[str], on_progress: Callable[[int, int], None] | None = None) -> FilesChecked:
    """Read every file of a store, of its indexes and near-duplicate groups, and compare it with what was recorded.

    The store is whole when the result names no problems.

    Args:
        path: the store.
        on_progress: is called with the files that were read, and the files to read.

    Raises:
        RemoteDown: the storage of a remote store does not answer.
        StoreInvalid: there is no store, or its manifest is damaged.
    """
    store = EmbeddingStore(as_path(path), read_manifest(as_url(path)))
    indexes: dict[Modality, IndexManifest] = {}
    problems = [*check_lists(store)]
    for modality in _MODALITIES:
        try:
            manifest = read_index_manifest(index_folder(store, modality))
        except StoreInvalid as error:
            file = as_url(manifest_path(index_folder(store, modality)))
            problems.append(Problem(file, None, str(error).removeprefix(f"{file}: "), _again(store, modality)))
            continue
        if manifest is not None:
            indexes[modality] = manifest
    groups: GroupsManifest | None = None
    try:
        groups = read_groups_manifest(store)
    except StoreInvalid as error:
        file = as_url(groups_folder(store) / "groups.json")
        problems.append(Problem(file, None, str(error).removeprefix(f"{file}: "), _group_again(store)))
    listed = [file for each in indexes.values() for file in each.files()] + ([] if groups is None else groups.files())
    lock, done = Lock(), 0
    total = files_to_check(store) + len(listed)

    def count() -> None:
        nonlocal done
        with lock:
            done += 1
            if on_progress is not None:
                on_progress(done, total)

    checked = check_files(store, count)
    problems = [*checked.problems, *problems, *check_lookups(store)]
    for modality, manifest in indexes.items():
        problems += _check_index(store, modality, manifest, count)
    if groups is not None:
        problems += _check_groups(store, groups, count)
    size = checked.size + sum(file.size for file in listed)
    return replace(checked, files=total, size=size, problems=tuple(problems))


def _check_index(
    store: EmbeddingStore, modality: Modality, manifest: IndexManifest, on_file: Callable[[], None]
) -> Iterator[Problem]:
    folder, again = index_folder(store, modality), _again(store, modality)
    yield from _check_listed(folder, manifest.files(), f"the {modality} index", again, on_file)
    for shard in manifest.shards:
        first, count = shard.source_rows
        if source_hash(store, modality, first, count) != shard.source:
            rows = f"rows {first:,} to {first + count - 1:,}"
            yield Problem(as_url(folder / shard.file), None, f"was built over other vectors of {rows}", again)


def _check_groups(store: EmbeddingStore, groups: GroupsManifest, on_file: Callable[[], None]) -> Iterator[Problem]:
    folder, again = groups_folder(store), _group_again(store)
    yield from _check_listed(folder, groups.files(), "the near-duplicate groups", again, on_file)
    if not groups.is_of(store):
        yield Problem(as_url(folder), None, "was made from other vectors", again)


def _check_listed(
    folder: Path, files: Sequence[ShardFile], of: str, again: str, on_file: Callable[[], None]
) -> Iterator[Problem]:
    for file in files:
        path = folder / file.name
        if (size := _size(path)) is None:
            yield Problem(as_url(path), None, f"is missing from {of}", again)
        elif size != file.size:
            yield Problem(as_url(path), None, f"has {size:,} bytes instead of {file.size:,}", again)
        elif sha256_file(path) != file.sha256:
            yield Problem(as_url(path), None, "has changed: its SHA-256 is another", f"delete it, then {again}")
        on_file()


def _size(path: Path) -> int | None:
    try:
        return file_size(path)
    except FileNotFoundError:
        return None


def _again(store: EmbeddingStore, modality: Modality) -> str:
    return f"clipmine index {as_url(store.path)} --modality {modality}"


def _group_again(store: EmbeddingStore) -> str:
    return f"clipmine duplicates {as_url(store.path)}"
