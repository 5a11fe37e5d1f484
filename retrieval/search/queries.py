"""Queries of a search, the same for a store here (`Retriever.search`) and for a service (`Client.search`).

    "a photo of a dog"                              a text
    Path("dog.jpg"), b"...", a PIL image            an image: the path of a file, a file's bytes, decoded
    an array [d]                                    a vector of the store's model
    17                                              a row: its image, or its caption where captions are searched

A search takes a list of these, mixed as needed; an array [q, d] is q vectors.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from index.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    Query = str | bytes | os.PathLike[str] | Image.Image | npt.NDArray[Any] | int

__all__ = ["QueryKind", "image_bytes", "list_queries", "open_image", "query_kind"]

QueryKind = Literal["text", "image", "vector", "row"]


def list_queries(queries: Iterable[Query]) -> list[Query]:
    """The queries as a list. Raises BadInput for none, and for a single query that is not in a list."""
    single = isinstance(queries, str | bytes | os.PathLike | int) or not isinstance(queries, Iterable)
    if single or (isinstance(queries, np.ndarray) and queries.ndim == 0):
        raise BadInput("queries is a single query: give a list of queries")
    found = list(queries)
    if not found:
        raise BadInput("no queries: give at least one")
    return found


def query_kind(query: Any, place: int) -> QueryKind:
    """What a query is. Raises BadInput, with the query's `place` in its list, for a value of another type."""
    if isinstance(query, str):
        return "text"
    if isinstance(query, bytes | os.PathLike) or _is_pil_image(query):
        return "image"
    if isinstance(query, int | np.integer) and not isinstance(query, bool):
        return "row"
    if isinstance(query, np.ndarray) and query.ndim == 1 and query.dtype.kind in "fiu":
        return "vector"
    raise BadInput(
        f"query {place}: is a {type(query).__name__}; give a text, an image (bytes, a Path, a PIL image), "
        "a vector [d] or a row id"
    )


def image_bytes(query: Any, place: int) -> bytes:
    """An image query as the bytes of a file; a PIL image becomes a PNG, which loses no pixel.

    Raises BadInput for a file that cannot be read.
    """
    if isinstance(query, bytes):
        return query
    if isinstance(query, os.PathLike):
        try:
            return Path(query).read_bytes()
        except OSError as error:
            raise BadInput(f"query {place}: {os.fspath(query)}: cannot be read ({error.strerror})") from error
    stream = io.BytesIO()
    query.save(stream, "PNG")
    return stream.getvalue()


def open_image(query: Any, place: int) -> Image.Image:
    """An image query as a PIL image, decoded as in a corpus. Raises BadInput for a file that is no usable image."""
    if _is_pil_image(query):
        image: Image.Image = query
        return image
    from index.corpus.image_decoding import ImageRejected, decode_image

    try:
        return decode_image(image_bytes(query, place))
    except ImageRejected as error:
        raise BadInput(f"query {place}: its image cannot be used ({error.reason.replace('_', ' ')})") from error


def _is_pil_image(query: Any) -> bool:
    return hasattr(query, "save") and hasattr(query, "mode")  # PIL need not be imported to know its images
