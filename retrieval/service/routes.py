"""The service's own routes: search, concepts, rows, images, indexes, health, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from index.errors import BadInput
from index.store.embedding_store import Modality
from retrieval.selection import store_identity
from retrieval.service import concept_job, concept_stream
from retrieval.service import images as row_images
from retrieval.service.bodies import read_body, takes
from retrieval.service.concept_text import read_list
from retrieval.service.memory import give_back_memory
from retrieval.service.metrics import Metrics
from retrieval.service.schemas import (
    COLUMNS,
    ConceptListResponse,
    ConceptListText,
    ConceptsRequest,
    IndexesResponse,
    Problem,
    Row,
    SearchOptions,
    SearchRequest,
    SearchResponse,
)
from retrieval.service.search import Answer, Service
from retrieval.service.stores import Stores
from retrieval.service.threads import SMALL, at_the_end

__all__ = ["answer_json", "router", "service_of", "take_service"]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be answered; the line says why."},
    401: {"model": Problem, "description": "A bearer token is needed."},
    408: {"model": Problem, "description": "The body did not come in time."},
    413: {"model": Problem, "description": "The request asks for more than the service does at once."},
    422: {"model": Problem, "description": "The request has another shape."},
    429: {"model": Problem, "description": "Too many wait; try again after Retry-After seconds."},
    503: {"model": Problem, "description": "Cannot answer now; try again after Retry-After seconds."},
}
_STORE = "one of the stores of GET /indexes; by default the first"
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such row, or no image of it."}}

router = APIRouter(responses=_PROBLEMS)


StoreName = Annotated[str | None, Query(max_length=1_000, description=_STORE)]


# Coroutines, although they never wait: FastAPI would run plain functions in a thread, at every request.
async def service_of(request: Request, store: StoreName = None) -> Service:
    """The service of the store that the request names; it stays open until the request has been answered."""
    return take_service(request, store)


def take_service(request: Request, name: str | None) -> Service:
    """The service of a store, by default the first, kept open until the request has been answered."""
    stores: Stores = request.app.state.stores
    service = stores.get(name)
    service.take()
    at_the_end(request.scope, service.give_back)
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
    openapi_extra=takes(SearchRequest, store=_STORE),
    summary="The nearest rows to each query",
)
async def search(request: Request) -> Response:
    # The busiest route does without FastAPI's injection, which takes as long as the search itself.
    service, metrics = take_service(request, request.query_params.get("store")), await metrics_of(request)
    asked = await read_body(request, SearchRequest)
    with metrics.stage("search"):
        answer = await service.search(asked)
    return await _answered(request, service, answer, metrics)


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
    return await _answered(request, service, answer, metrics)


@router.post(
    "/concepts",
    summary="A concept list's rows, as a stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
    openapi_extra=takes(ConceptsRequest),
)
async def retrieve_concepts(request: Request, service: OfService) -> Response:
    asked = await read_body(request, ConceptsRequest)
    await service.check_columns(asked.columns or ())
    size = await service.in_worker(concept_job.measure, service, asked)
    methods = await concept_job.check_time(service, asked, size)
    place = service.admission.concept_list(size.needed)
    at_the_end(request.scope, place.give_back)
    job = await service.in_worker(concept_job.prepare, service, asked, size, methods)
    return StreamingResponse(_lines(service, job), media_type="application/x-ndjson")


@router.post(
    "/concepts/list",
    response_model=ConceptListResponse,
    summary="A concept list's text as concepts",
    openapi_extra=takes(ConceptListText),
)
async def read_concept_list(request: Request, service: OfService) -> Response:
    asked = await read_body(request, ConceptListText)
    return _json(await service.in_worker(read_list, asked.text, service.settings))


async def _lines(service: Service, job: concept_job.ConceptJob) -> AsyncIterator[bytes]:
    try:
        async with aclosing(concept_stream.stream(service, job)) as lines:
            async for line in lines:
                yield line
    finally:
        await service.in_worker(give_back_memory)


@router.get("/rows/{row_id}", response_model=Row, responses=_MISSING, summary="A row's metadata")
async def row(
    row_id: RowId,
    service: OfService,
    columns: Annotated[str | None, Query(max_length=2_000, description="names with commas between; all: *")] = None,
) -> Response:
    service.check_row(row_id)
    names = tuple(dict.fromkeys(columns.split(","))) if columns and columns != "*" else COLUMNS
    await service.check_columns(names)
    names = service.columns if columns == "*" else names
    fragment = (await service.lookup.fragments([row_id], names))[row_id]
    return _json(b'{"row_id":%d%s}' % (row_id, fragment))


@router.get(
    "/rows/{row_id}/image",
    response_class=Response,
    responses={**_MISSING, 200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    summary="A row's image: the original, or a thumbnail",
)
async def image(
    request: Request,
    row_id: RowId,
    service: OfService,
    side: Annotated[int | None, Query(ge=16, le=1024, description="longer side of a thumbnail, in pixels")] = None,
) -> Response:
    service.check_row(row_id)
    if side is None:
        data, kind = await service.in_decoder(row_images.original, service.backend.store, row_id)
    else:
        data, kind = await service.thumbnail(row_id, side), "image/jpeg"
    at_the_end(request.scope, service.admission.answer(len(data)).give_back)  # held until it has been read
    headers = {
        # An original file may hold any bytes: nothing in it may run, and other files than images are saved, not shown.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": "inline" if kind.startswith("image/") else "attachment",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(data, media_type=kind, headers=headers)


@router.get("/indexes", response_model=IndexesResponse, summary="What is served, and with which recall")
async def indexes(request: Request, service: OfService) -> Response:
    await service.check_columns(COLUMNS[:1])  # reads the columns, at the first time
    described = await service.in_worker(_describe, service)
    stores: Stores = request.app.state.stores
    pages = [page.model_dump() for page in request.app.state.pages]
    return _json(orjson.dumps({**described, "stores": stores.names, "pages": pages}))


def _describe(service: Service) -> dict[str, Any]:
    store, backend = service.backend.store, service.backend
    return {
        "name": backend.name,
        "generation": backend.generation,
        "exact": service.settings.allow_exact,
        "rows": store.rows,
        "forgotten": len(store.forgotten),
        "parts": len(store.parts),
        "identity": store_identity(store),
        "dim": store.dim,
        "model": dict(store.fingerprint),
        "columns": list(service.columns),
        "images": store.corpus_root is not None,
        "indexes": backend.indexes(),
    }


@router.get("/healthz", summary="Whether the process lives", include_in_schema=True)
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="Whether searches are answered")
async def readyz(request: Request) -> Response:
    stores: Stores = request.app.state.stores
    problem = stores.problem()
    if problem is not None:
        return Response(orjson.dumps({"error": problem}), 503, {"Retry-After": "2"}, "application/json")
    return _json(b'{"status":"ready"}')


@router.get("/metrics", summary="Counts and times, for Prometheus", response_class=Response)
async def show_metrics(request: Request, metrics: OfMetrics) -> Response:
    stores: Stores = request.app.state.stores
    for budget in stores.shared.admission.budgets:
        metrics.show_taken(budget.name, budget.taken)
    metrics.forget_stores()
    for service in stores.all():
        backend, store = service.backend, service.backend.store
        metrics.describe(backend.name, backend.generation, store.rows, len(store.forgotten), backend.indexes())
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")


async def _answered(request: Request, service: Service, answer: Answer, metrics: Metrics) -> Response:
    at_the_end(request.scope, answer.place.give_back)
    if sum(len(result.row_ids) for result in answer.results) <= SMALL:
        return _json(answer_json(answer, metrics))
    return _json(await service.in_worker(answer_json, answer, metrics))


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
