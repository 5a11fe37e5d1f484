"""The vectors of queries: texts and images are encoded together, rows read, embeddings checked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.service.admission import Admission
from retrieval.service.backend import Backend
from retrieval.service.images import cost_of_images
from retrieval.service.limits import OverLimit
from retrieval.service.schemas import MOST_TEXT, Query
from retrieval.service.settings import Settings
from retrieval.service.threads import run_to_end

__all__ = ["NoSuchRow", "OpenQuery", "check_row", "encode_files", "query_vectors", "unit_vector", "vectors_of_base64"]

FEW = 8  # embeddings that are read on the event loop: a thread would take longer

Vectors = npt.NDArray[np.floating[Any]]


class NoSuchRow(BadInput):
    """The row is not in the store, or was forgotten."""


@dataclass
class OpenQuery:
    """A query during its search.

    own_row: the row that the query is; it is not a result. rows, scores: the results so far, best first. searched: rows
    that were looked at. complete: nothing further would be found.
    """

    place: int
    vector: Vectors
    own_row: int | None = None
    text_cut: bool = False
    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    searched: int = 0
    complete: bool = True


def check_row(store: EmbeddingStore, row_id: int) -> None:
    """Raise NoSuchRow for a row that is not there or was forgotten."""
    if not 0 <= row_id < store.rows or store.is_forgotten([row_id])[0]:
        raise NoSuchRow(f"no row {row_id}: it is not in the store, or was forgotten")


async def query_vectors(
    backend: Backend,
    queries: Sequence[Query],
    modality: Modality,
    settings: Settings,
    admission: Admission,
    pool: Executor,
) -> list[OpenQuery]:
    """The queries with their vectors, in order. pool: threads that may wait for a disk.

    Raises BadInput for one that cannot be used, OverLimit and Overloaded for images that take too much.
    """
    opened: list[OpenQuery | None] = [None] * len(queries)
    given = [place for place, query in enumerate(queries) if _is_given(query)]
    images = [place for place, query in enumerate(queries) if query.image is not None or query.image_url is not None]
    texts = [place for place, query in enumerate(queries) if query.text is not None]
    # What can be refused at once comes first: encoding takes longest.
    if given:
        few = len(given) <= FEW and all(queries[place].row_id is None for place in given)  # rows may be on a cold disk
        find = partial(_given, backend.store, queries, given, modality)
        for query in find() if few else await run_to_end(pool, find):
            opened[query.place] = query
    with admission.fetched() as held:
        asked = {place: queries[place] for place in images}
        files = await _images_of(asked, settings, pool, held.grow) if images else []
        if texts:
            whole = [str(queries[place].text) for place in texts]
            encoded = await backend.encode_texts([text[:MOST_TEXT] for text in whole])
            for place, text, vector, cut in zip(texts, whole, encoded.vectors, encoded.cut, strict=True):
                opened[place] = OpenQuery(place, vector, text_cut=cut or len(text) > MOST_TEXT)
        if images:
            vectors = await encode_files(backend, files, settings, admission, pool)
            for place, vector in zip(images, vectors, strict=True):
                opened[place] = OpenQuery(place, vector)
    return [query for query in opened if query is not None]


def _is_given(query: Query) -> bool:
    return query.embedding is not None or query.embedding_b64 is not None or query.row_id is not None


def _given(
    store: EmbeddingStore, queries: Sequence[Query], places: Sequence[int], modality: Modality
) -> list[OpenQuery]:
    """The queries that are rows or vectors."""
    rows = [(place, int(queries[place].row_id or 0)) for place in places if queries[place].row_id is not None]
    for _, row in rows:
        check_row(store, row)
    vectors = store.gather(modality, [row for _, row in rows]) if rows else ()
    found = [OpenQuery(place, vector, own_row=row) for (place, row), vector in zip(rows, vectors, strict=True)]
    for place in places:
        query = queries[place]
        if query.embedding is not None:
            with np.errstate(over="ignore"):  # what float32 cannot hold is refused as not finite
                vector = np.array(query.embedding, np.float32)
            found.append(OpenQuery(place, unit_vector(vector, store.dim, place)))
        elif query.embedding_b64 is not None:
            several = vectors_of_base64(query.embedding_b64, store.dim, f"query {place}")
            if len(several) != 1:
                raise BadInput(f"query {place}: embedding_b64 holds {len(several)} vectors, one is needed")
            found.append(OpenQuery(place, unit_vector(several[0], store.dim, place)))
    return found


async def encode_files(
    backend: Backend, files: Sequence[bytes], settings: Settings, admission: Admission, pool: Executor
) -> npt.NDArray[np.float16]:
    """The vectors of image files, after what decoding them takes has been read from their headers and is there."""
    needed, seconds = await run_to_end(pool, cost_of_images, files, settings)
    with admission.decode(needed, seconds):
        return await backend.encode_images(files)


async def _images_of(
    queries: Mapping[int, Query], settings: Settings, pool: Executor, hold: Callable[[int], None]
) -> list[bytes]:
    """The image files of queries, in order. queries: by their place in the request. hold: told of what is fetched.

    What needs no fetching comes first, so that nothing is fetched for a request that is refused anyway.
    """
    urls = {place: query.image_url for place, query in queries.items() if query.image_url is not None}
    if urls and not settings.allow_urls:
        raise BadInput(f"query {next(iter(urls))}: this service fetches no URLs; send the image itself")
    files = await run_to_end(pool, _sent_images, queries, settings)
    if urls:
        from retrieval.service.fetch_url import fetch_images

        files |= await fetch_images(urls, settings, hold=hold)
    return [files[place] for place in queries]


def _sent_images(queries: Mapping[int, Query], settings: Settings) -> dict[int, bytes]:
    return {
        place: image_of_base64(query.image, settings.max_image_bytes, f"query {place}")
        for place, query in queries.items()
        if query.image is not None
    }


def image_of_base64(text: str, most: int, where: str) -> bytes:
    """The bytes of a base64 image, with or without a `data:` prefix. Raises OverLimit for more than `most` bytes, and
    BadInput for other text."""
    _, comma, rest = text.partition(",")
    encoded = rest if comma and text.startswith("data:") else text
    if len(encoded) > most * 4 // 3 + 4:
        raise OverLimit("max_image_bytes", f"{where}: the image has more than {most:,} bytes")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{where}: the image is not base64") from error


def vectors_of_base64(text: str, dim: int, where: str) -> npt.NDArray[np.float32]:
    """Vectors float32 [n, dim] from little-endian bytes in base64; BadInput for other text or another length."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{where}: embedding_b64 is not base64") from error
    if not data or len(data) % (4 * dim):
        raise BadInput(f"{where}: embedding_b64 has {len(data)} bytes, vectors here have {4 * dim} (float32 x {dim})")
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, dim)


def unit_vector(vector: npt.NDArray[np.float32], dim: int, place: int) -> npt.NDArray[np.float32]:
    """The vector scaled to unit length; BadInput for another dimension, or a vector that is zero or not finite."""
    if vector.shape != (dim,):
        raise BadInput(f"query {place}: the embedding has {vector.size} numbers, the store's have {dim}")
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise BadInput(f"query {place}: the embedding is zero or not finite, so it has no direction")
    return vector / np.float32(length)
