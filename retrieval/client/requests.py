"""What the clients ask: texts, images, vectors, row ids and concept lists as requests of the service.

Pure functions, shared by the blocking and the asynchronous client. Knows no connection.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from index.errors import BadInput
from retrieval.concepts import Concept, ConceptList, concept_list
from retrieval.rules import Rules
from retrieval.templates import Templates, load_templates

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    from retrieval.service.schemas import Filters

    Query = str | bytes | os.PathLike[str] | Image.Image | npt.NDArray[Any] | int

__all__ = ["Call", "concepts_call", "get", "row_call", "search_call", "service_url", "token_headers"]

# Of `Rules`: what the service cannot be asked, since it opens no path that a request names.
_LOCAL_RULES = ("exclude", "exclude_threshold")


@dataclass(frozen=True)
class Call:
    """One request; `body` is JSON. streamed: the answer comes line by line."""

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": "application/json"} if self.body is not None else {}


def service_url(url: str) -> str:
    """The URL without a slash at its end; BadInput where it is none, or holds a password that manifests would keep."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError for a port that is no number
    except ValueError as error:
        raise BadInput(f"{url!r}: is no URL ({error}); a service's URL looks like http://host:8000") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise BadInput(f"{url!r}: is no URL of a service; it looks like http://host:8000")
    if parts.username or parts.password:
        raise BadInput("the service's URL holds a user name or a password: leave them out and give the token by itself")
    if parts.query or parts.fragment:
        raise BadInput(f"{url!r}: ends with a query or a fragment; a service's URL looks like http://host:8000")
    return url.rstrip("/")


def token_headers(token: str | None) -> dict[str, str]:
    """The header that carries a bearer token; none without one."""
    if token is None:
        return {}
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("the token is empty or holds a space or a character that a header cannot carry; check it")
    return {"authorization": f"Bearer {token}"}


def get(path: str, **params: Any) -> Call:
    """A GET; parameters that are None are left out."""
    return Call("GET", path, params={name: str(value) for name, value in params.items() if value is not None})


def row_call(row_id: int, columns: Iterable[str] | None) -> Call:
    """GET /rows/{id}."""
    return get(f"/rows/{int(row_id)}", columns=None if columns is None else ",".join(columns))


def search_call(
    queries: Iterable[Query],
    *,
    filters: Filters | Mapping[str, Any] | None,
    columns: Iterable[str] | None,
    **fields: Any,
) -> Call:
    """POST /search; fields of `wire.SearchRequest` by name, those that are None left out."""
    one = isinstance(queries, str | bytes | os.PathLike | int) or not isinstance(queries, Iterable)
    if one or (isinstance(queries, np.ndarray) and queries.ndim == 0):
        raise BadInput("queries is a single query: give a list of queries")
    items = [query_item(query, place) for place, query in enumerate(queries)]
    if not items:
        raise BadInput("no queries: give at least one")
    if filters is not None:
        fields["filters"] = dict(filters) if isinstance(filters, Mapping) else filters.model_dump(exclude_none=True)
    body = {"queries": items, **_given(fields, columns)}
    return Call("POST", "/search", _json(body))


def query_item(query: Any, place: int) -> dict[str, Any]:
    """One query as `wire.Query` has it.

    A `str` is a text; an image is its file's bytes, a path object or a PIL image; a vector is an array [d]; a row id is
    an integer.
    """
    if isinstance(query, str):
        return {"text": query}
    if isinstance(query, bytes):
        return {"image": _base64(query)}
    if isinstance(query, os.PathLike):
        try:
            return {"image": _base64(Path(query).read_bytes())}
        except OSError as error:
            raise BadInput(f"query {place}: {os.fspath(query)}: cannot be read ({error.strerror})") from error
    if isinstance(query, int | np.integer) and not isinstance(query, bool):
        return {"row_id": int(query)}
    if isinstance(query, np.ndarray) and query.ndim == 1 and query.dtype.kind in "fiu":
        return {"embedding_b64": vectors_base64(query)}
    if hasattr(query, "save") and hasattr(query, "mode"):  # a PIL image, without importing PIL for its name
        stream = io.BytesIO()
        query.save(stream, "PNG")  # without loss, so that the service encodes the same pixels
        return {"image": _base64(stream.getvalue())}
    raise BadInput(
        f"query {place}: is a {type(query).__name__}; give a text, an image (bytes, a Path, a PIL image), "
        "a vector [d] or a row id"
    )


def concepts_call(
    concepts: ConceptList | Iterable[str] | Mapping[str, npt.NDArray[Any]],
    *,
    templates: Templates | str | os.PathLike[str] | Iterable[str],
    rules: Rules | Mapping[str, Any] | None,
    columns: Iterable[str] | None,
    **fields: Any,
) -> Call:
    """POST /concepts. Template files are read here: the service gets the texts."""
    items: list[Any]
    if isinstance(concepts, str):
        raise BadInput("concepts is one text: give a list of names")
    if isinstance(concepts, Mapping):
        items = [_embedded_item(name, vectors) for name, vectors in concepts.items()]
    else:
        checked = concepts if isinstance(concepts, ConceptList) else concept_list(concepts)
        items = [_concept_item(concept, checked.templates) for concept in checked]
    body = {
        "concepts": items,
        "templates": list(load_templates(templates).texts),
        "rules": rules_item(rules),
        **_given(fields, columns),
    }
    return Call("POST", "/concepts", _json(body), streamed=True)


def rules_item(rules: Rules | Mapping[str, Any] | None) -> dict[str, Any]:
    """Rules as fields of `RulesItem`; BadInput for the exclusion of a store, which the service cannot read.

    A mapping is sent as it is, except that `per_concept` becomes the HTTP field `cap`.
    """
    if not isinstance(rules, Rules):
        return {"cap" if name == "per_concept" else name: value for name, value in (rules or {}).items()}
    if rules.exclude is not None:
        raise BadInput("exclude names a store of this machine, which a service does not open; leave the rule out")
    return {name: value for name, value in rules.to_json().items() if name not in _LOCAL_RULES and value is not None}


def _concept_item(concept: Concept, own_templates: tuple[str, ...] | None) -> str | dict[str, Any]:
    texts = concept.templates or own_templates
    if not concept.aliases and not texts and concept.class_id is None:
        return concept.name
    item = {"name": concept.name, "aliases": list(concept.aliases), "templates": texts and list(texts)}
    return {name: value for name, value in {**item, "id": concept.class_id}.items() if value}


def _embedded_item(name: str, vectors: npt.NDArray[Any]) -> dict[str, Any]:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or not vectors.size:
        raise BadInput(f"concept {name!r}: its vectors are no array [n, d]")
    return {"name": name, "embeddings_b64": vectors_base64(vectors)}


def vectors_base64(vectors: npt.NDArray[Any]) -> str:
    """Little-endian float32 in base64, as the service takes vectors."""
    return _base64(np.ascontiguousarray(vectors, "<f4").tobytes())


def _given(fields: Mapping[str, Any], columns: Iterable[str] | None) -> dict[str, Any]:
    every = {**fields, "columns": None if columns is None else list(columns)}
    return {name: value for name, value in every.items() if value is not None}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, ValueError) as error:  # a lone surrogate in a text, an object among the filters
        raise BadInput(f"the request cannot be written as JSON: {error}") from error
