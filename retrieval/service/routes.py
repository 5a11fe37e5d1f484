"""The service's own routes: search, concepts, rows, images, indexes, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from index.errors import BadInput
from index.store.embedding_store import Modality
from retrieval.selection import store_identity
from retrieval.service import concept_stream
from retrieval.service import images as row_images
from retrieval.service.backend import Overloaded
from retrieval.service.bodies import read_body, takes
from retrieval.service.memory import give_back_memory
from retrieval.service.metrics import Metrics
from retrieval.service.schemas import (
    COLUMNS,
    ConceptsRequest,
    IndexesResponse,
    Problem,
    Row,
    SearchOptions,
    SearchRequest,
    SearchResponse,
)
from retrieval.service.search import Answer, Service

__all__ = ["answer_json", "router"]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be answered; the line says why."},
    401: {"model": Problem, "description": "A bearer token is needed."},
    408: {"model": Problem, "description": "The body did not come in time."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "The request has another shape."},
    429: {"model": Problem, "description": "Too many wait; try again after Retry-After seconds."},
    503: {"model": Problem, "description": "Cannot answer now; try again after Retry-After seconds."},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such row, or no image of it."}}

router = APIRouter(responses=_PROBLEMS)


# Coroutines, although they never wait: FastAPI would run plain functions in a thread, at every request.
async def service_of(request: Request) -> Service:
    """The app's service."""
    service: Service = request.app.state.service
    return service


async def metrics_of(request: Request) -> Metrics:
    """The app's metrics."""
    metrics: Metrics = request.app.state.metrics
    return metrics


OfService = Annotated[Service, Depends(service_of)]
OfMetrics = Annotated[Metrics, Depends(metrics_of)]
RowId = Annotated[int, Path(ge=0, lt=1 << 63, description="a row id")]


@router.post(
    "/search",
    response_model=SearchResponse,
    openapi_extra=takes(SearchRequest),
    summary="The nearest rows to each query",
)
async def search(request: Request) -> Response:
    # The busiest route does without FastAPI's injection, which takes as long as the search itself.
    service, metrics = await service_of(request), await metrics_of(request)
    asked = read_body(SearchRequest, await request.body())
    with metrics.stage("search"):
        answer = await service.search(asked)
    return _json(answer_json(answer, metrics))


@router.post(
    "/search/image",
    response_model=SearchResponse,
    summary="The nearest rows to an uploaded image",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def search_image(
    request: Request,
    service: OfService,
    metrics: OfMetrics,
    modality: Modality = "image",
    k: Annotated[int, Query(ge=1)] = 10,
) -> Response:
    data = await request.body()
    if not data:
        raise BadInput("the body is empty: send an image file's bytes")
    with metrics.stage("search"):
        answer = await service.search_images([data], SearchOptions(modality=modality, k=k))
    return _json(answer_json(answer, metrics))


@router.post(
    "/concepts",
    summary="A concept list's rows, as a stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def retrieve_concepts(request: ConceptsRequest, service: OfService) -> Response:
    job = await asyncio.to_thread(concept_stream.prepare, service, request)
    if service.concept_jobs >= service.settings.concept_jobs:
        raise Overloaded("a concept list's turn", retry_after=5)
    return StreamingResponse(_counted(service, job), media_type="application/x-ndjson")


async def _counted(service: Service, job: concept_stream.ConceptJob) -> AsyncIterator[bytes]:
    service.concept_jobs += 1
    try:
        async for line in concept_stream.stream(service, job):
            yield line
    finally:
        service.concept_jobs -= 1
        await asyncio.to_thread(give_back_memory)


@router.get("/rows/{row_id}", response_model=Row, responses=_MISSING, summary="A row's metadata")
async def row(
    row_id: RowId,
    service: OfService,
    columns: Annotated[str | None, Query(max_length=2_000, description="names with commas between; all: *")] = None,
) -> Response:
    service.check_row(row_id)
    names = service.columns if columns == "*" else tuple(columns.split(",")) if columns else COLUMNS
    service.check_columns(names)
    fragment = (await service.lookup.fragments([row_id], names))[row_id]
    return _json(b'{"row_id":%d%s}' % (row_id, fragment))


@router.get(
    "/rows/{row_id}/image",
    response_class=Response,
    responses={**_MISSING, 200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    summary="A row's image: the original, or a thumbnail",
)
async def image(
    row_id: RowId,
    service: OfService,
    side: Annotated[int | None, Query(ge=16, le=1024, description="longer side of a thumbnail, in pixels")] = None,
) -> Response:
    service.check_row(row_id)
    if side is None:
        data, kind = await service.in_decoder(row_images.original, service.backend.store, row_id)
    else:
        data, kind = await service.in_decoder(row_images.thumbnail, service.backend.store, row_id, side), "image/jpeg"
    headers = {
        # An original file may hold any bytes: nothing in it may run, and other files than images are saved, not shown.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": "inline" if kind.startswith("image/") else "attachment",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(data, media_type=kind, headers=headers)


@router.get("/indexes", response_model=IndexesResponse, summary="What is served, and with which recall")
async def indexes(request: Request, service: OfService) -> Response:
    store = service.backend.store
    return _json(
        orjson.dumps(
            {
                "name": service.backend.name,
                "rows": store.rows,
                "forgotten": len(store.forgotten),
                "parts": len(store.parts),
                "identity": store_identity(store),
                "dim": store.dim,
                "model": dict(store.fingerprint),
                "columns": list(service.columns),
                "images": store.corpus_root is not None,
                "indexes": service.backend.indexes(),
                "pages": [page.model_dump() for page in request.app.state.pages],
            }
        )
    )


@router.get("/healthz", summary="Whether the process lives", include_in_schema=True)
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="Whether searches are answered")
async def readyz(service: OfService) -> Response:
    problem = await service.backend.ready()
    if problem is not None:
        return Response(orjson.dumps({"error": problem}), 503, {"Retry-After": "2"}, "application/json")
    return _json(b'{"status":"ready"}')


@router.get("/metrics", summary="Counts and times, for Prometheus", response_class=Response)
async def show_metrics(service: OfService, metrics: OfMetrics) -> Response:
    store = service.backend.store
    metrics.describe(store.rows, len(store.forgotten), service.backend.indexes())
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def answer_json(answer: Answer, metrics: Metrics) -> bytes:
    """A `schemas.SearchResponse` as JSON, written by hand since the rows' metadata is JSON already."""
    if answer.partial:
        metrics.partial.inc()
    results = []
    for result in answer.results:
        near = result.near_duplicates
        rows = [
            b'{"row_id":%d,"score":%.6f%s%s}'
            % (
                row,
                score,
                b"" if near is None else b',"near_duplicates":' + orjson.dumps(near[place]),
                fragment,
            )
            for place, (row, score, fragment) in enumerate(
                zip(result.row_ids, result.scores, result.fragments, strict=True)
            )
        ]
        results.append(
            b'{"rows":[%s],"text_cut":%s,"searched":%d,"complete":%s}'
            % (b",".join(rows), orjson.dumps(result.text_cut), result.searched, orjson.dumps(result.complete))
        )
    tail = orjson.dumps({"plan": answer.plan, "partial": answer.partial, "missing": list(answer.missing)})
    return b'{"results":[' + b",".join(results) + b"]," + tail[1:]


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json")
