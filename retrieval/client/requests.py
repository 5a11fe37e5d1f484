"""Requests of the clients: searches, concept lists, rows and images as HTTP calls of the service.

These are pure functions, which both the blocking and the asynchronous client use.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

import numpy as np
import orjson

from index.errors import BadInput
from retrieval.concepts import Concept, ConceptList, concept_list
from retrieval.rules import Rules
from retrieval.search.queries import image_bytes, list_queries, query_kind
from retrieval.templates import Templates, load_templates

if TYPE_CHECKING:
    import numpy.typing as npt

    from index.store.embedding_store import Modality
    from retrieval.query_blocks import Mode
    from retrieval.search.planner import Method
    from retrieval.search.queries import Query
    from retrieval.service.schemas import Filters

    Concepts = ConceptList | Iterable[str] | Mapping[str, npt.NDArray[np.floating[Any]]]
    TemplateSource = Templates | str | os.PathLike[str] | Iterable[str]

__all__ = [
    "Call",
    "ConceptOptions",
    "SearchOptions",
    "concepts_call",
    "get",
    "row_call",
    "search_call",
    "service_url",
    "token_headers",
]

# Fields of `Rules` that are not sent: the service opens no path that a request names.
_LOCAL_RULES = ("exclude", "exclude_threshold")


class SearchOptions(TypedDict, total=False):
    """Further options of both clients' `search`.

    columns: metadata columns of each result. method: "hnsw" or "exact"; by default whichever the planner expects to be
    faster. mark_duplicates: the cosine from which results are listed as near-duplicates of each other.
    """

    columns: Iterable[str] | None
    method: Method | None
    mark_duplicates: float | None


class ConceptOptions(TypedDict, total=False):
    """Further options of both clients' `concepts`.

    columns: metadata columns of each row. reserve: how much deeper than k is searched, as a share of k. method: as for
    a search.
    """

    columns: Iterable[str] | None
    reserve: float | None
    method: Method | None


@dataclass(frozen=True)
class Call:
    """One HTTP request; `body` is JSON. streamed: the answer comes line by line."""

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": "application/json"} if self.body is not None else {}


def service_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises BadInput for another text, and for a URL with a password, which would be written into manifests.
    """
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
    """The HTTP header for a bearer token; no header without one. BadInput for a token that no header can carry."""
    if token is None:
        return {}
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("the token is empty or holds a space or a character that a header cannot carry; check it")
    return {"authorization": f"Bearer {token}"}


def get(path: str, **params: Any) -> Call:
    """A GET request; parameters that are None are not sent."""
    return Call("GET", path, params={name: str(value) for name, value in params.items() if value is not None})


def row_call(row_id: int, columns: Iterable[str] | None) -> Call:
    """GET /rows/{id}."""
    return get(f"/rows/{int(row_id)}", columns=None if columns is None else ",".join(columns))


def search_call(
    queries: Iterable[Query],
    k: int,
    modality: Modality,
    filters: Filters | Mapping[str, Any] | None,
    *,
    columns: Iterable[str] | None = None,
    method: Method | None = None,
    mark_duplicates: float | None = None,
) -> Call:
    """POST /search; arguments as for `Client.search`. Raises BadInput for values that are no queries."""
    if filters is not None and not isinstance(filters, Mapping):
        filters = filters.model_dump(exclude_none=True)
    fields = {
        "queries": [query_item(query, place) for place, query in enumerate(list_queries(queries))],
        "k": k,
        "modality": modality,
        "filters": filters
        if filters is None or isinstance(filters, Mapping)
        else filters.model_dump(exclude_none=True),
        "columns": None if columns is None else list(columns),
        "method": method,
        "mark_duplicates": mark_duplicates,
    }
    return Call("POST", "/search", _json(fields))


def query_item(query: Any, place: int) -> dict[str, Any]:
    """One query as `schemas.Query` has it; `place` is its position, for messages."""
    kind = query_kind(query, place)
    if kind == "text":
        return {"text": query}
    if kind == "image":
        return {"image": _base64(image_bytes(query, place))}
    if kind == "row":
        return {"row_id": int(query)}
    return {"embedding_b64": vectors_base64(query)}


def concepts_call(
    concepts: Concepts,
    templates: TemplateSource,
    mode: Mode,
    k: int,
    rules: Rules | Mapping[str, Any] | None,
    *,
    columns: Iterable[str] | None = None,
    reserve: float | None = None,
    method: Method | None = None,
) -> Call:
    """POST /concepts; arguments as for `Client.concepts`. Template files are read here, and their texts are sent."""
    items: list[Any]
    if isinstance(concepts, str):
        raise BadInput("concepts is one text: give a list of names")
    if isinstance(concepts, Mapping):
        items = [_embedded_item(name, vectors) for name, vectors in concepts.items()]
    else:
        checked = concepts if isinstance(concepts, ConceptList) else concept_list(concepts)
        items = [_concept_item(concept, checked.templates) for concept in checked]
    fields = {
        "concepts": items,
        "templates": list(load_templates(templates).texts),
        "mode": mode,
        "k": k,
        "rules": rules_item(rules),
        "columns": None if columns is None else list(columns),
        "reserve": reserve,
        "method": method,
    }
    return Call("POST", "/concepts", _json(fields), streamed=True)


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
    texts = concept.templates or (None if concept.literal_prompts else own_templates)
    item = {
        "name": concept.name,
        "aliases": list(concept.aliases),
        "templates": texts and list(texts),
        "id": concept.class_id,
        "prompts": list(concept.literal_prompts),
    }
    given = {name: value for name, value in item.items() if value}
    return concept.name if list(given) == ["name"] else given


def _embedded_item(name: str, vectors: npt.NDArray[Any]) -> dict[str, Any]:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or not vectors.size:
        raise BadInput(f"concept {name!r}: its vectors are no array [n, d]")
    return {"name": name, "embeddings_b64": vectors_base64(vectors)}


def vectors_base64(vectors: npt.NDArray[Any]) -> str:
    """Vectors as little-endian float32 in base64, the form that the service reads."""
    return _base64(np.ascontiguousarray(vectors, "<f4").tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(fields: Mapping[str, Any]) -> bytes:
    """The fields that are not None as JSON."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, ValueError) as error:  # a lone surrogate in a text, an object among the filters
        raise BadInput(f"the request cannot be written as JSON: {error}") from error
