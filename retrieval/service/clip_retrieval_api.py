"""clip-retrieval's own API, 2.45, so that its Python client and its web front work against this service unchanged.

`POST /knn-service`, `POST /metadata`, `GET /indices-list`. Bodies are read as JSON whatever their content type, since
neither of the two sends one. Options that are not supported (the safety model, the aesthetic score, ...) are named in a
response header; `docs/service.md` lists them.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.rules import SAME_IMAGE
from retrieval.search.duplicates import greedy_duplicates
from retrieval.service.bodies import describe_bodies, read_body, takes, wrong_shape
from retrieval.service.limits import RESULT_BYTES, OverLimit
from retrieval.service.metadata_cache import as_row
from retrieval.service.routes import take_service
from retrieval.service.schemas import Numbers, Problem, Query, RowId, SearchRequest
from retrieval.service.search import NoSuchRow, Service
from retrieval.service.stores import Stores
from retrieval.service.threads import SMALL, all_or_none, at_the_end

__all__ = ["NOT_HONOURED", "PARTIAL", "add_clip_retrieval_routes"]

NOT_HONOURED = "X-Clipmine-Not-Honoured"
PARTIAL = "X-Clipmine-Partial"  # names the shards that did not answer, for which clip-retrieval's JSON has no field
THUMBNAIL_SIDE = 256
THUMBNAILS = 200  # of one answer: the front asks for 40 at a time, and each is an image to decode
MOST_IDS = 10_000  # of one /metadata request

# The columns that clip-retrieval's back-end returns by default, except the path of a file on its disk.
_COLUMNS = ("url", "caption", "NSFW")


class KnnRequest(BaseModel):
    """clip-retrieval's query: the first of text, image, image_url and embedding_input that is given is used."""

    text: str | None = None
    image: str | None = Field(None, description="an image file in base64")
    image_url: str | None = Field(None, description="refused unless the operator allows fetching")
    embedding_input: Numbers | None = None
    modality: Modality = "image"
    num_images: Annotated[int, Field(ge=1)] = Field(40, description="results that come with metadata")
    num_result_ids: Annotated[int, Field(ge=1)] | None = Field(
        None, description="results in all, before near-duplicates go; by default num_images"
    )
    indice_name: str | None = Field(None, description="one of GET /indices-list")
    deduplicate: bool = Field(False, description=f"drop images within {SAME_IMAGE} of a better result")
    use_mclip: bool = Field(False, description="not honoured")
    use_safety_model: bool = Field(False, description="not honoured")
    use_violence_detector: bool = Field(False, description="not honoured")
    aesthetic_score: float | str | None = Field(None, description="not honoured")
    aesthetic_weight: float | str | None = Field(None, description="not honoured")


class MetadataRequest(BaseModel):
    """clip-retrieval's look-up of rows."""

    ids: Annotated[list[RowId], Field(max_length=MOST_IDS, fail_fast=True)]
    indice_name: str | None = Field(None, description="one of GET /indices-list")


class KnnResult(BaseModel):
    """A result; those beyond num_images have `id` and `similarity` alone."""

    id: int
    similarity: float
    url: str | None = None
    caption: str | None = None
    image: str | None = Field(None, description="a JPEG in base64, where a row has no url and its image is local")


class MetadataOf(BaseModel):
    """A row's metadata; empty for a row that was forgotten."""

    id: int
    metadata: dict[str, Any]


def add_clip_retrieval_routes(app: FastAPI) -> None:
    """Add the three routes to an app whose `state.service` answers them."""
    refused: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in (400, 401, 404, 413, 422, 429, 503)
    }

    post = functools.partial(app.post, responses=refused, tags=["clip-retrieval"])

    @post(
        "/knn-service",
        response_model=list[KnnResult],
        openapi_extra=takes(KnnRequest),
        summary="clip-retrieval's search",
    )
    async def knn_service(request: Request) -> Response:
        asked = await read_body(request, KnnRequest)
        service = take_service(request, asked.indice_name)
        with request.app.state.metrics.stage("knn-service"):
            results, missing = await _search(request, service, asked)
        if missing:
            request.app.state.metrics.partial.inc()
        ignored = not_honoured(asked, service.settings.max_k)
        headers = {NOT_HONOURED: ", ".join(ignored), PARTIAL: ", ".join(missing)}
        return _json(results, {name: value for name, value in headers.items() if value})

    @post(
        "/metadata",
        response_model=list[MetadataOf],
        openapi_extra=takes(MetadataRequest),
        summary="clip-retrieval's metadata of rows",
    )
    async def metadata(request: Request) -> Response:
        asked = await read_body(request, MetadataRequest)
        service = take_service(request, asked.indice_name)
        at_the_end(request.scope, service.admission.search(1, len(asked.ids) * RESULT_BYTES).give_back)
        rows = await service.in_worker(_not_forgotten, service.backend.store, asked.ids)
        known = await _metadata(service, rows)
        _check_images(service.settings.max_answer_bytes, asked.ids, known)
        return await service.in_worker(_metadata_answer, asked.ids, known)

    describe_bodies(app, KnnRequest, MetadataRequest)

    @app.get("/indices-list", summary="clip-retrieval's names of indexes", tags=["clip-retrieval"])
    async def indices_list(request: Request) -> list[str]:
        stores: Stores = request.app.state.stores
        return stores.names


async def _search(
    request: Request, service: Service, asked: KnnRequest
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The results, best first, and the names of shards that did not answer."""
    k = min(asked.num_result_ids or asked.num_images, service.settings.max_k, service.backend.store.rows)
    # Without columns: only the first num_images results need metadata, and a front asks for thousands of ids.
    query = SearchRequest(queries=[_query(asked)], modality=asked.modality, k=max(1, k), columns=[])
    answer = await service.search(query)
    at_the_end(request.scope, answer.place.give_back)
    hits = list(zip(answer.results[0].row_ids, answer.results[0].scores, strict=True))
    if asked.deduplicate and hits:
        dropped = await service.in_worker(_near_duplicates, service, [row for row, _ in hits])
        hits = [hit for hit, gone in zip(hits, dropped, strict=True) if not gone]
    known = await _metadata(service, [row for row, _ in hits[: asked.num_images]])
    return [{**known.get(row, {}), "id": row, "similarity": score} for row, score in hits], answer.missing


def _query(asked: KnnRequest) -> Query:
    given = {"text": asked.text, "image": asked.image, "image_url": asked.image_url, "embedding": asked.embedding_input}
    for name, value in given.items():
        if value:
            try:
                return Query.model_validate({name: value})
            except ValidationError as error:
                raise wrong_shape(error) from error
    raise HTTPException(400, "give one of text, image, image_url and embedding_input")


def _near_duplicates(service: Service, rows: Sequence[int]) -> list[bool]:
    vectors = service.backend.store.gather("image", np.array(rows, np.int64))
    return [bool(dropped) for dropped in greedy_duplicates(vectors, SAME_IMAGE)]


def _not_forgotten(store: EmbeddingStore, rows: Sequence[int]) -> list[int]:
    if rows and max(rows) >= store.rows:
        raise NoSuchRow(f"no row {max(rows)}: the store has rows 0 to {store.rows - 1}")
    forgotten = store.is_forgotten(rows).tolist()
    return [row for row, gone in zip(rows, forgotten, strict=True) if not gone]


def _check_images(most: int, rows: Sequence[int], known: dict[int, dict[str, Any]]) -> None:
    """Raise OverLimit for too many bytes of thumbnails: a row that is asked for again has its own again."""
    sizes = {row: len(fields["image"]) for row, fields in known.items() if "image" in fields}
    if sum(sizes.get(row, 0) for row in rows) > most:
        raise OverLimit(
            "max_answer_bytes", f"the images of {len(rows):,} rows have more than {most:,} bytes; ask for fewer rows"
        )


def _metadata_answer(rows: Sequence[int], known: dict[int, dict[str, Any]]) -> Response:
    return _json([{"id": row, "metadata": known.get(row, {})} for row in rows])


async def _metadata(service: Service, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By row id: url and caption, and a thumbnail where the row has no url and the store has its image."""
    await service.check_columns(_COLUMNS[1:2])  # reads the columns, at the first time
    columns = tuple(name for name in _COLUMNS if name in service.columns)
    fragments = await service.lookup.fragments(rows, columns)
    known = _without_nulls(fragments) if len(rows) <= SMALL else await service.in_worker(_without_nulls, fragments)
    if service.backend.store.corpus_root is not None:
        shown = [row for row in known if "url" not in known[row]][:THUMBNAILS]
        for row, image in zip(shown, await all_or_none([_thumbnail(service, row) for row in shown]), strict=True):
            known[row] |= {} if image is None else {"image": image}
    return known


def _without_nulls(fragments: dict[int, bytes]) -> dict[int, dict[str, Any]]:
    # Without nulls, since the front shows an image by its url wherever the key is present.
    return {
        row: {name: value for name, value in as_row(fragment).items() if value is not None}
        for row, fragment in fragments.items()
    }


async def _thumbnail(service: Service, row: int) -> str | None:
    try:
        data = await service.thumbnail(row, THUMBNAIL_SIDE)
    except (ClipmineError, OSError):
        return None  # a row whose image is lost is still a result
    return base64.b64encode(data).decode("ascii")


def not_honoured(asked: KnnRequest, max_k: int) -> list[str]:
    """The names of the options that a request sets and that are not honoured."""
    ignored = [name for name in ("use_mclip", "use_safety_model", "use_violence_detector") if getattr(asked, name)]
    # Its client and its front always send a weight, which has no effect without a score or at weight 0.
    if asked.aesthetic_score not in (None, "") and asked.aesthetic_weight not in (0, "0"):
        ignored.append("aesthetic_score")
    if asked.num_images > max_k:
        ignored.append(f"num_images (at most {max_k})")
    if (asked.num_result_ids or 0) > max_k:
        ignored.append(f"num_result_ids (at most {max_k})")
    return ignored


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers=headers)
