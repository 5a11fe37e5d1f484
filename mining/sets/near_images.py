"""Images of sets that are near-duplicates of each other, by the vectors of the stores that the images come from.

Images of files have no vectors; of them only equal files (SHA-256) are one image. Images of two stores are compared
where one model embedded both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.duplicates.components import join_groups
from index.duplicates.near_duplicates import NEAR_DUPLICATES, StoreVectors, Vectors, near_duplicate_groups
from index.duplicates.stored_groups import known_groups
from index.errors import ClipmineError
from index.files import hash_json
from index.store.embedding_store import EmbeddingStore
from mining.sets.sources import Folder, Moved, Source, moved_by_name, open_source_store

__all__ = ["NEAR_DUPLICATES", "NearImages", "join_near_images"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NearImages:
    """images: int64 [m], equal numbers for near-duplicates. notes: what was compared and what could not be."""

    images: Ints
    notes: tuple[str, ...]


def join_near_images(
    images: Ints,
    members: pa.Table,
    sources: Mapping[str, Source],
    path: str,
    threshold: float,
    moved: Moved = None,
) -> NearImages:
    """Join the images whose cosine is at least `threshold`, and chains of such images.

    Memory: what `near_duplicate_groups` takes.

    Args:
        images: int64 [m], a number from 0 for the image of each member. members: their `source` and `row_id`.
        sources: of the folder `path`, by name. moved: where stores are now; one path where the sets have one store.

    Joined images get the lowest of their numbers, in whatever order the members come. Raises BadInput as
    `moved_by_name` does.
    """
    distinct, places = np.unique(images, return_inverse=True)
    group = np.arange(len(distinct), dtype=np.int64)
    names, rows = members["source"].to_numpy(zero_copy_only=False), members["row_id"].fill_null(-1).to_numpy()
    has_vector = np.zeros(len(distinct), np.bool_)
    notes: list[str] = []
    where = moved_by_name(moved, sources, path, "store")
    for stores in _by_model(_opened(names[rows >= 0], sources, path, where, notes)):
        vectors: list[StoreVectors] = []
        numbers: list[Ints] = []
        for name, store in stores:
            own = np.flatnonzero((names == name) & (rows >= 0))
            own_rows, first = np.unique(rows[own], return_index=True)
            vectors.append(StoreVectors(store, own_rows))
            numbers.append(places[own[first]])
        of_vectors = np.concatenate(numbers)
        has_vector[of_vectors] = True
        if len(vectors) == 1:
            (own_vectors,) = vectors
            known = known_groups(own_vectors.store, own_vectors.rows, threshold)
            found = near_duplicate_groups(own_vectors, threshold, within=known)
        else:  # a store's groups do not tell of images of another store
            found = near_duplicate_groups(_Joined(vectors), threshold)
        group = join_groups(group, of_vectors, of_vectors[found])
    sizes = np.bincount(group, minlength=len(distinct))
    joined, largest = int((sizes > 1).sum()), int(sizes.max(initial=0))
    if has_vector.any():
        found_ones = f"no two have a cosine of {threshold:g} or more"
        if joined:
            found_ones = f"those with a cosine of {threshold:g} or more count as one; the largest group of them has "
            found_ones += f"{largest:,}, groups in all: {joined:,}"
        notes.append(f"{int(has_vector.sum()):,} images were compared: {found_ones}")
    if others := int((~has_vector).sum()):
        notes.append(f"{others:,} images have no vector at hand; of these only equal files count as one")
    return NearImages(distinct[group][places], tuple(notes))


def _opened(
    names: npt.NDArray[Any],
    sources: Mapping[str, Source],
    path: str,
    moved: Mapping[str, Folder],
    notes: list[str],
) -> Iterator[tuple[str, EmbeddingStore]]:
    for name in sorted(set(names.tolist())):
        try:
            yield name, open_source_store(sources[name], path, moved.get(name))
        except KeyError:
            notes.append(f"near-duplicates in {name} were not looked for, since the manifest does not list it")
        except (ClipmineError, OSError) as error:
            notes.append(f"near-duplicates in {name} were not looked for, since it cannot be opened: {error}")


def _by_model(stores: Iterator[tuple[str, EmbeddingStore]]) -> list[list[tuple[str, EmbeddingStore]]]:
    """Stores whose vectors one model made, together."""
    found: dict[str, list[tuple[str, EmbeddingStore]]] = {}
    for name, store in stores:
        found.setdefault(hash_json([dict(store.fingerprint), store.dim]), []).append((name, store))
    return list(found.values())


class _Joined:
    """The vectors of several stores, one after another."""

    def __init__(self, stores: list[StoreVectors]) -> None:
        self._stores: list[Vectors] = [*stores]
        self._firsts = np.cumsum([0, *(len(each) for each in stores)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, places: Any, /) -> npt.NDArray[Any]:
        wanted = np.asarray(places, np.int64)
        of = np.searchsorted(self._firsts, wanted, side="right") - 1
        pieces = [(np.flatnonzero(of == number), number) for number in np.unique(of)]
        read = [self._stores[number][wanted[some] - self._firsts[number]] for some, number in pieces]
        order = np.argsort(np.concatenate([some for some, _ in pieces]), kind="stable")
        vectors: npt.NDArray[Any] = np.concatenate(read)[order]
        return vectors
